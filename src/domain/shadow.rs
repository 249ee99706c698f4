//! Shadow mode: hermod says what it would have done, the platform sends what it would have sent anyway, and the two are compared.
//!
//! Invariant: tallies are additive, so that parts can be summed in any order and taken out again. `w = pi / b` with hermod's probability pi of
//! the variant that was sent and the platform's share b of it: right where the platform's choice does not depend on the recipient.
use serde::{Deserialize, Serialize};

use crate::domain::basis::Reason;
use crate::domain::decision_log::LoggedOutcome;
use crate::domain::experiment::Settings;
use crate::domain::name::{RecipientKey, VariantIndex};
use crate::domain::recipient::{Answer, Touch};

/// From this mean weight on, the platform sends what hermod would choose often enough to compare the two.
pub const OVERLAP_MIN: f64 = 0.9;
/// From so many effective sends on, a comparison is worth showing.
pub const EFFECTIVE_MIN: f64 = 200.0;
/// 97.5 % quantile of the standard normal: a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

/// Sums over the mails of one variant that the platform sent in shadow mode; r is the objective, pi hermod's probability of this variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowTally {
    /// Mails.
    pub sends: f64,
    /// Those for which hermod would have sent the same variant.
    pub agreed: f64,
    /// Sum of pi.
    pub probability: f64,
    /// Sum of pi squared.
    pub probability_square: f64,
    /// Sum of r.
    pub reward: f64,
    /// Sum of r squared.
    pub reward_square: f64,
    /// Sum of pi r.
    pub weighted: f64,
    /// Sum of pi squared times r.
    pub square_weighted: f64,
    /// Sum of pi squared times r squared.
    pub weighted_square: f64,
}

/// The platform against hermod, as far as the mails sent can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShadowComparison {
    /// Mails sent by the platform in shadow mode.
    pub sends: f64,
    /// Share of them for which hermod would have sent the same variant, 0 to 1.
    pub agreement: f64,
    /// Successes per mail of the platform.
    pub platform: Rate,
    /// Successes per mail that hermod's choices would have had: `sum(w r) / sum(w)`.
    pub hermod: Rate,
    /// Mean weight: the share of hermod's choices that the platform ever sends.
    pub overlap: f64,
    /// Effective sample size `(sum w)^2 / sum w^2`.
    pub effective_sends: f64,
    /// Whether the estimate means something: enough overlap, enough effective mails, and at least two variants sent.
    pub is_identified: bool,
}

/// A rate with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

// === impl ShadowTally ===

impl ShadowTally {
    /// What a touch adds; none for touches that were not decided in shadow mode.
    pub fn of(touch: &Touch, settings: &Settings) -> Option<(VariantIndex, Self)> {
        let Reason::Shadow { agrees } = touch.basis.reason else {
            return None;
        };
        let Answer::Send {
            variant,
            propensity: p,
            ..
        } = touch.answer
        else {
            return None;
        };
        let r = LoggedOutcome::of(touch, RecipientKey([0; 16]))
            .reward(settings.objective, &settings.utility);
        let tally = Self {
            sends: 1.0,
            agreed: f64::from(u8::from(agrees)),
            probability: p,
            probability_square: p * p,
            reward: r,
            reward_square: r * r,
            weighted: p * r,
            square_weighted: p * p * r,
            weighted_square: p * p * r * r,
        };
        Some((variant, tally))
    }

    /// Adds another part.
    pub fn merge(&mut self, other: &Self) {
        self.add(other, 1.0);
    }

    /// The same with the opposite sign: taken out.
    pub fn negated(&self) -> Self {
        let mut negated = Self::default();
        negated.add(self, -1.0);
        negated
    }

    fn add(&mut self, other: &Self, sign: f64) {
        self.sends += sign * other.sends;
        self.agreed += sign * other.agreed;
        self.probability += sign * other.probability;
        self.probability_square += sign * other.probability_square;
        self.reward += sign * other.reward;
        self.reward_square += sign * other.reward_square;
        self.weighted += sign * other.weighted;
        self.square_weighted += sign * other.square_weighted;
        self.weighted_square += sign * other.weighted_square;
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl ShadowComparison ===

impl ShadowComparison {
    /// Compares by the tallies of all variants.
    pub fn of(tallies: &[ShadowTally]) -> Self {
        let mut all = ShadowTally::default();
        tallies.iter().for_each(|tally| all.merge(tally));
        if all.sends <= 0.0 {
            return Self::default();
        }
        let mut w = Weighted::default();
        for tally in tallies.iter().filter(|tally| tally.sends > 0.0) {
            w.add(tally, all.sends / tally.sends);
        }
        let value = if w.weight > 0.0 {
            w.reward / w.weight
        } else {
            0.0
        };
        // The delta method: sum w^2 (r - v)^2 over (sum w)^2.
        let squares = w.reward_square - 2.0 * value * w.square_reward + value * value * w.square;
        let error = if w.weight > 0.0 {
            squares.max(0.0).sqrt() / w.weight
        } else {
            0.0
        };
        let rate = all.reward / all.sends;
        let variance = (all.reward_square / all.sends - rate * rate).max(0.0);
        let overlap = w.weight / all.sends;
        let effective_sends = if w.square > 0.0 {
            w.weight * w.weight / w.square
        } else {
            0.0
        };
        let variants = tallies.iter().filter(|tally| tally.sends > 0.5).count();
        Self {
            sends: all.sends,
            agreement: all.agreed / all.sends,
            platform: Rate::around(rate, (variance / all.sends).sqrt()),
            hermod: Rate::around(value, error),
            overlap,
            effective_sends,
            is_identified: variants > 1
                && overlap >= OVERLAP_MIN
                && effective_sends >= EFFECTIVE_MIN,
        }
    }
}

/// Weighted sums over all variants.
#[derive(Default)]
struct Weighted {
    weight: f64,
    square: f64,
    reward: f64,
    square_reward: f64,
    reward_square: f64,
}

// === impl Weighted ===

impl Weighted {
    /// Adds a variant with the inverse of its share.
    fn add(&mut self, tally: &ShadowTally, inverse: f64) {
        let square = inverse * inverse;
        self.weight += inverse * tally.probability;
        self.square += square * tally.probability_square;
        self.reward += inverse * tally.weighted;
        self.square_reward += square * tally.square_weighted;
        self.reward_square += square * tally.weighted_square;
    }
}

// === impl Rate ===

impl Rate {
    fn around(mean: f64, standard_error: f64) -> Self {
        Self {
            mean,
            low: (mean - Z_95 * standard_error).max(0.0),
            high: mean + Z_95 * standard_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many mails of a variant with a rate, which hermod would choose with probability p.
    fn tally(sends: f64, rate: f64, p: f64) -> ShadowTally {
        ShadowTally {
            sends,
            agreed: p * sends,
            probability: p * sends,
            probability_square: p * p * sends,
            reward: rate * sends,
            reward_square: rate * sends,
            weighted: p * rate * sends,
            square_weighted: p * p * rate * sends,
            weighted_square: p * p * rate * sends,
        }
    }

    #[test]
    fn what_hermod_would_have_got_is_weighted_by_its_own_choices() {
        // The platform sends 3 of 4 mails with the worse variant; hermod would send 9 of 10 with the better one.
        let comparison =
            ShadowComparison::of(&[tally(3_000.0, 0.10, 0.1), tally(1_000.0, 0.20, 0.9)]);
        assert!((comparison.platform.mean - 0.125).abs() < 1e-12);
        assert!((comparison.hermod.mean - (0.1 * 0.10 + 0.9 * 0.20)).abs() < 1e-12);
        assert!((comparison.overlap - 1.0).abs() < 1e-12 && comparison.is_identified);
        assert!((comparison.agreement - (300.0 + 900.0) / 4_000.0).abs() < 1e-12);
        // Sum w = 4000, sum w^2 = 3000 (0.4/3)^2 + 1000 * 3.6^2.
        let square = 3_000.0 * (0.4_f64 / 3.0).powi(2) + 1_000.0 * 3.6_f64.powi(2);
        assert!((comparison.effective_sends - 4_000.0_f64.powi(2) / square).abs() < 1e-6);
        assert!(comparison.hermod.low < 0.19 && comparison.hermod.high > 0.19);
    }

    #[test]
    fn a_platform_that_never_sends_what_hermod_would_choose_tells_nothing_of_it() {
        let comparison = ShadowComparison::of(&[tally(3_000.0, 0.1, 0.1), ShadowTally::default()]);
        assert!(!comparison.is_identified && (comparison.overlap - 0.1).abs() < 1e-12);
        assert_eq!(ShadowComparison::of(&[]), ShadowComparison::default());
    }

    #[test]
    fn what_is_taken_out_leaves_nothing() {
        let mut sum = tally(10.0, 0.5, 0.25);
        sum.merge(&tally(10.0, 0.5, 0.25).negated());
        assert!(sum.is_empty(), "{sum:?}");
    }
}
