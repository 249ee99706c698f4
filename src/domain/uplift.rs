//! The uplift of the policy over the holdout, with a confidence sequence: an interval that may be watched at every moment.
//!
//! Invariant: absolute and relative interval agree on whether there is an uplift, and both get no narrower by looking often. Which mails are
//! on which side, and what counts as outcome, is left to others.
//!
//! With d the difference of the means, v its variance and N(0, g^2) the mixture over effects, the likelihood ratio
//! `sqrt(v / (v + g^2)) exp(d^2 g^2 / (2 v (v + g^2)))` is a martingale when there is no effect; by Ville's inequality it ever reaches
//! `1 / alpha` with probability at most alpha (Robbins 1970; Johari, Pekelis and Walsh, Operations Research 2022). Hence the radius
//! `sqrt(v (v + g^2) / g^2 (2 ln(1 / alpha) + ln((v + g^2) / v)))`.
use serde::Serialize;

use crate::domain::delay::DelayCurve;
use crate::domain::exposure::Exposure;
use crate::domain::shape::Interval;

/// Probability that the true uplift is ever outside of the interval, at whatever moment one looks.
pub const ALPHA: f64 = 0.05;
/// Power that "can be detected" means.
pub const POWER: f64 = 0.8;
/// Standard normal quantile of [`POWER`].
const POWER_QUANTILE: f64 = 0.841_621_233_572_914_3;
/// Standard deviation of the mixture over effects, as a share of the base rate: effects of a few percent are what is looked for.
pub const EFFECT_SD_RELATIVE: f64 = 0.05;
/// The mixture that makes the interval narrowest at the end of a list has this many times the standard deviation the difference has then: the
/// least of `(1 + 1 / r) (2 ln(1 / alpha) + ln(1 + r))` with r its square is at 8.
const EFFECT_SD_AT_END: f64 = 2.828_427_124_746_19;
/// Effective trials that each side needs before anything is claimed: below, nothing is nearly normal.
pub const TRIALS_MIN: f64 = 20.0;
/// No relative uplift above this is reported: ninety-nine times more.
const RATIO_MAX: f64 = 100.0;
/// Halvings of an interval of ratios; 2^-60 of its length is left.
const HALVINGS: u32 = 60;
/// Repetitions of the fixed point of the detectable effect; it contracts to a thousandth in five.
const FIXED_POINT_STEPS: u32 = 12;

/// What one side shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Side {
    /// Mails corrected for answers still to come, `n_eff`.
    pub effective_trials: f64,
    /// Outcome per effective mail.
    pub mean: f64,
    /// u: the mean has the variance `u / n_eff`.
    pub unit_variance: f64,
}

/// The two sides of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sides {
    /// The mails that the policy decided.
    pub policy: Side,
    /// The holdout.
    pub holdout: Side,
    /// Standard deviation of the mixture over effects, as a share of the base rate. Must not depend on what was observed.
    pub effect_sd_relative: f64,
}

/// The uplift by now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uplift {
    /// Mean under the policy less mean in the holdout.
    pub absolute: f64,
    /// Its confidence sequence.
    pub absolute_interval: Interval,
    /// Mean under the policy over mean in the holdout, less one; none while the holdout's mean is 0.
    pub relative: Option<f64>,
    /// Lower end of its confidence sequence, at least -1.
    pub relative_low: f64,
    /// Upper end; none where the data allow any.
    pub relative_high: Option<f64>,
    /// Whether there is an uplift, or a loss, however often somebody has looked.
    pub is_significant: bool,
}

/// The smallest uplift that is found with a power of 80 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Detectable {
    /// As a difference of means.
    pub absolute: f64,
    /// Relative to the holdout's mean.
    pub relative: f64,
}

/// A list to plan for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Mails in all.
    pub mails: f64,
    /// Share of them in the holdout, 0 to 1.
    pub holdout_share: f64,
}

// === impl Side ===

impl Side {
    /// A rate: `u = p (1 - p Fbar2)` with `Fbar2 = sum F^2 / n_eff`, the variance that successes thinned by the delay have.
    pub fn of_rate(exposure: &Exposure, curve: &DelayCurve) -> Self {
        let successes = exposure.successes.max(0.0);
        let effective = exposure.effective_trials(curve).max(successes);
        if effective <= 0.0 {
            return Self::default();
        }
        let mean = successes / effective;
        let squared = (exposure.squared_share(curve) / effective).clamp(0.0, 1.0);
        Self {
            effective_trials: effective,
            mean,
            unit_variance: mean * (1.0 - mean * squared),
        }
    }

    /// A side of so many answered mails at this rate.
    pub fn expected(mails: f64, rate: f64) -> Self {
        Self {
            effective_trials: mails,
            mean: rate,
            unit_variance: rate * (1.0 - rate),
        }
    }
}

// === impl Sides ===

impl Sides {
    /// Whether both sides have enough to say anything.
    fn has_enough(&self) -> bool {
        let least = self
            .policy
            .effective_trials
            .min(self.holdout.effective_trials);
        least >= TRIALS_MIN && self.pooled_mean() > 0.0
    }

    fn trials(&self) -> f64 {
        self.policy.effective_trials + self.holdout.effective_trials
    }

    fn pooled(&self, of: impl Fn(&Side) -> f64) -> f64 {
        let sum = self.policy.effective_trials * of(&self.policy)
            + self.holdout.effective_trials * of(&self.holdout);
        sum / self.trials().max(f64::MIN_POSITIVE)
    }

    fn pooled_mean(&self) -> f64 {
        self.pooled(|side| side.mean)
    }

    /// Variance of `policy - ratio holdout`: each side's own variance or the pooled one, whichever says more. A small holdout that by
    /// chance has hardly any success must not look certain of it.
    fn variance(&self, ratio: f64) -> f64 {
        let of = |policy: f64, holdout: f64| {
            policy / self.policy.effective_trials
                + ratio * ratio * holdout / self.holdout.effective_trials
        };
        let pooled = self.pooled(|side| side.unit_variance);
        of(self.policy.unit_variance, self.holdout.unit_variance).max(of(pooled, pooled))
    }

    /// g for the hypothesis that the means have this ratio: a share of the base rate, and of its multiple where that is more.
    fn effect_sd(&self, ratio: f64) -> f64 {
        self.effect_sd_relative * self.pooled_mean() * ratio.max(1.0)
    }

    /// `policy - ratio holdout` beyond its radius: positive if the ratio of the means is surely not this.
    fn excess(&self, ratio: f64) -> f64 {
        let distance = (self.policy.mean - ratio * self.holdout.mean).abs();
        distance - radius(self.variance(ratio), self.effect_sd(ratio))
    }

    /// Whether the policy does better or worse than the holdout, however often somebody has looked.
    pub fn is_significant(&self) -> bool {
        self.has_enough() && self.excess(1.0) > 0.0
    }

    /// The difference of the means and its confidence sequence; all numbers before there is enough.
    pub fn absolute(&self) -> (f64, Interval) {
        let absolute = self.policy.mean - self.holdout.mean;
        let radius = if self.has_enough() {
            radius(self.variance(1.0), self.effect_sd(1.0))
        } else {
            f64::INFINITY
        };
        let interval = Interval {
            low: absolute - radius,
            high: absolute + radius,
        };
        (absolute, interval)
    }

    /// The uplift; none before each side has [`TRIALS_MIN`] effective trials and something has succeeded.
    pub fn uplift(&self) -> Option<Uplift> {
        if !self.has_enough() {
            return None;
        }
        let (absolute, absolute_interval) = self.absolute();
        let ratio = (self.holdout.mean > 0.0).then(|| self.policy.mean / self.holdout.mean);
        let (low, high) = self.ratios(ratio);
        Some(Uplift {
            absolute,
            absolute_interval,
            relative: ratio.map(|ratio| ratio - 1.0),
            relative_low: low - 1.0,
            relative_high: high.map(|high| high - 1.0),
            is_significant: self.is_significant(),
        })
    }

    /// The ratios of means that cannot be ruled out (Fieller 1940, with the radius above); no upper end where none is found.
    fn ratios(&self, estimate: Option<f64>) -> (f64, Option<f64>) {
        let inside = estimate.unwrap_or(RATIO_MAX).min(RATIO_MAX);
        let low = if self.excess(0.0) > 0.0 {
            self.border(inside, 0.0)
        } else {
            0.0
        };
        let high = (self.excess(RATIO_MAX) > 0.0).then(|| self.border(inside, RATIO_MAX));
        (low, high)
    }

    /// The border between a ratio that is possible and one that is not.
    fn border(&self, mut inside: f64, mut outside: f64) -> f64 {
        for _ in 0..HALVINGS {
            let middle = 0.5 * (inside + outside);
            if self.excess(middle) > 0.0 {
                outside = middle;
            } else {
                inside = middle;
            }
        }
        inside
    }

    /// The smallest gain that as many effective trials find with a power of 80 %; none before there is enough to reckon with.
    ///
    /// That the sequence may cross at any earlier look is left out, so a little less is found too.
    pub fn detectable(&self) -> Option<Detectable> {
        if !self.has_enough() {
            return None;
        }
        let (mean, unit) = (self.pooled_mean(), self.pooled(|side| side.unit_variance));
        let (policy, holdout) = (self.policy.effective_trials, self.holdout.effective_trials);
        let mut absolute = 0.0;
        for _ in 0..FIXED_POINT_STEPS {
            // The variance of a rate grows with the rate; of an amount with its square, which is never less.
            let grown = Self {
                policy: Side {
                    mean: mean + absolute,
                    unit_variance: unit * (1.0 + absolute / mean),
                    effective_trials: policy,
                },
                holdout: Side {
                    mean,
                    unit_variance: unit,
                    effective_trials: holdout,
                },
                ..*self
            };
            let scatter = grown.policy.unit_variance / policy + unit / holdout;
            absolute =
                radius(grown.variance(1.0), grown.effect_sd(1.0)) + POWER_QUANTILE * scatter.sqrt();
        }
        absolute.is_finite().then_some(Detectable {
            absolute,
            relative: absolute / mean,
        })
    }
}

// === impl Plan ===

impl Plan {
    /// The smallest gain that the list can show once all is sent and answered, at this mean and variance of one mail; none for a list
    /// or a holdout that is too small.
    pub fn detectable(&self, side: Side) -> Option<Detectable> {
        let of = |mails: f64| Side {
            effective_trials: mails,
            ..side
        };
        let sides = Sides {
            policy: of(self.mails * (1.0 - self.holdout_share)),
            holdout: of(self.mails * self.holdout_share),
            effect_sd_relative: self.effect_sd_relative(side),
        };
        sides.detectable()
    }

    /// The mixture that suits this list at this mean and variance of one mail: [`EFFECT_SD_RELATIVE`], or more where the list is too short
    /// for so small effects.
    pub fn effect_sd_relative(&self, side: Side) -> f64 {
        let policy = self.mails * (1.0 - self.holdout_share);
        let spread = 1.0 / policy + 1.0 / (self.mails * self.holdout_share);
        let at_end = EFFECT_SD_AT_END * (side.unit_variance * spread).sqrt() / side.mean;
        if at_end.is_finite() {
            at_end.max(EFFECT_SD_RELATIVE)
        } else {
            EFFECT_SD_RELATIVE
        }
    }
}

/// Half the width of the confidence sequence for an effect measured with variance v, under the mixture N(0, g^2).
pub fn radius(variance: f64, effect_sd: f64) -> f64 {
    let prior = effect_sd * effect_sd;
    if !(variance > 0.0 && prior > 0.0) {
        return f64::INFINITY;
    }
    let total = variance + prior;
    (variance * total / prior * (2.0 * (1.0 / ALPHA).ln() + (total / variance).ln())).sqrt()
}

#[cfg(test)]
mod tests;
