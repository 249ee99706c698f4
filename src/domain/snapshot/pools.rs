//! Partial pooling of an experiment's cells: what each leans on, as far as the data allow.
//!
//! Invariant: one row per live variant, one column per context, in the order given. The formulas are left to `posterior`.
use crate::domain::cell::Context;
use crate::domain::delay::DelayCurve;
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::{
    CellCounts, CellEvidence, CellPool, PoolLevels, Prior, estimate_kappa, pool_levels,
    pooled_cell_posterior,
};
use crate::domain::shape::BetaShape;
use crate::domain::standing::Terms;

use super::evidence::Evidence;

/// From this share of a posterior's weight on, a cell's own data count as material.
const MATERIAL_SHARE: f64 = 0.2;

/// Partial pooling: cells by live variant and context, and what each leans on as far as the data allow.
pub struct Pools {
    rows: Vec<Vec<CellCounts>>,
    levels: PoolLevels,
    kappa: f64,
    curve: DelayCurve,
}

// === impl Pools ===

impl Pools {
    /// Fits rates, levels and concentration to the cells of the live variants.
    pub fn of(
        live: &[VariantIndex],
        contexts: &[Context],
        evidence: &Evidence,
        terms: &Terms<'_>,
        priors: &[Prior],
    ) -> Self {
        let curve = terms.belief().curve;
        let row = |variant: &VariantIndex| {
            let counts = contexts
                .iter()
                .map(|context| evidence.counts(*variant, *context, &curve));
            counts.collect()
        };
        let rows: Vec<Vec<CellCounts>> = live.iter().map(row).collect();
        let levels = pool_levels(&rows, priors);
        let fitted_parameters = live.len() + contexts.len();
        let kappa = estimate_kappa(&against_expectation(&rows, &levels), fitted_parameters);
        Self {
            rows,
            levels,
            kappa,
            curve,
        }
    }

    /// Effective trials and successes of one cell; empty where there is none.
    pub fn counts(&self, row: usize, at: usize) -> CellCounts {
        let cells = self.rows.get(row);
        cells
            .and_then(|cells| cells.get(at))
            .copied()
            .unwrap_or_default()
    }

    fn arm_trials(&self, row: usize) -> f64 {
        let cells = self.rows.get(row).into_iter().flatten();
        cells.map(|cell| cell.trials).sum()
    }

    /// The posterior of one cell from its own data and what it leans on.
    pub fn posterior(&self, row: usize, at: usize, own: &Exposure) -> BetaShape {
        pooled_cell_posterior(&self.pool(row, at), own, &self.curve)
    }

    fn pool(&self, row: usize, at: usize) -> CellPool {
        CellPool {
            arm_rate: self.levels.arm_rates.get(row).copied().unwrap_or(0.0),
            arm_trials: self.arm_trials(row),
            segment_level: self.levels.segment_levels.get(at).copied().unwrap_or(1.0),
            kappa: self.kappa,
        }
    }

    /// Whether a cell's own trials are a material share of what its posterior rests on.
    pub fn is_material(&self, row: usize, at: usize) -> bool {
        let own = self.counts(row, at).trials;
        let pooled = self.kappa.min(self.arm_trials(row) - own + 10.0);
        own >= MATERIAL_SHARE * (own + pooled)
    }
}

fn against_expectation(rows: &[Vec<CellCounts>], levels: &PoolLevels) -> Vec<CellEvidence> {
    let expected =
        |rate: &f64, at: usize| rate * levels.segment_levels.get(at).copied().unwrap_or(1.0);
    rows.iter()
        .zip(&levels.arm_rates)
        .flat_map(|(row, rate)| {
            row.iter()
                .enumerate()
                .map(move |(at, counts)| CellEvidence {
                    counts: *counts,
                    expected_rate: expected(rate, at),
                })
        })
        .collect()
}
