//! The table of one context: its candidates, who is best under their posteriors, and how they are drawn.
//!
//! Invariant: a table's allocation follows from its candidates and the rule alone. Which contexts have a table is left to the snapshot.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::allocation::Allocation;
use crate::domain::cell::Context;
use crate::domain::content_id::LazyId;
use crate::domain::name::VariantIndex;
use crate::domain::policy::{Arms, LazyBest};
use crate::domain::posterior::Posterior;
use crate::domain::quadrature::BestArm;
use crate::domain::standing::Standing;

use super::evidence::Evidence;
use super::pools::Pools;
use super::rule::Rule;

/// The level of statistics behind a choice of variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChoiceLevel {
    /// The segment's or daypart's own data count materially.
    Segment,
    /// Data of all recipients.
    Everyone,
    /// Nothing but the prior.
    Default,
}

/// What is known of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The variant.
    pub variant: VariantIndex,
    /// Its posterior.
    pub posterior: Posterior,
    /// Trials corrected for answers still to come.
    pub effective_trials: f64,
    /// Successes.
    pub successes: f64,
}

/// The candidates of one context and how they are drawn.
#[derive(Clone, Debug)]
pub struct Table {
    /// Candidates, by variant.
    pub candidates: Vec<Candidate>,
    best: LazyBest,
    /// Probabilities of being chosen, in the order of the candidates.
    pub allocation: Allocation,
    /// The level that answers.
    pub level: ChoiceLevel,
    /// How the probabilities were made.
    pub rule: Arc<Rule>,
    /// Its name in the decision log.
    pub log_id: LazyId,
    /// Positions of the candidates that the holdout is drawn from: all that are not on probation, or all if there are no others.
    pub settled: Vec<usize>,
}

// === impl Table ===

impl Table {
    /// The table over all contexts; none when no variant is live.
    pub(super) fn everyone(
        rule: &Arc<Rule>,
        live: &[VariantIndex],
        standings: &[Standing],
    ) -> Option<Self> {
        let candidate = |(variant, standing): (&VariantIndex, &Standing)| Candidate {
            variant: *variant,
            posterior: standing.posterior,
            effective_trials: standing.counts.trials,
            successes: standing.counts.successes,
        };
        let candidates: Vec<Candidate> = live.iter().zip(standings).map(candidate).collect();
        let known = candidates
            .iter()
            .any(|candidate| candidate.effective_trials + candidate.successes >= 1.0);
        let level = if known {
            ChoiceLevel::Everyone
        } else {
            ChoiceLevel::Default
        };
        Self::of(rule, candidates, level)
    }

    /// A table for every context with data of its own.
    pub(super) fn by_context(
        rule: &Arc<Rule>,
        live: &[VariantIndex],
        contexts: &[Context],
        evidence: &Evidence,
        pools: &Pools,
    ) -> BTreeMap<Context, Arc<Table>> {
        let mut tables = BTreeMap::new();
        for (at, context) in contexts.iter().enumerate() {
            let candidates = live
                .iter()
                .enumerate()
                .map(|(row, variant)| {
                    let own = evidence.cell(*variant, *context);
                    let counts = pools.counts(row, at);
                    Candidate {
                        variant: *variant,
                        posterior: pools.posterior(row, at, &own).into(),
                        effective_trials: counts.trials,
                        successes: counts.successes,
                    }
                })
                .collect();
            let material = (0..live.len()).any(|row| pools.is_material(row, at));
            let level = if material {
                ChoiceLevel::Segment
            } else {
                ChoiceLevel::Everyone
            };
            if let Some(table) = Self::of(rule, candidates, level) {
                tables.insert(*context, Arc::new(table));
            }
        }
        tables
    }

    /// The table of these candidates under a rule; none without candidates. The same parts make the same table, to the last bit.
    pub fn of(rule: &Arc<Rule>, candidates: Vec<Candidate>, level: ChoiceLevel) -> Option<Self> {
        let posteriors: Vec<Posterior> = candidates
            .iter()
            .map(|candidate| candidate.posterior)
            .collect();
        let best = LazyBest::default();
        let arms = Arms {
            posteriors: &posteriors,
            best: &best,
            progress: rule.progress,
        };
        let probabilities = rule.policy_over(&candidates).probabilities(&arms);
        let allocation = Allocation::new(&probabilities, rule.floor)
            .or_else(|_| Allocation::new(&vec![1.0; candidates.len()], 0.0))
            .ok()?;
        let (allocation, settled) = rule.on_trial(&candidates, allocation);
        Some(Self {
            candidates,
            best,
            allocation,
            level,
            rule: rule.clone(),
            log_id: LazyId::default(),
            settled,
        })
    }

    /// Probability of being best and expected loss, in the order of the candidates; found when first asked for, unless the policy had to.
    pub fn best(&self) -> &BestArm {
        let posteriors: Vec<Posterior> = self.candidates.iter().map(|of| of.posterior).collect();
        self.best.of(&posteriors)
    }

    /// Position of a variant among the candidates.
    pub fn position(&self, variant: VariantIndex) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate.variant == variant)
    }
}
