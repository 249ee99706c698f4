//! The utility of a mail: what its responses are worth less what its harm costs, by matching moments.
//!
//! Invariant: a valid posterior on the range from all harm to all benefit, the same range for all variants. Counts are left to the caller.

use crate::domain::shape::{BetaShape, Interval};

use super::pooling::CellCounts;
use super::{MEAN_MARGIN, Prior, UtilityPosterior};

/// Least variance of a share of the range that is told from none.
const VARIANCE_MIN: f64 = 1e-30;

/// One kind of outcome of a mail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What one is worth; negative for harm.
    pub worth: f64,
    /// Posterior of its rate.
    pub rate: BetaShape,
}

/// Trials and outcomes of one kind, over all variants and in one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Rate that mails in general have.
    pub published_rate: f64,
    /// Counts over all variants.
    pub pooled: CellCounts,
}

/// The prior of a kind of harm: the pooled rate, worth one event.
///
/// `m = (1 + sum S) / (1 / m0 + sum n)` with m0 the rate of mails in general. Weaker, and a hundredfold cost would swamp everything else for
/// thousands of mails; stronger, and a harmful variant would hide among the others.
pub fn harm_prior(stage: &Stage) -> Prior {
    let prior_trials = 1.0 / stage.published_rate.clamp(MEAN_MARGIN, 1.0);
    let events = 1.0 + stage.pooled.successes.max(0.0);
    let mean = (events / (prior_trials + stage.pooled.trials.max(0.0))).clamp(MEAN_MARGIN, 0.5);
    Prior {
        mean,
        weight: 1.0 / mean,
    }
}

/// The posterior of `U = sum_i worth_i theta_i`: a Beta on `[sum of negative worths, sum of positive worths]` with the same mean and variance.
///
/// `Var U = sum_i w_i^2 v_i + 2 sum_{i<j} w_i w_j c_ij sqrt(v_i v_j)`, v the variances of the rates' posteriors. Outcomes of one sign are taken as
/// nested (a click comes with an open), the largest correlation they can have: `c = sqrt(p (1 - q) / (q (1 - p)))` for rates p <= q;
/// outcomes of opposite sign as independent. Both err on the wide side. A Beta of mean m and variance v has shapes
/// `m t, (1 - m) t` with `t = m (1 - m) / v - 1`. `trials` is what the rates rest on. None when nothing is worth or costs anything.
pub fn utility_posterior(outcomes: &[Outcome], trials: f64) -> Option<UtilityPosterior> {
    let sum = |worths: &mut dyn Iterator<Item = f64>| worths.sum::<f64>();
    let worths = || outcomes.iter().map(|outcome| outcome.worth);
    let range = Interval {
        low: sum(&mut worths().filter(|worth| *worth < 0.0)),
        high: sum(&mut worths().filter(|worth| *worth > 0.0)),
    };
    let width = range.high - range.low;
    if !(width > 0.0 && width.is_finite()) {
        return None;
    }
    // As a share of the range, so that a large common offset does not cancel.
    let above_low = |outcome: &Outcome| {
        let rate = outcome.rate.mean();
        if outcome.worth < 0.0 {
            -outcome.worth * (1.0 - rate)
        } else {
            outcome.worth * rate
        }
    };
    let mean = (outcomes.iter().map(above_low).sum::<f64>() / width)
        .clamp(MEAN_MARGIN * MEAN_MARGIN, 1.0 - MEAN_MARGIN * MEAN_MARGIN);
    let variance = (variance(outcomes) / (width * width)).max(VARIANCE_MIN);
    let total = (mean * (1.0 - mean) / variance - 1.0).max(0.0);
    Some(UtilityPosterior {
        share: BetaShape::clamped(mean * total, (1.0 - mean) * total),
        range,
        trials,
    })
}

fn variance(outcomes: &[Outcome]) -> f64 {
    let mut sum = 0.0;
    for (at, one) in outcomes.iter().enumerate() {
        sum += one.worth * one.worth * one.rate.variance();
        for other in outcomes.iter().skip(at + 1) {
            if one.worth * other.worth > 0.0 {
                let spreads = (one.rate.variance() * other.rate.variance()).sqrt();
                let correlation = nested(one.rate.mean(), other.rate.mean());
                sum += 2.0 * one.worth * other.worth * correlation * spreads;
            }
        }
    }
    sum
}

/// Correlation of two outcomes of which the rarer happens only along with the commoner.
fn nested(one: f64, other: f64) -> f64 {
    let (p, q) = (one.min(other), one.max(other));
    let square = p * (1.0 - q) / (q * (1.0 - p));
    if square.is_finite() {
        square.clamp(0.0, 1.0).sqrt()
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::posterior::{Posterior, best_posterior};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Beta, Distribution};

    fn outcome(worth: f64, rate: f64, trials: f64) -> Outcome {
        let rate = BetaShape::clamped(rate * trials, (1.0 - rate) * trials);
        Outcome { worth, rate }
    }

    fn mail(click: f64, unsubscribe: f64, complaint: f64, trials: f64) -> Vec<Outcome> {
        vec![
            outcome(1.0, click, trials),
            outcome(-10.0, unsubscribe, trials),
            outcome(-100.0, complaint, trials),
        ]
    }

    fn stretched(outcomes: &[Outcome]) -> UtilityPosterior {
        utility_posterior(outcomes, 1.0).unwrap()
    }

    #[test]
    fn a_click_alone_is_its_own_rate() {
        let alone = [outcome(1.0, 0.02, 5_000.0)];
        let utility = stretched(&alone);
        assert!((utility.share.alpha() - 100.0).abs() < 1e-6);
        assert!((utility.share.beta() - 4_900.0).abs() < 1e-4);
        assert_eq!(utility_posterior(&[outcome(0.0, 0.1, 10.0)], 1.0), None);
    }

    #[test]
    fn mean_and_variance_are_those_of_the_sum() {
        for trials in [2e3, 5e4, 5e6] {
            let outcomes = mail(0.02, 0.002, 0.0004, trials);
            let utility = Posterior::Utility(stretched(&outcomes));
            assert!((utility.mean() - (0.02 - 0.02 - 0.04)).abs() < 1e-9);
            let exact = outcomes[0].rate.variance()
                + 100.0 * outcomes[1].rate.variance()
                + 1e4 * outcomes[2].rate.variance()
                + 2.0
                    * 1e3
                    * nested(0.002, 0.0004)
                    * (outcomes[1].rate.variance() * outcomes[2].rate.variance()).sqrt();
            assert!((utility.variance() / exact - 1.0).abs() < 1e-6, "{trials}");
        }
    }

    #[test]
    fn harm_makes_the_most_clicked_variant_lose() {
        let arms = [
            mail(0.05, 0.004, 0.0006, 1e5),
            mail(0.03, 0.001, 0.0001, 1e5),
        ];
        let best = best_posterior(&arms.map(|arm| Posterior::Utility(stretched(&arm))));
        assert!(best.probability[1] > 0.999, "{best:?}");
    }

    #[test]
    fn probabilities_of_being_best_agree_with_drawing_every_rate() {
        let arms = [
            mail(0.022, 0.0021, 0.00030, 60_000.0),
            mail(0.020, 0.0020, 0.00028, 60_000.0),
            mail(0.025, 0.0025, 0.00030, 60_000.0),
        ];
        // Independent rates here, so that drawing them is simple: complaints alone without their nesting.
        let arms = arms.map(|arm| vec![arm[0], arm[2]]);
        let posteriors: Vec<Posterior> = arms
            .iter()
            .map(|arm| Posterior::Utility(stretched(arm)))
            .collect();
        let best = best_posterior(&posteriors);
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let (rounds, mut wins) = (40_000, [0.0; 3]);
        for _ in 0..rounds {
            let drawn = arms.each_ref().map(|arm| {
                arm.iter()
                    .map(|outcome| {
                        let rate = Beta::new(outcome.rate.alpha(), outcome.rate.beta()).unwrap();
                        outcome.worth * rate.sample(&mut random)
                    })
                    .sum::<f64>()
            });
            let winner = (0..3)
                .max_by(|a, b| drawn[*a].total_cmp(&drawn[*b]))
                .unwrap();
            wins[winner] += 1.0 / f64::from(rounds);
        }
        for (claimed, drawn) in best.probability.iter().zip(wins) {
            assert!(
                (claimed - drawn).abs() < 0.025,
                "{:?} {wins:?}",
                best.probability
            );
        }
    }

    #[test]
    fn the_largest_shapes_agree_with_a_normal_comparison() {
        // Shapes near 1e9 far from the middle of the range: both posteriors are normal to many digits.
        let arms = [
            mail(0.0200, 0.002, 0.0003, 1e8),
            mail(0.0201, 0.002, 0.0003, 1e8),
        ];
        let utilities = arms.map(|arm| stretched(&arm));
        assert!(utilities[0].share.alpha() > 1e9);
        let [one, other] = utilities.map(Posterior::Utility);
        let z = (other.mean() - one.mean()) / (one.variance() + other.variance()).sqrt();
        let normal = statrs::function::erf::erfc(-z / 2f64.sqrt()) / 2.0;
        let best = best_posterior(&[one, other]);
        assert!(
            (best.probability[1] - normal).abs() < 1e-5,
            "{best:?} {normal}"
        );
    }

    #[test]
    fn the_prior_of_a_harm_is_worth_one_event_at_the_pooled_rate() {
        let stage = |trials, successes| Stage {
            published_rate: 0.002,
            pooled: CellCounts { trials, successes },
        };
        assert!((harm_prior(&stage(0.0, 0.0)).mean - 0.002).abs() < 1e-12);
        let informed = harm_prior(&stage(99_500.0, 399.0));
        assert!((informed.mean - 0.004).abs() < 1e-12 && (informed.weight - 250.0).abs() < 1e-9);
    }
}
