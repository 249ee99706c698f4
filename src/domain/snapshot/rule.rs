//! How probabilities are made of posteriors: the policy, the floor, and how far the campaign has come.
//!
//! Invariant: fixed for one snapshot, so that a subset of candidates is drawn by the same rule as all of them.
use serde::{Deserialize, Serialize};

use crate::domain::allocation::Allocation;
use crate::domain::experiment::Experiment;
use crate::domain::name::VariantIndex;
use crate::domain::policy::Policy;
use crate::domain::policy::horizon::Progress;
use crate::domain::standing::Purpose;

use super::table::Candidate;

/// How probabilities are made of posteriors, as of this snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The policy; fixed weights by position in the experiment.
    pub policy: Policy,
    /// How far the campaign has come.
    pub progress: Progress,
    /// Probability spread evenly over the candidates.
    pub floor: f64,
    /// Variants on probation, ascending.
    pub on_probation: Vec<VariantIndex>,
    /// Highest share that these get together.
    pub probation_share_max: f64,
}

// === impl Rule ===

impl Rule {
    /// The rule of an experiment after so many sends.
    pub fn of(experiment: &Experiment, sends: f64) -> Self {
        let settings = &experiment.settings;
        let progress = Progress {
            sends,
            planned_sends: settings.planned_sends as f64,
        };
        // What is explored in the last part of a campaign pays off for nobody.
        let floor = settings.floor * progress.remaining_share().unwrap_or(1.0);
        Self {
            policy: settings.policy.clone(),
            progress,
            floor,
            on_probation: experiment.variants_on_probation(),
            probation_share_max: settings.probation.share_max,
        }
    }

    /// Whether a variant is on probation.
    pub fn is_on_probation(&self, variant: VariantIndex) -> bool {
        self.on_probation.binary_search(&variant).is_ok()
    }

    /// The horizon-scaled policy starts from the campaign's own level; the others from the tenant's.
    pub fn purpose(&self) -> Purpose {
        if self.policy == Policy::HorizonThompson {
            Purpose::Campaign
        } else {
            Purpose::Deciding
        }
    }

    /// The allocation with the share of candidates on probation capped, and the positions of those that are not on probation.
    pub fn on_trial(
        &self,
        candidates: &[Candidate],
        allocation: Allocation,
    ) -> (Allocation, Vec<usize>) {
        let is_on_probation = |at: usize| {
            candidates
                .get(at)
                .is_some_and(|candidate| self.is_on_probation(candidate.variant))
        };
        let settled: Vec<usize> = (0..candidates.len())
            .filter(|at| !is_on_probation(*at))
            .collect();
        if settled.len() == candidates.len() {
            (allocation, settled)
        } else if settled.is_empty() {
            (allocation, (0..candidates.len()).collect())
        } else {
            (
                allocation.capped(is_on_probation, self.probation_share_max),
                settled,
            )
        }
    }

    /// The policy over these candidates: fixed weights are given by position in the experiment.
    pub fn policy_over(&self, candidates: &[Candidate]) -> Policy {
        let Policy::Fixed { weights } = &self.policy else {
            return self.policy.clone();
        };
        let weight = |candidate: &Candidate| {
            weights
                .get(usize::from(candidate.variant.0))
                .copied()
                .unwrap_or(0.0)
        };
        Policy::Fixed {
            weights: candidates.iter().map(weight).collect(),
        }
    }
}
