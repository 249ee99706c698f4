//! The engine's counters: what it did since opening, and what waits to be written.
//!
//! Invariant: they only inform and trigger; nothing correct depends on them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::store::EngineStatistics;

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Counts {
    overlay_bytes: AtomicI64,
    journal_rows: AtomicI64,
    journal_bytes: AtomicI64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    flushes: AtomicU64,
    folds: AtomicU64,
    generation: AtomicU64,
}

fn positive(counter: &AtomicI64) -> u64 {
    u64::try_from(counter.load(Relaxed)).unwrap_or(0)
}

impl Counts {
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Relaxed);
    }

    pub(super) fn conflicted(&self) {
        self.conflicts.fetch_add(1, Relaxed);
    }

    pub(super) fn flushed(&self) {
        self.flushes.fetch_add(1, Relaxed);
    }

    pub(super) fn folded(&self) {
        self.folds.fetch_add(1, Relaxed);
    }

    pub(super) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn overlay_bytes(&self) -> u64 {
        positive(&self.overlay_bytes)
    }

    pub(super) fn overlay_grown(&self, bytes: isize) {
        self.overlay_bytes.fetch_add(bytes as i64, Relaxed);
    }

    pub(super) fn journal_rows(&self) -> u64 {
        positive(&self.journal_rows)
    }

    pub(super) fn journal_bytes(&self) -> u64 {
        positive(&self.journal_bytes)
    }

    pub(super) fn journal_grown(&self, rows: u64, bytes: u64) {
        self.journal_rows.fetch_add(rows.cast_signed(), Relaxed);
        self.journal_bytes.fetch_add(bytes.cast_signed(), Relaxed);
    }

    pub(super) fn journal_shrunk(&self, rows: u64, bytes: u64) {
        self.journal_rows.fetch_sub(rows.cast_signed(), Relaxed);
        self.journal_bytes.fetch_sub(bytes.cast_signed(), Relaxed);
    }

    /// All but what the runs, the disk and the overlays know.
    pub(super) fn statistics(&self) -> EngineStatistics {
        EngineStatistics {
            keys: 0,
            stored_bytes: 0,
            unfolded_keys: 0,
            unfolded_bytes: self.overlay_bytes(),
            journal_rows: self.journal_rows(),
            journal_bytes: self.journal_bytes(),
            commits: self.commits.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            folds: self.folds.load(Relaxed),
        }
    }
}
