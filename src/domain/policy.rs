//! Policies: how the probabilities of being best become the probabilities of being chosen.
//!
//! One file per policy, one line each in the enum and in `probabilities`. Each answers with probabilities that sum to
//! one; the floor, the drawing and the stopping are left to others.

mod fixed;
pub mod horizon;
mod thompson;
mod top_two;
mod uniform;

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use self::horizon::Progress;
use super::posterior::{Posterior, best_posterior};
use super::quadrature::BestArm;

/// Why the parameters of a policy cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// The leader's share of top-two is not a share.
    #[error("beta {beta} is not between 0 and 1")]
    Beta {
        /// The share given.
        beta: f64,
    },
    /// A fixed weight is negative or not finite.
    #[error("weight {weight} of arm {arm} is not a finite number of at least 0")]
    Weight {
        /// Position of the arm.
        arm: usize,
        /// The weight given.
        weight: f64,
    },
    /// All fixed weights are zero.
    #[error("all weights are zero")]
    NoWeight,
}

/// How arms are chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Thompson sampling that explores only as far as it can still pay off: the default.
    #[default]
    HorizonThompson,
    /// Thompson sampling: each arm with the probability that it is best, as if the campaign went on for ever.
    Thompson,
    /// Top-two Thompson sampling: finds the best arm with fewer sends, at some cost on the way.
    TopTwo {
        /// Share of the choices that go to the sampled leader, between 0 and 1; 0.5 is customary.
        beta: f64,
    },
    /// The classical test: all arms alike.
    Uniform,
    /// Shares given beforehand.
    Fixed {
        /// Relative weights in the order of the arms; arms beyond them get none.
        weights: Vec<f64>,
    },
}

/// Who is best under given posteriors, found when first asked for: not every policy asks.
#[derive(Clone, Debug, Default)]
pub struct LazyBest(OnceLock<BestArm>);

/// What a policy may go by.
#[derive(Clone, Copy, Debug)]
pub struct Arms<'a> {
    /// Posteriors, in the order of the arms.
    pub posteriors: &'a [Posterior],
    /// Who is best under them.
    pub best: &'a LazyBest,
    /// How far the campaign has come.
    pub progress: Progress,
}

// === impl LazyBest ===

impl LazyBest {
    /// Who is best under these posteriors, which must be the same at every call.
    pub fn of(&self, posteriors: &[Posterior]) -> &BestArm {
        self.0.get_or_init(|| best_posterior(posteriors))
    }
}

impl From<BestArm> for LazyBest {
    fn from(best: BestArm) -> Self {
        Self(OnceLock::from(best))
    }
}

// === impl Policy ===

impl Policy {
    /// Probability of choosing each arm, in the order of the arms; sums to one, empty without arms.
    pub fn probabilities(&self, arms: &Arms<'_>) -> Vec<f64> {
        let chances = || arms.best.of(arms.posteriors).probability.as_slice();
        match self {
            Self::HorizonThompson => horizon::probabilities(arms.posteriors, arms.progress),
            Self::Thompson => thompson::probabilities(chances()),
            Self::TopTwo { beta } => top_two::probabilities(chances(), *beta),
            Self::Uniform => uniform::probabilities(arms.posteriors.len()),
            Self::Fixed { weights } => fixed::probabilities(arms.posteriors.len(), weights),
        }
    }

    /// Checks the parameters of the policy.
    ///
    /// # Errors
    /// [`PolicyError`] with the offending parameter.
    pub fn validate(&self) -> Result<(), PolicyError> {
        match self {
            Self::HorizonThompson | Self::Thompson | Self::Uniform => Ok(()),
            Self::TopTwo { beta } => top_two::validate(*beta),
            Self::Fixed { weights } => fixed::validate(weights),
        }
    }
}

/// Scales non-negative weights to sum to one; evenly if they sum to nothing.
fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.into_iter().map(|weight| weight / sum).collect()
    } else {
        uniform::probabilities(weights.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::shape::BetaShape;
    use proptest::prelude::*;

    fn best(probability: Vec<f64>) -> BestArm {
        BestArm {
            expected_loss: vec![0.0; probability.len()],
            probability,
            expected_maximum: 0.0,
        }
    }

    fn chosen(policy: &Policy, chances: Vec<f64>) -> Vec<f64> {
        let posteriors = vec![Posterior::from(BetaShape::clamped(1.0, 1.0)); chances.len()];
        let best = best(chances).into();
        policy.probabilities(&Arms {
            posteriors: &posteriors,
            best: &best,
            progress: Progress::default(),
        })
    }

    fn every_policy() -> Vec<Policy> {
        vec![
            Policy::HorizonThompson,
            Policy::Thompson,
            Policy::TopTwo { beta: 0.5 },
            Policy::Uniform,
            Policy::Fixed {
                weights: vec![2.0, 1.0],
            },
        ]
    }

    #[test]
    fn every_policy_survives_being_written_and_read() {
        for policy in every_policy() {
            let text = serde_json::to_string(&policy).unwrap();
            assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
            let bytes = postcard::to_stdvec(&policy).unwrap();
            assert_eq!(postcard::from_bytes::<Policy>(&bytes).unwrap(), policy);
            assert_eq!(policy.validate(), Ok(()));
        }
    }

    #[test]
    fn no_arms_get_no_probabilities_and_one_arm_gets_all() {
        for policy in every_policy() {
            assert!(chosen(&policy, vec![]).is_empty());
            assert_eq!(chosen(&policy, vec![1.0]), vec![1.0], "{policy:?}");
        }
    }

    proptest! {
        #[test]
        fn probabilities_of_every_policy_sum_to_one(weights in prop::collection::vec(0.0f64..1.0, 1..40)) {
            let chances = normalised(weights);
            for policy in every_policy() {
                let chosen = chosen(&policy, chances.clone());
                prop_assert_eq!(chosen.len(), chances.len());
                prop_assert!((chosen.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{:?}", policy);
                prop_assert!(chosen.iter().all(|p| *p >= 0.0));
            }
        }
    }
}
