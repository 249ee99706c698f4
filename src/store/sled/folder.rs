//! Folding: changed values move from the overlays into the records, and the journal rows that held them are removed.
//!
//! Invariant: a value is folded only once its journal row is durable, and a row is removed only once every value in it is durable among the records.
//! So a stop at any moment leaves a journal whose replay repeats the unfinished part; the records need no atomic batch, in which sled would
//! hold up every reader of the store.

use std::sync::{Mutex, PoisonError};

use super::digest::Digests;
use super::disk::Disk;
use super::journal::Entry;
use super::meta::Folded;
use super::shared::Shared;
use crate::store::StoreError;

/// Values written between two looks at the disk, and dropped under one hold of a partition.
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
    let (generation, keep_from) =
        shared.with_disk(|disk| Ok((disk.generation, shared.next_row())))?;
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
    // Neighbours lie on one page, which then is looked for and written out once.
    entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(Snapshot { entries, sequence })
}

fn write(
    shared: &Shared,
    generation: u64,
    keep_from: u64,
    snapshots: &[Snapshot],
) -> Result<(), StoreError> {
    let same_disk = |work: &dyn Fn(&Disk) -> Result<(), StoreError>| {
        shared.with_disk(|disk| {
            // What was written before the files were opened anew may be gone.
            if disk.generation != generation {
                Err(StoreError::passing("the disk was reopened while folding"))
            } else {
                work(disk)
            }
        })
    };
    let mut folded = begin(shared, snapshots, &same_disk)?;
    let digests = Mutex::new(folded.digests);
    for chunk in snapshots
        .iter()
        .flat_map(|snapshot| snapshot.entries.chunks(CHUNK))
    {
        let fold = || {
            same_disk(&|disk| {
                let grown = disk.records.fold(chunk)?;
                shared.counts.keys_grown(grown.keys);
                let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
                grown
                    .digests
                    .into_iter()
                    .for_each(|difference| digests.add(difference));
                Ok(())
            })
        };
        let cut = shared.cut_slot().clone();
        match cut {
            Some(cut) => cut.fold(shared, chunk, fold)?,
            None => fold()?,
        }
    }
    same_disk(&|disk| shared.sync(disk))?;
    folded = Folded {
        first_row: keep_from,
        keys: shared.counts.keys(),
        sequences: snapshots.iter().map(|snapshot| snapshot.sequence).collect(),
        digests: digests.into_inner().unwrap_or_else(PoisonError::into_inner),
        is_under_way: false,
    };
    same_disk(&|disk| disk.set_folded(&folded).and_then(|()| shared.sync(disk)))?;
    *shared.folded() = folded;
    same_disk(&|disk| {
        // Ascending, so that what a power cut leaves of the journal is its end.
        while let Some(bytes) = disk.remove_row_before(keep_from)? {
            shared.counts.journal_shrunk(bytes);
        }
        Ok(())
    })
}

type OnDisk<'a> = &'a dyn Fn(&dyn Fn(&Disk) -> Result<(), StoreError>) -> Result<(), StoreError>;

/// Says on the disk that records are about to be changed, if any are; how far the last fold went.
fn begin(
    shared: &Shared,
    snapshots: &[Snapshot],
    same_disk: OnDisk<'_>,
) -> Result<Folded, StoreError> {
    let folded = shared.folded().clone();
    // Whatever fails from here on leaves records that nobody has added up.
    shared.folded().digests = Digests::unknown();
    if snapshots
        .iter()
        .any(|snapshot| !snapshot.entries.is_empty())
    {
        let begun = Folded {
            is_under_way: true,
            ..folded.clone()
        };
        same_disk(&|disk| disk.set_folded(&begun).and_then(|()| shared.sync(disk)))?;
    }
    Ok(folded)
}

fn forget(shared: &Shared, partition: u16, snapshot: &Snapshot) -> Result<(), StoreError> {
    for chunk in snapshot.entries.chunks(CHUNK) {
        let mut overlay = shared.overlay(partition)?;
        let freed = chunk.iter().map(|entry| overlay.drop_folded(entry)).sum();
        shared.counts.overlay_grown(freed);
    }
    Ok(())
}
