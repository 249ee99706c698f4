//! What an experiment's cells say of its objective, sorted by variant and context.
//!
//! Invariant: only the policy lane is in it; the holdout never trains the policy.
use std::collections::BTreeMap;

use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::Objective;
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::CellCounts;

/// Cells of the policy lane, as of one instant: by variant, then by context.
pub struct Evidence {
    objective: Objective,
    pub contexts: Vec<Context>,
    by_variant: BTreeMap<VariantIndex, BTreeMap<Context, Cell>>,
}

// === impl Evidence ===

impl Evidence {
    /// Sorts the cells of the policy lane.
    pub fn of(objective: Objective, cells: &BTreeMap<CellId, Cell>) -> Self {
        let mut by_variant: BTreeMap<VariantIndex, BTreeMap<Context, Cell>> = BTreeMap::new();
        let mut contexts = Vec::new();
        for (id, cell) in cells.iter().filter(|(id, _)| id.lane == Lane::Policy) {
            by_variant
                .entry(id.variant)
                .or_default()
                .entry(id.context)
                .or_default()
                .merge(cell);
            contexts.push(id.context);
        }
        contexts.sort_unstable();
        contexts.dedup();
        Self {
            objective,
            contexts,
            by_variant,
        }
    }

    /// Trials and successes of one cell; empty where there is none.
    pub fn cell(&self, variant: VariantIndex, context: Context) -> Exposure {
        let cells = self.by_variant.get(&variant);
        let cell = cells.and_then(|cells| cells.get(&context));
        cell.map(|cell| cell.objective(self.objective).clone())
            .unwrap_or_default()
    }

    /// A variant over all contexts.
    pub fn pooled(&self, variant: VariantIndex) -> Cell {
        let mut sum = Cell::default();
        self.by_variant
            .get(&variant)
            .into_iter()
            .flat_map(BTreeMap::values)
            .for_each(|cell| sum.merge(cell));
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
            .map(|cell| cell.objective(self.objective).trials.max(0.0))
            .sum()
    }
}
