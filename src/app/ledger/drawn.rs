//! Decisions counted by the table they were drawn from, until somebody asks for the check of shares.
//!
//! Invariant: what is counted here is not in the check yet, and what leaves is added to it once. A decision then costs the same among a thousand
//! variants as among five.
use std::sync::Arc;

use crate::domain::name::VariantIndex;
use crate::domain::sample_ratio::{Drawn, SampleRatio};
use crate::domain::snapshot::Table;

/// Tables counted apart: those of an experiment's contexts, and a few from before a refresh.
const TABLES_MAX: usize = 64;

/// Decisions that are not in the check yet.
#[derive(Clone, Debug, Default)]
pub struct DrawnTables(Vec<(Arc<Table>, Drawn)>);

// === impl DrawnTables ===

impl DrawnTables {
    /// Counts a decision; into the check goes what there is no room for.
    pub fn add(&mut self, table: &Arc<Table>, chosen: VariantIndex, ratio: &mut SampleRatio) {
        let known = self.0.iter().position(|(of, _)| Arc::ptr_eq(of, table));
        if known.is_none() {
            if self.0.len() >= TABLES_MAX {
                self.settle(ratio);
            }
            self.0.push((table.clone(), Drawn::default()));
        }
        let at = known.unwrap_or(self.0.len() - 1);
        if let Some((_, drawn)) = self.0.get_mut(at) {
            drawn.count(chosen);
        }
    }

    /// Adds everything to the check.
    pub fn settle(&mut self, ratio: &mut SampleRatio) {
        for (table, drawn) in self.0.drain(..) {
            let propensities = table.allocation.probabilities();
            let variants = table.candidates.iter().map(|candidate| candidate.variant);
            ratio.decide(variants.zip(propensities.iter().copied()), &drawn);
        }
    }
}
