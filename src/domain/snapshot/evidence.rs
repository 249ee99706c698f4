//! What an experiment's cells say of its objective, sorted by variant and context.
//!
//! Invariant: only the policy lane is in it; the holdout never trains the policy.
use std::collections::BTreeMap;

use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::Experiment;
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::CellCounts;

/// Cells of the policy lane, as of one instant: by variant, then by context.
pub struct Evidence {
    pub contexts: Vec<Context>,
    by_variant: BTreeMap<VariantIndex, BTreeMap<Context, Exposure>>,
}

// === impl Evidence ===

impl Evidence {
    /// Sorts the cells of the policy lane.
    pub fn of(experiment: &Experiment, cells: &BTreeMap<CellId, Cell>) -> Self {
        let mut by_variant: BTreeMap<VariantIndex, BTreeMap<Context, Exposure>> = BTreeMap::new();
        let mut contexts = Vec::new();
        for (id, cell) in cells.iter().filter(|(id, _)| id.lane == Lane::Policy) {
            let exposure = cell.objective(experiment.settings.objective);
            by_variant
                .entry(id.variant)
                .or_default()
                .entry(id.context)
                .or_default()
                .add(exposure);
            contexts.push(id.context);
        }
        contexts.sort_unstable();
        contexts.dedup();
        Self {
            contexts,
            by_variant,
        }
    }

    /// One cell; empty where there is none.
    pub fn cell(&self, variant: VariantIndex, context: Context) -> Exposure {
        self.by_variant
            .get(&variant)
            .and_then(|cells| cells.get(&context))
            .cloned()
            .unwrap_or_default()
    }

    /// A variant over all contexts.
    pub fn pooled(&self, variant: VariantIndex) -> Exposure {
        let mut sum = Exposure::default();
        self.by_variant
            .get(&variant)
            .into_iter()
            .flat_map(BTreeMap::values)
            .for_each(|cell| sum.add(cell));
        sum
    }

    /// Effective trials and successes of one cell.
    pub fn counts(
        &self,
        variant: VariantIndex,
        context: Context,
        curve: &DelayCurve,
    ) -> CellCounts {
        CellCounts::of(&self.cell(variant, context), curve)
    }

    /// Trials begun, whether answered or not.
    pub fn sends(&self) -> f64 {
        self.by_variant
            .values()
            .flat_map(BTreeMap::values)
            .map(|cell| cell.trials.max(0.0))
            .sum()
    }
}
