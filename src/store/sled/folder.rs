//! Folding: changed values move from the overlays into a new run, and the journal rows that held them are removed.
//!
//! Invariant: a value is folded only once its journal row is durable, and a row is removed only once the run that holds every value in it is durable
//! and named by the store. So a stop at any moment leaves either the rows or the run; a run that nobody names is removed at the next opening.

use std::sync::Arc;

use super::disk::Disk;
use super::journal::Entry;
use super::meta::Folded;
use super::shared::Shared;
use crate::store::StoreError;
use crate::store::runs::{Run, full_key};

/// Values dropped under one hold of a partition.
const CHUNK: usize = 256;

/// Runs until stopped.
pub(super) fn run(shared: &Shared) {
    while shared.fold_signal.wait(shared.options.fold_interval) {
        // A failure is kept for health and mended by the committer; the values stay in the overlay for the next pass.
        let _ = pass(shared);
    }
}

struct Snapshot {
    entries: Vec<Entry>,
    sequence: u64,
}

/// Folds everything changed until now.
///
/// While the disk is nearly full nothing is: folding takes room before it gives any back, and the journal holds everything.
pub(super) fn pass(shared: &Shared) -> Result<(), StoreError> {
    if shared.reserve.check().is_err() {
        return Ok(());
    }
    let _alone = shared.folding();
    // Taken first: whatever is in the rows before this one is in the snapshots that follow.
    let (generation, keep_from) = shared.with_disk(|disk| {
        disk.cut_journal();
        Ok((disk.generation, shared.next_row()))
    })?;
    let snapshots = (0..shared.partitions())
        .map(|partition| snapshot(shared, partition))
        .collect::<Result<Vec<_>, _>>()?;
    if snapshots.iter().all(|snapshot| snapshot.entries.is_empty())
        && shared.counts.journal_rows() == 0
    {
        return Ok(());
    }
    shared.durable(shared.queue.last()).wait()?;
    if let Err(error) = write(shared, generation, keep_from, &snapshots) {
        // If the files were opened anew meanwhile, the committer knows already.
        if shared.with_disk(|disk| Ok(disk.generation)) == Ok(generation) {
            shared.fail(error.clone());
            shared.queue.mend();
        }
        return Err(error);
    }
    for (partition, snapshot) in (0..).zip(&snapshots) {
        forget(shared, partition, snapshot)?;
    }
    shared.counts.folded();
    Ok(())
}

fn snapshot(shared: &Shared, partition: u16) -> Result<Snapshot, StoreError> {
    let overlay = shared.overlay(partition)?;
    let (mut entries, sequence) = (overlay.entries_after(partition, 0), overlay.sequence);
    drop(overlay);
    entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(Snapshot { entries, sequence })
}

fn write(
    shared: &Shared,
    generation: u64,
    keep_from: u64,
    snapshots: &[Snapshot],
) -> Result<(), StoreError> {
    let run = write_run(shared, snapshots)?.map(Arc::new);
    shared.switch(Some(generation), |_, list| {
        let list: Vec<Arc<Run>> = list.iter().cloned().chain(run).collect();
        let folded = Folded {
            first_row: keep_from,
            sequences: snapshots.iter().map(|snapshot| snapshot.sequence).collect(),
            runs: list.iter().map(|run| run.number()).collect(),
            earlier: None,
        };
        (folded, list)
    })?;
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
fn write_run(shared: &Shared, snapshots: &[Snapshot]) -> Result<Option<Run>, StoreError> {
    let entries: usize = snapshots
        .iter()
        .map(|snapshot| snapshot.entries.len())
        .sum();
    let mut writer = shared.runs.writer(entries as u64)?;
    let is_first = shared.runs.list()?.is_empty();
    for (partition, snapshot) in (0..).zip(snapshots) {
        let unknown = unknown_to_runs(shared, partition, snapshot)?;
        for (entry, is_unknown) in snapshot.entries.iter().zip(unknown) {
            if entry.value.is_some() || !(is_first || is_unknown) {
                let full = full_key(partition, &entry.key);
                writer.push(&full, entry.version, entry.value.as_deref())?;
            }
        }
    }
    if writer.entries() == 0 {
        return Ok(None);
    }
    writer.finish().map(Some)
}

/// Which of the deleted keys are certainly in no run, so that nothing need say there that they are gone.
fn unknown_to_runs(
    shared: &Shared,
    partition: u16,
    snapshot: &Snapshot,
) -> Result<Vec<bool>, StoreError> {
    let overlay = shared.overlay(partition)?;
    let excluded = |entry: &Entry| entry.value.is_none() && overlay.presence.excludes(&entry.key);
    Ok(snapshot.entries.iter().map(excluded).collect())
}

fn forget(shared: &Shared, partition: u16, snapshot: &Snapshot) -> Result<(), StoreError> {
    for chunk in snapshot.entries.chunks(CHUNK) {
        let mut overlay = shared.overlay(partition)?;
        let freed = chunk.iter().map(|entry| overlay.drop_folded(entry)).sum();
        shared.counts.overlay_grown(freed);
    }
    Ok(())
}
