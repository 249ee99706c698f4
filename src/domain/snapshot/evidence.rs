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

/// Cells of the policy lane, as of one instant.
pub struct Evidence {
    objective: Objective,
    pub contexts: Vec<Context>,
    /// Ascending by variant, then by context. In one piece: a map of maps took longer to build than the probabilities of a thousand variants.
    cells: Vec<((VariantIndex, Context), Cell)>,
}

// === impl Evidence ===

impl Evidence {
    /// Sorts the cells of the policy lane.
    pub fn of(objective: Objective, cells: &BTreeMap<CellId, Cell>) -> Self {
        let of_policy = cells.iter().filter(|(id, _)| id.lane == Lane::Policy);
        let mut found: Vec<((VariantIndex, Context), &Cell)> = of_policy
            .map(|(id, cell)| ((id.variant, id.context), cell))
            .collect();
        found.sort_by_key(|(place, _)| *place);
        let mut contexts: Vec<Context> = found.iter().map(|((_, of), _)| *of).collect();
        let mut sorted: Vec<((VariantIndex, Context), Cell)> = Vec::with_capacity(found.len());
        for (place, cell) in found {
            match sorted.last_mut() {
                Some((last, sum)) if *last == place => sum.merge(cell),
                _ => sorted.push((place, cell.clone())),
            }
        }
        contexts.sort_unstable();
        contexts.dedup();
        Self {
            objective,
            contexts,
            cells: sorted,
        }
    }

    /// Trials and successes of one cell; empty where there is none.
    pub fn cell(&self, variant: VariantIndex, context: Context) -> Exposure {
        let found = self
            .cells
            .binary_search_by_key(&(variant, context), |(place, _)| *place);
        let cell = found.ok().and_then(|at| self.cells.get(at));
        cell.map(|(_, cell)| cell.objective(self.objective).clone())
            .unwrap_or_default()
    }

    /// A variant over all contexts.
    pub fn pooled(&self, variant: VariantIndex) -> Cell {
        let mut sum = Cell::default();
        let first = self.cells.partition_point(|((of, _), _)| *of < variant);
        self.cells
            .iter()
            .skip(first)
            .take_while(|((of, _), _)| *of == variant)
            .for_each(|(_, cell)| sum.merge(cell));
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
        self.cells
            .iter()
            .map(|(_, cell)| cell.objective(self.objective).trials.max(0.0))
            .sum()
    }
}
