//! Folding: changed values move from the overlays into a new run, and the journal rows that held them are removed.
//!
//! Invariant: a value is folded only once its journal row is durable, and a row is removed only once the run that holds every value in it is durable
//! and named by the store. So a stop at any moment leaves either the rows or the run; a run that nobody names is removed at the next opening.

use std::sync::Arc;

use super::disk::Disk;
use super::journal::Entry;
use super::meta::Folded;
use super::shared::Shared;
use crate::store::runs::{Run, full_key};
use crate::store::{Bytes, StoreError, pace};

/// Values read or dropped under one hold of a partition: every decision of it waits meanwhile.
const CHUNK: usize = 32;
/// Values written between two looks whether to rest.
const STRIDE: usize = 8;
/// Rests of the folding thread, in lengths of what it computed before each, while nearly nothing waits; fewer the more waits, and none from half of
/// what may.
const REST: f64 = 3.0;

/// Runs until stopped.
pub(super) fn run(shared: &Shared) {
    let _resting = pace::rest(REST);
    while shared.fold_signal.wait(shared.options.fold_interval) {
        // A failure is kept for health and mended by the committer; the values stay in the overlay for the next pass.
        let _ = pass(shared);
    }
}

/// Rests where this is the folding thread, unless it is far behind, told to stop, or somebody waits for it.
fn breathe(shared: &Shared) {
    let (counts, options) = (&shared.counts, &shared.options);
    let half = |bytes: u64| bytes.max(2) as f64 / 2.0;
    let changes = counts.overlay_bytes() as f64 / half(options.overlay_bytes_max);
    // What is changed again and again takes little memory, and is replayed at a start all the same.
    let journal = counts.journal_bytes() as f64 / half(options.fold_after_bytes.saturating_mul(4));
    let behind = changes.max(journal);
    let rest = if shared.fold_signal.is_stopped() || shared.is_fold_awaited() {
        0.0
    } else {
        REST * (1.0 - behind).max(0.0)
    };
    pace::change(rest);
    pace::breathe();
}

/// What one pass folds of a partition.
struct Taken {
    /// The keys it has in hand.
    keys: Vec<Bytes>,
    /// Their values in order of keys. Each is as new as `sequence` or newer: they are read bit by bit while commits go on.
    entries: Vec<Entry>,
    /// Everything up to this commit is in `entries`.
    sequence: u64,
}

/// What a pass has in hand. Whatever ends the pass, a defect included, what it has not folded waits again.
struct InHand<'a> {
    shared: &'a Shared,
    taken: Vec<Taken>,
}

// === impl InHand ===

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        for (partition, taken) in (0..).zip(std::mem::take(&mut self.taken)) {
            if let Ok(mut overlay) = self.shared.overlay(partition) {
                overlay.dirty.wait_again(taken.keys);
            }
        }
    }
}

/// Folds everything changed until now.
///
/// While the disk is nearly full nothing is: folding takes room before it gives any back, and the journal holds everything.
pub(super) fn pass(shared: &Shared) -> Result<(), StoreError> {
    if shared.reserve.check().is_err() {
        return Ok(());
    }
    let _alone = shared.folding();
    // Taken first: whatever is in the rows before this one is in what is taken afterwards.
    let (generation, keep_from) = shared.with_disk(|disk| {
        disk.cut_journal();
        Ok((disk.generation, shared.next_row()))
    })?;
    let mut hand = InHand {
        shared,
        taken: Vec::new(),
    };
    fold(shared, generation, keep_from, &mut hand.taken)
}

/// Folds; what is left in `taken` was not.
fn fold(
    shared: &Shared,
    generation: u64,
    keep_from: u64,
    taken: &mut Vec<Taken>,
) -> Result<(), StoreError> {
    for partition in 0..shared.partitions() {
        let mut overlay = shared.overlay(partition)?;
        taken.push(Taken {
            keys: overlay.dirty.take_waiting(),
            entries: Vec::new(),
            sequence: overlay.sequence,
        });
    }
    for (partition, taken) in (0..).zip(taken.iter_mut()) {
        taken.entries = entries(shared, partition, &taken.keys)?;
    }
    if taken.iter().all(|taken| taken.entries.is_empty()) && shared.counts.journal_rows() == 0 {
        return Ok(());
    }
    // All that was read is in rows up to here, of which those of commits behind the sequences are kept.
    shared.durable(shared.queue.last()).wait()?;
    let failed = |error: &StoreError| {
        // If the files were opened anew meanwhile, the committer knows already.
        if shared.with_disk(|disk| Ok(disk.generation)) == Ok(generation) {
            shared.fail(error.clone());
            shared.queue.mend();
        }
    };
    write(shared, generation, keep_from, taken).inspect_err(failed)?;
    // It is named, so it counts, whether or not the rows can be removed.
    for (partition, taken) in (0..).zip(taken.iter()) {
        forget(shared, partition, taken)?;
    }
    taken.clear();
    remove_rows(shared, generation, keep_from).inspect_err(failed)?;
    shared.counts.folded();
    Ok(())
}

/// The values of the keys, in their order.
fn entries(shared: &Shared, partition: u16, keys: &[Bytes]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        breathe(shared);
        let overlay = shared.overlay(partition)?;
        entries.extend(chunk.iter().filter_map(|key| overlay.entry(partition, key)));
    }
    breathe(shared);
    entries.sort_unstable_by(|one: &Entry, other: &Entry| one.key.cmp(&other.key));
    // A run has each key once.
    entries.dedup_by(|one, other| one.key == other.key);
    Ok(entries)
}

fn write(
    shared: &Shared,
    generation: u64,
    keep_from: u64,
    taken: &[Taken],
) -> Result<(), StoreError> {
    let run = write_run(shared, taken)?.map(Arc::new);
    shared.switch(Some(generation), |_, list| {
        let list: Vec<Arc<Run>> = list.iter().cloned().chain(run).collect();
        let folded = Folded {
            first_row: keep_from,
            sequences: taken.iter().map(|taken| taken.sequence).collect(),
            runs: list.iter().map(|run| run.number()).collect(),
            earlier: None,
        };
        (folded, list)
    })
}

/// Removes the rows whose values are folded.
fn remove_rows(shared: &Shared, generation: u64, keep_from: u64) -> Result<(), StoreError> {
    shared.with_disk(|disk: &Disk| {
        if disk.generation != generation {
            // The rows are removed by the next pass.
            return Ok(());
        }
        let (rows, bytes) = disk.remove_rows_before(keep_from)?;
        shared.counts.journal_shrunk(rows, bytes);
        Ok(())
    })
}

/// The values as a run; nothing where there are none.
fn write_run(shared: &Shared, taken: &[Taken]) -> Result<Option<Run>, StoreError> {
    let entries: usize = taken.iter().map(|taken| taken.entries.len()).sum();
    let mut writer = shared.runs.writer(entries as u64)?;
    let is_first = shared.runs.list()?.is_empty();
    for (partition, taken) in (0..).zip(taken) {
        for chunk in taken.entries.chunks(STRIDE) {
            breathe(shared);
            for entry in chunk {
                // Where no run knows the key, nothing need say there that it is gone.
                let is_written =
                    entry.value.is_some() || !is_first && is_in_a_run(shared, partition, entry)?;
                if is_written {
                    let full = full_key(partition, &entry.key);
                    writer.push(&full, entry.version, entry.value.as_deref())?;
                }
            }
        }
    }
    if writer.entries() == 0 {
        return Ok(None);
    }
    writer.finish().map(Some)
}

/// Whether a key may be in a run.
fn is_in_a_run(shared: &Shared, partition: u16, entry: &Entry) -> Result<bool, StoreError> {
    Ok(!shared.overlay(partition)?.presence.excludes(&entry.key))
}

fn forget(shared: &Shared, partition: u16, taken: &Taken) -> Result<(), StoreError> {
    for chunk in taken.entries.chunks(CHUNK) {
        breathe(shared);
        let mut overlay = shared.overlay(partition)?;
        let freed = chunk
            .iter()
            .map(|entry| overlay.drop_folded(entry, taken.sequence))
            .sum();
        shared.counts.overlay_grown(freed);
    }
    Ok(())
}
