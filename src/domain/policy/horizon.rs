//! Horizon-scaled Thompson sampling: explores only as far as what is learned can still pay off.
//!
//! Thompson sampling explores as if the campaign went on for ever. With R sends to come that can go to one challenger, the posterior
//! mean of an arm of weight nu varies by about R / (R + nu) of its posterior variance; so arms are drawn from posteriors narrowed to that:
//! `Beta(c a, c b)` with `c = 1 + nu / R`, nu the trials that a posterior is worth. Without data all arms stay alike, and a neglected arm keeps its full uncertainty.

use serde::{Deserialize, Serialize};

use crate::domain::posterior::{Posterior, best_posterior};

use super::normalised;

/// Share of the remaining sends that one challenger is likely to get; 0.02 to 0.05 do as well (measured on real headlines).
const CHALLENGER_SHARE: f64 = 0.03;
/// Without a known end, as if so large a share of the sends so far were still to come to a challenger.
const UNKNOWN_SHARE: f64 = 0.10;
/// The first few responses must not decide: without a known end at least so many sends are taken to be still to come to a challenger.
const UNKNOWN_MIN: f64 = 100.0;
/// No posterior is narrowed further.
const SCALE_MAX: f64 = 1e4;

/// How far a campaign has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Sends so far.
    pub sends: f64,
    /// Sends planned in all; 0 when unknown.
    pub planned_sends: f64,
}

// === impl Progress ===

impl Progress {
    /// Share of the planned sends still to come, 0 to 1; none when unknown or passed.
    pub fn remaining_share(&self) -> Option<f64> {
        (self.planned_sends > self.sends).then(|| 1.0 - self.sends / self.planned_sends)
    }

    /// R: the sends that one challenger may still get.
    fn budget(&self) -> f64 {
        if self.planned_sends > self.sends {
            (CHALLENGER_SHARE * (self.planned_sends - self.sends)).max(1.0)
        } else {
            (UNKNOWN_SHARE * self.sends).max(UNKNOWN_MIN)
        }
    }
}

/// Probability that each arm is best under the narrowed posteriors, in the order of the arms; sums to one.
pub fn probabilities(posteriors: &[Posterior], progress: Progress) -> Vec<f64> {
    let budget = progress.budget();
    let narrowed: Vec<Posterior> = posteriors
        .iter()
        .map(|posterior| narrow(posterior, budget))
        .collect();
    normalised(best_posterior(&narrowed).probability)
}

fn narrow(posterior: &Posterior, budget: f64) -> Posterior {
    posterior.narrowed((1.0 + posterior.trials() / budget).min(SCALE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::shape::BetaShape;

    fn arms() -> [Posterior; 2] {
        [(20.0, 980.0), (30.0, 970.0)].map(|(a, b)| BetaShape::clamped(a, b).into())
    }

    fn share_of_worse(sends: f64, planned_sends: f64) -> f64 {
        probabilities(
            &arms(),
            Progress {
                sends,
                planned_sends,
            },
        )[0]
    }

    #[test]
    fn the_nearer_the_end_the_less_it_explores() {
        let shares =
            [1e9, 20_000.0, 4_000.0, 2_100.0].map(|planned| share_of_worse(2_000.0, planned));
        assert!(
            shares.is_sorted_by(|early, late| early > late),
            "{shares:?}"
        );
        let thompson = best_posterior(&arms()).probability[0];
        assert!((shares[0] - thompson).abs() < 1e-3);
    }

    #[test]
    fn without_an_end_it_explores_as_far_as_it_has_come() {
        assert!(share_of_worse(2_000.0, 0.0) < share_of_worse(200_000.0, 0.0));
        assert_eq!(
            share_of_worse(2_000.0, 1_000.0),
            share_of_worse(2_000.0, 0.0)
        );
    }

    #[test]
    fn without_data_all_arms_are_alike() {
        let equal = [BetaShape::clamped(2.0, 98.0).into(); 4];
        for share in probabilities(&equal, Progress::default()) {
            assert!((share - 0.25).abs() < 1e-9);
        }
    }
}
