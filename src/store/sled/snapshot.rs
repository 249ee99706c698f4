//! The moment of a snapshot, held while its rows are read: a copy of the overlays, and the runs of that moment, which never change.
//!
//! Invariant: each key of the moment is given once, from the copied overlays or else from the runs. Commits wait only while the overlays are copied,
//! which a folding pass has emptied just before. Runs that are merged away meanwhile are read all the same.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::folder;
use super::overlay::Dirty;
use super::scan::Overlaid;
use super::shared::Shared;
use crate::store::runs::{List, values};
use crate::store::{
    Bytes, Partition, Snapshot, SnapshotRow, SnapshotRows, StoreError, Stored, Version,
};

/// Rows given at a time.
const ROWS_PER_PAGE: usize = 512;

/// One partition at the moment.
struct Frozen {
    sequence: Version,
    /// The values that were not yet in a run.
    changed: BTreeMap<Bytes, Dirty>,
}

type OfPartition = Box<dyn Iterator<Item = Result<(Vec<u8>, Stored), StoreError>> + Send>;

/// The reader of a snapshot.
struct FrozenRows {
    shared: Arc<Shared>,
    runs: List,
    /// Those still to be read, with their numbers.
    partitions: std::iter::Zip<std::ops::RangeFrom<u16>, std::vec::IntoIter<Frozen>>,
    /// The partition being read.
    current: Option<(Partition, OfPartition)>,
    /// Told when it is dropped.
    is_being_read: Arc<AtomicBool>,
}

/// Takes the moment. One snapshot at a time: another is unavailable until the first is dropped.
pub(super) fn take(shared: &Arc<Shared>) -> Result<Snapshot, StoreError> {
    // So that little is left to copy. If the disk takes nothing at present, more is copied, and the snapshot is as good.
    let _ = folder::pass(shared);
    let is_being_read = Arc::clone(&shared.is_being_read);
    if is_being_read.swap(true, Ordering::AcqRel) {
        return Err(StoreError::passing(
            "another snapshot is being read; try again when it is done",
        ));
    }
    // Commits are visible and have their tickets under a hold of their partition, and what leaves an overlay is in the runs before it does.
    let started = Instant::now();
    let frozen = freeze(shared);
    let held_up = started.elapsed();
    let (frozen, runs) = frozen.inspect_err(|_| is_being_read.store(false, Ordering::Release))?;
    Ok(Snapshot {
        sequences: frozen.iter().map(|partition| partition.sequence).collect(),
        held_up_seconds: held_up.as_secs_f64(),
        rows: Box::new(FrozenRows {
            shared: Arc::clone(shared),
            runs,
            partitions: (0..).zip(frozen),
            current: None,
            is_being_read,
        }),
    })
}

fn freeze(shared: &Shared) -> Result<(Vec<Frozen>, List), StoreError> {
    let overlays = (0..shared.partitions())
        .map(|partition| shared.overlay(partition))
        .collect::<Result<Vec<_>, _>>()?;
    let frozen = overlays.iter().map(|overlay| Frozen {
        sequence: overlay.sequence,
        changed: overlay.dirty.copied(),
    });
    Ok((frozen.collect(), shared.runs.list()?))
}

// === impl FrozenRows ===

impl FrozenRows {
    /// The next row of the partition being read, or of those behind it; nothing at the end.
    fn next_row(&mut self) -> Result<Option<SnapshotRow>, StoreError> {
        loop {
            if let Some((partition, rows)) = &mut self.current
                && let Some(row) = rows.next()
            {
                let (key, stored) = row?;
                return Ok(Some(SnapshotRow {
                    partition: *partition,
                    key: Bytes::from(key),
                    stored,
                }));
            }
            let Some((partition, frozen)) = self.partitions.next() else {
                return Ok(None);
            };
            let changed = frozen.changed.into_iter();
            let changed = changed.map(|(key, dirty)| (key, dirty.stored()));
            let kept = values(&self.runs, partition, Bound::Unbounded);
            let rows: OfPartition = Box::new(Overlaid::new(changed, kept));
            self.current = Some((Partition(partition), rows));
        }
    }
}

impl SnapshotRows for FrozenRows {
    fn next_rows(&mut self) -> Result<Vec<SnapshotRow>, StoreError> {
        if self.shared.released() {
            return Err(StoreError::lasting("it was closed"));
        }
        let mut rows = Vec::new();
        while rows.len() < ROWS_PER_PAGE {
            match self.next_row()? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        Ok(rows)
    }
}

impl Drop for FrozenRows {
    fn drop(&mut self) {
        self.is_being_read.store(false, Ordering::Release);
    }
}
