//! A snapshot of an experiment: the posteriors and the ready-made allocation of every context, as of one instant.
//!
//! Invariant: a snapshot never changes, so a decision from it can be repeated, and its propensities are exact. Summing the cells and
//! refreshing are left to others.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::cell::{Cell, CellId, Context};
use crate::domain::content_id::LazyId;
use crate::domain::experiment::Experiment;
use crate::domain::name::VariantIndex;
use crate::domain::standing::Terms;

mod evidence;
mod pools;
mod rule;
mod table;

pub use crate::domain::beliefs::{Belief, Beliefs, default_curve};
pub use rule::Rule;
pub use table::{Candidate, ChoiceLevel, Table};

use evidence::Evidence;
use pools::Pools;

/// An experiment with its tables as of one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The experiment as configured.
    pub experiment: Arc<Experiment>,
    /// Counts refreshes.
    pub version: u64,
    /// The instant it holds for.
    pub as_of: Timestamp,
    /// The experiment's name in the decision log, as configured here.
    pub log_id: LazyId,
    everyone: Option<Arc<Table>>,
    contexts: BTreeMap<Context, Arc<Table>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Builds the tables from the experiment's cells, all as of `as_of`.
    pub fn build(
        experiment: Arc<Experiment>,
        cells: &BTreeMap<CellId, Cell>,
        beliefs: &Beliefs,
        version: u64,
        as_of: Timestamp,
    ) -> Self {
        let evidence = Evidence::of(experiment.settings.objective, cells);
        let live = experiment.live_variants();
        let rule = Arc::new(Rule::of(&experiment, evidence.sends()));
        let pooled: Vec<Cell> = live.iter().map(|v| evidence.pooled(*v)).collect();
        let terms = Terms {
            settings: &experiment.settings,
            beliefs,
            purpose: rule.purpose(),
        };
        let everyone = Table::everyone(&rule, &live, &terms.standings(&pooled)).map(Arc::new);
        let contexts = match evidence.contexts.as_slice() {
            [] => BTreeMap::new(),
            // Values and utilities are too noisy to tell contexts apart: everyone's table answers.
            _ if !experiment.settings.objective.is_rate() => BTreeMap::new(),
            [only] if *only == Context::default() => BTreeMap::new(),
            contexts => {
                let priors = terms.rate_priors(&pooled);
                let pools = Pools::of(&live, contexts, &evidence, &terms, &priors);
                Table::by_context(&rule, &live, contexts, &evidence, &pools)
            }
        };
        Self {
            experiment,
            version,
            as_of,
            log_id: LazyId::default(),
            everyone,
            contexts,
        }
    }

    /// A snapshot that knows one table only, which answers in every context: for repeating one decision.
    pub fn of_one_table(
        experiment: Arc<Experiment>,
        table: Option<Table>,
        version: u64,
        as_of: Timestamp,
    ) -> Self {
        Self {
            experiment,
            version,
            as_of,
            log_id: LazyId::default(),
            everyone: table.map(Arc::new),
            contexts: BTreeMap::new(),
        }
    }

    /// The table of a context: its own where it has data, everyone's otherwise; none when no variant is live.
    pub fn table(&self, context: Context) -> Option<&Arc<Table>> {
        self.contexts.get(&context).or(self.everyone.as_ref())
    }

    /// A table of some of its candidates: Thompson sampling on a subset is not the full table renormalised, so it is computed afresh.
    /// None when none of them is a candidate.
    pub fn restricted(&self, table: &Table, eligible: &[VariantIndex]) -> Option<Table> {
        let candidates = table
            .candidates
            .iter()
            .copied()
            .filter(|candidate| eligible.contains(&candidate.variant))
            .collect();
        Table::of(&table.rule, candidates, table.level)
    }

    /// How many contexts are answered from which level; without contexts of their own, everyone's is the one.
    pub fn levels(&self) -> BTreeMap<ChoiceLevel, usize> {
        let mut levels = BTreeMap::new();
        let alone = self.everyone.iter().filter(|_| self.contexts.is_empty());
        for table in self.contexts.values().chain(alone) {
            *levels.entry(table.level).or_default() += 1;
        }
        levels
    }

    /// The table over all contexts; none when no variant is live.
    pub fn everyone(&self) -> Option<&Arc<Table>> {
        self.everyone.as_ref()
    }
}

#[cfg(test)]
mod tests;
