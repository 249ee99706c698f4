//! Posteriors for reports: variants shrunk towards their campaign's level as far as real campaigns say, with heavy tails.
//!
//! Invariant: nothing here decides; it only keeps reports from overstating a lead. The counts come from the caller.
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::domain::cell::Cell;
use crate::domain::delay::DelayCurve;
use crate::domain::exposure::Exposure;
use crate::domain::half_life::{Arrived, log_predictive};
use crate::domain::posterior::{
    CellCounts, Posterior, Prior, best_posterior, posterior, reporting_prior, spread_kappa,
};
use crate::domain::quadrature::density::{Density, Support};
use crate::domain::quadrature::logit_beta::{LogitBeta, LogitNode, sigmoid};
use crate::domain::quadrature::{Arm, BestArm, best_arm, cumulative};
use crate::domain::shape::{BetaShape, Interval};
use crate::domain::standing::Terms;

/// Probability that a reported interval holds.
const INTERVAL_MASS: f64 = 0.95;
/// Scale of variants' effects around their campaign, log-odds: the Upworthy archive (Matias et al. 2021).
const EFFECT_SCALE: f64 = 0.15;
/// Degrees of freedom of Student's t of the effects; the same source.
const EFFECT_FREEDOM: f64 = 3.0;
/// Widths of the parts that stand for Student's t, as powers of the root of two of the scale.
const WIDTHS: std::ops::RangeInclusive<i32> = -2..=5;
/// Parts with less weight say nothing.
const WEIGHT_MIN: f64 = 1e-9;
/// Sweeps between the level of the campaign and the weights of the parts.
const LEVEL_SWEEPS: usize = 3;
/// Where the level may lie, in standard deviations around its estimate, and how likely: Gauss-Hermite's rule of three points.
const LEVELS: [(f64, f64); 3] = [
    (-1.732_050_807_568_877_2, 1.0 / 6.0),
    (0.0, 2.0 / 3.0),
    (1.732_050_807_568_877_2, 1.0 / 6.0),
];
/// Trials the tenant's own rate is worth in the level of a campaign.
const LEVEL_TRIALS: f64 = 30.0;

/// A posterior that is a mixture of Betas.
#[derive(Clone, Debug, PartialEq)]
pub struct BetaMixture {
    /// Weights, which sum to one, and shapes.
    parts: Vec<(f64, BetaShape)>,
}

/// How much is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Who leads, and how sure that is.
    Standing,
    /// The intervals as well, which cost most of it all.
    Intervals,
}

/// What is reported of all variants of one experiment.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Means, by variant.
    pub means: Vec<f64>,
    /// 95 % credible intervals, by variant; none unless asked for.
    pub intervals: Vec<Interval>,
    /// Who is best among those asked for, in their order.
    pub best: BestArm,
    /// Posteriors of those asked for, in their order; none where values or utilities are reported.
    pub competing: Vec<BetaMixture>,
}

/// What is reported of variants with these cells; `live` are the positions of those that compete.
///
/// Rates have heavy-tailed effects; values and utilities are reported as they stand.
pub fn report(terms: &Terms<'_>, cells: &[Cell], live: &[usize], detail: Detail) -> Reported {
    let objective = terms.settings.objective;
    if !objective.is_rate() {
        let posteriors: Vec<Posterior> = terms
            .standings(cells)
            .into_iter()
            .map(|standing| standing.posterior)
            .collect();
        let alive: Vec<Posterior> = live
            .iter()
            .filter_map(|at| posteriors.get(*at).copied())
            .collect();
        return Reported {
            means: posteriors.iter().map(Posterior::mean).collect(),
            intervals: detail.intervals(&posteriors, |posterior| {
                posterior.credible_interval(INTERVAL_MASS)
            }),
            best: best_posterior(&alive),
            competing: Vec::new(),
        };
    }
    let exposures: Vec<Exposure> = cells
        .iter()
        .map(|cell| cell.objective(objective).clone())
        .collect();
    let belief = terms.belief();
    let mixtures = reporting_posteriors(belief.prior.mean, &exposures, &belief.curve);
    let alive: Vec<BetaMixture> = live
        .iter()
        .filter_map(|at| mixtures.get(*at).cloned())
        .collect();
    Reported {
        means: mixtures.iter().map(BetaMixture::mean).collect(),
        intervals: detail.intervals(&mixtures, |mixture| {
            mixture.credible_interval(INTERVAL_MASS)
        }),
        best: best_arm(&alive),
        competing: alive,
    }
}

// === impl Detail ===

impl Detail {
    fn intervals<P>(self, posteriors: &[P], interval: impl Fn(&P) -> Interval) -> Vec<Interval> {
        match self {
            Self::Standing => Vec::new(),
            Self::Intervals => posteriors.iter().map(interval).collect(),
        }
    }
}

/// Its density on the logit axis.
#[derive(Clone, Debug)]
pub struct MixtureDensity {
    parts: Vec<(f64, LogitBeta)>,
    mean: f64,
}

/// Posteriors of all variants of one experiment for reports, in their order.
///
/// Effects in log-odds are Student's t with 3 degrees of freedom and scale 0.15, written as a mixture of normals whose variance is
/// `0.15^2 3 / chi^2_3`, each matched by a Beta around the campaign's level m: `kappa = 1 / (sd^2 m (1 - m)) - 1`. Within a part the posterior
/// is the delay-corrected Beta; parts are weighed by their Beta-binomial likelihood. One Beta alone draws outliers in too far. The level is
/// integrated over three points.
pub fn reporting_posteriors(
    tenant_rate: f64,
    exposures: &[Exposure],
    curve: &DelayCurve,
) -> Vec<BetaMixture> {
    let counts: Vec<CellCounts> = exposures
        .iter()
        .map(|exposure| CellCounts::of(exposure, curve))
        .collect();
    let widths = widths();
    let mut level = Level {
        mean: reporting_prior(tenant_rate, &counts).mean,
        trials: LEVEL_TRIALS,
    };
    for _ in 0..LEVEL_SWEEPS {
        level = level_of(tenant_rate, level.mean, &counts, &widths);
    }
    let levels = level.points();
    let mixture = |(exposure, counts): (&Exposure, &CellCounts)| {
        let at_level = |(mean, likely): (f64, f64)| {
            let shape = move |(weight, kappa): (f64, f64)| {
                let prior = Prior {
                    mean,
                    weight: kappa,
                };
                (likely * weight, posterior(prior, exposure, curve))
            };
            weighed(mean, counts, &widths).into_iter().map(shape)
        };
        BetaMixture {
            parts: levels.into_iter().flat_map(at_level).collect(),
        }
    };
    exposures.iter().zip(&counts).map(mixture).collect()
}

/// A rate that is neither 0 nor 1.
fn held(rate: f64) -> f64 {
    rate.clamp(1e-6, 1.0 - 1e-6)
}

/// The level of a campaign, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct Level {
    mean: f64,
    /// Trials that it is known as well as.
    trials: f64,
}

impl Level {
    /// Levels with their probabilities: normal in log-odds with variance `1 / (N m (1 - m))`, then scaled so that their mean is the level.
    ///
    /// A variant with few mails is drawn to the level and is no better known than it; with the level plugged in, a leader with many mails
    /// would seem surer of beating such rivals than it is.
    fn points(self) -> [(f64, f64); LEVELS.len()] {
        let centre = (self.mean / (1.0 - self.mean)).ln();
        let sd = (self.trials * self.mean * (1.0 - self.mean)).sqrt().recip();
        let points = LEVELS.map(|(away, likely)| (sigmoid(centre + away * sd), likely));
        let mean: f64 = points.iter().map(|(level, likely)| level * likely).sum();
        points.map(|(level, likely)| (held(level * self.mean / mean), likely))
    }
}

/// Weights and standard deviations of the normals that make Student's t: bins of the mixing distribution, in logarithms of the width.
fn widths() -> Vec<(f64, f64)> {
    let Ok(mixing) = ChiSquared::new(EFFECT_FREEDOM) else {
        return vec![(1.0, EFFECT_SCALE)];
    };
    let ratio = |power: f64| (power / 2.0).exp2();
    // A wider normal is a smaller chi-square.
    let narrower = |power: f64| 1.0 - mixing.cdf(EFFECT_FREEDOM / ratio(power).powi(2));
    let part = |power: i32| {
        let at = f64::from(power);
        let below = if power == *WIDTHS.start() {
            0.0
        } else {
            narrower(at - 0.5)
        };
        let above = if power == *WIDTHS.end() {
            1.0
        } else {
            narrower(at + 0.5)
        };
        (above - below, EFFECT_SCALE * ratio(at))
    };
    WIDTHS.map(part).collect()
}

/// Parts of one variant after its data: weight, and the concentration of its prior.
fn weighed(level: f64, counts: &CellCounts, widths: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let came = Arrived {
        trials: counts.trials,
        successes: counts.successes,
    };
    let logs: Vec<(f64, f64)> = widths
        .iter()
        .map(|(weight, sd)| {
            let kappa = spread_kappa(*sd, level);
            let prior = BetaShape::clamped(level * kappa, (1.0 - level) * kappa);
            (weight.ln() + log_predictive(prior, came), kappa)
        })
        .collect();
    let top = logs
        .iter()
        .map(|(log, _)| *log)
        .fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|(log, _)| (log - top).exp()).sum();
    let parts = logs
        .into_iter()
        .map(|(log, kappa)| ((log - top).exp() / sum, kappa));
    parts.filter(|(weight, _)| *weight >= WEIGHT_MIN).collect()
}

/// `(30 m + sum_k w_k S_k) / (30 + sum_k w_k n_k)`, `w_k` the mean over the parts of `kappa / (kappa + n_k)`: a variant that stands out
/// says little about the level.
fn level_of(tenant_rate: f64, level: f64, counts: &[CellCounts], widths: &[(f64, f64)]) -> Level {
    let (mut successes, mut trials) = (LEVEL_TRIALS * tenant_rate, LEVEL_TRIALS);
    for of_variant in counts {
        let parts = weighed(level, of_variant, widths);
        let share: f64 = parts
            .iter()
            .map(|(weight, kappa)| weight * kappa / (kappa + of_variant.trials))
            .sum();
        successes += share * of_variant.successes;
        trials += share * of_variant.trials;
    }
    Level {
        mean: held(successes / trials),
        trials,
    }
}

// === impl BetaMixture ===

impl BetaMixture {
    /// Mean of the rate.
    pub fn mean(&self) -> f64 {
        self.parts
            .iter()
            .map(|(weight, shape)| weight * shape.mean())
            .sum()
    }

    /// The central interval that holds this share of the probability.
    pub fn credible_interval(&self, mass: f64) -> Interval {
        let density = self.density();
        let tail = ((1.0 - mass) / 2.0).clamp(0.0, 0.5);
        let rate = |p: f64| {
            let logit = cumulative::quantile(&density, p);
            MixtureDensity::value(&MixtureDensity::node(logit))
        };
        Interval {
            low: rate(tail),
            high: rate(1.0 - tail),
        }
    }
}

impl Arm for BetaMixture {
    type Density = MixtureDensity;

    fn density(&self) -> MixtureDensity {
        let part = |(weight, shape): &(f64, BetaShape)| {
            (*weight, LogitBeta::new(shape.alpha(), shape.beta()))
        };
        MixtureDensity {
            parts: self.parts.iter().map(part).collect(),
            mean: self.mean(),
        }
    }
}

// === impl MixtureDensity ===

impl MixtureDensity {
    fn over_parts(&self, of: impl Fn(&LogitBeta) -> f64, pick: fn(f64, f64) -> f64) -> f64 {
        let values = self.parts.iter().map(|(_, part)| of(part));
        values.reduce(pick).unwrap_or(0.0)
    }
}

impl Density for MixtureDensity {
    type Node = LogitNode;

    fn node(t: f64) -> LogitNode {
        LogitBeta::node(t)
    }

    fn value(node: &LogitNode) -> f64 {
        LogitBeta::value(node)
    }

    fn log_density(&self, node: &LogitNode) -> f64 {
        let parts = self.parts.iter();
        let density: f64 = parts
            .map(|(weight, part)| weight * part.log_density(node).exp())
            .sum();
        density.ln()
    }

    fn support(&self) -> Support {
        Support {
            low: self.over_parts(|part| part.support().low, f64::min),
            high: self.over_parts(|part| part.support().high, f64::max),
        }
    }

    fn peak(&self) -> f64 {
        let heaviest = self
            .parts
            .iter()
            .max_by(|one, other| one.0.total_cmp(&other.0));
        heaviest.map_or(0.0, |(_, part)| part.peak())
    }

    fn spread(&self) -> f64 {
        self.over_parts(LogitBeta::spread, f64::min)
    }

    fn mean(&self) -> f64 {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value_remaining::ValueRemaining;
    use statrs::distribution::{Continuous, Normal, StudentsT};

    fn exposure(trials: f64, successes: f64) -> Exposure {
        Exposure {
            trials,
            successes,
            ..Exposure::default()
        }
    }

    fn reported(counts: &[(f64, f64)]) -> Vec<BetaMixture> {
        let exposures: Vec<Exposure> = counts.iter().map(|(n, s)| exposure(*n, *s)).collect();
        reporting_posteriors(0.2, &exposures, &DelayCurve::instant())
    }

    #[test]
    fn the_parts_make_students_t() {
        let exact = StudentsT::new(0.0, EFFECT_SCALE, EFFECT_FREEDOM).unwrap();
        let widths = widths();
        assert!((widths.iter().map(|(weight, _)| weight).sum::<f64>() - 1.0).abs() < 1e-12);
        for at in [0.0, 0.1, 0.3, 0.6, 1.0] {
            let density =
                |(weight, sd): &(f64, f64)| weight * Normal::new(0.0, *sd).unwrap().pdf(at);
            let ratio = widths.iter().map(density).sum::<f64>() / exact.pdf(at);
            assert!((0.85..1.15).contains(&ratio), "{at}: {ratio}");
        }
    }

    #[test]
    fn what_remains_beyond_a_mixture_is_the_mean_over_its_parts() {
        let shape = |a, b| BetaShape::new(a, b).unwrap();
        let (narrow, wide) = (shape(60.0, 240.0), shape(6.0, 24.0));
        let mixture = |parts: &[(f64, BetaShape)]| BetaMixture {
            parts: parts.to_vec(),
        };
        let rival = mixture(&[(1.0, shape(50.0, 220.0))]);
        let beyond = |leader: BetaMixture, gain: f64| {
            let arms = [leader, rival.clone()];
            ValueRemaining::of(&arms, 0).unwrap().exceedance(gain)
        };
        for gain in [0.0, 0.02, 0.3] {
            let whole = beyond(mixture(&[(0.7, narrow), (0.3, wide)]), gain);
            let parts = 0.7 * beyond(mixture(&[(1.0, narrow)]), gain)
                + 0.3 * beyond(mixture(&[(1.0, wide)]), gain);
            assert!((whole - parts).abs() < 1e-9, "{gain}: {whole} for {parts}");
        }
    }

    #[test]
    fn without_data_variants_are_alike_at_the_tenants_rate() {
        let posteriors = reported(&[(0.0, 0.0), (0.0, 0.0)]);
        assert!((posteriors[0].mean() - 0.2).abs() < 1e-9);
        let best = best_arm(&posteriors);
        assert!((best.probability[0] - 0.5).abs() < 1e-9, "{best:?}");
    }

    /// Share of a lead over the level that is left under Student's t itself, by adding up on a grid.
    fn left_exactly(level: f64, trials: f64, successes: f64) -> f64 {
        let effects = StudentsT::new(0.0, EFFECT_SCALE, EFFECT_FREEDOM).unwrap();
        let centre = (level / (1.0 - level)).ln();
        let (mut sum, mut mass) = (0.0, 0.0);
        for step in -4_000..=4_000 {
            let effect = f64::from(step) * 0.0005;
            let rate = 1.0 / (1.0 + (-centre - effect).exp());
            let log = |rate: f64| successes * rate.ln() + (trials - successes) * (1.0 - rate).ln();
            let weight = effects.pdf(effect) * (log(rate) - log(successes / trials)).exp();
            sum += weight * rate;
            mass += weight;
        }
        (sum / mass - level) / (successes / trials - level)
    }

    #[test]
    fn a_small_lead_is_drawn_in_and_a_clear_one_is_left_alone() {
        let left = |successes: f64| {
            let others = (1_000.0, 200.0);
            let counts = [others, others, others, (1_000.0, successes), (0.0, 0.0)];
            let posteriors = reported(&counts);
            // Without data a variant stands at the level, which the leader itself raises a little.
            let level = posteriors[4].mean();
            let left = (posteriors[3].mean() - level) / (successes / 1_000.0 - level);
            (left, left_exactly(level, 1_000.0, successes))
        };
        let ((small, small_exactly), (clear, clear_exactly)) = (left(220.0), left(400.0));
        assert!(
            (small - small_exactly).abs() < 0.03,
            "{small}, {small_exactly}"
        );
        assert!(
            (clear - clear_exactly).abs() < 0.03,
            "{clear}, {clear_exactly}"
        );
        assert!(small < clear - 0.1 && clear < 1.0, "{small}, {clear}");
    }

    #[test]
    fn the_interval_holds_what_it_says_and_the_losses_fit_the_means() {
        let posteriors = reported(&[(500.0, 90.0), (500.0, 130.0)]);
        for mixture in &posteriors {
            let interval = mixture.credible_interval(0.9);
            let density = mixture.density();
            let logit = |rate: f64| (rate / (1.0 - rate)).ln();
            let held = cumulative::cumulative(&density, logit(interval.high))
                - cumulative::cumulative(&density, logit(interval.low));
            assert!((held - 0.9).abs() < 1e-6, "{held}");
            assert!(interval.low < mixture.mean() && mixture.mean() < interval.high);
        }
        let best = best_arm(&posteriors);
        let gap = posteriors[1].mean() - posteriors[0].mean();
        assert!((best.expected_loss[0] - best.expected_loss[1] - gap).abs() < 1e-9);
        assert!(best.probability[1] > 0.95);
    }
}
