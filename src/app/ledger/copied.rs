//! The cells of one experiment as they stood at one moment, to be faded where nobody waits for the sums.
//!
//! Invariant: what comes of it is what the sums themselves would have answered at that moment.
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::cell::{Cell, CellId};
use crate::domain::drift;
use crate::domain::half_life::Scores;

/// The cells of an experiment at one moment.
pub struct CopiedCells {
    cells: BTreeMap<CellId, Cell>,
    scores: Scores,
}

// === impl CopiedCells ===

impl CopiedCells {
    /// These, with what their half-lives are weighed by.
    pub(super) fn new(cells: BTreeMap<CellId, Cell>, scores: Scores) -> Self {
        Self { cells, scores }
    }

    /// The cells as of now, one per context: those of the half-lives weighed by how well each predicts.
    pub fn due(self, now: Timestamp) -> BTreeMap<CellId, Cell> {
        let scores = self.scores;
        drift::mixed(self.faded(now), &scores)
    }

    /// The cells of all half-lives as of now.
    pub(super) fn faded(self, now: Timestamp) -> BTreeMap<CellId, Cell> {
        let mut cells = self.cells;
        let now_ms = now.as_millisecond();
        cells.values_mut().for_each(|cell| cell.advance(now_ms));
        cells
    }
}
