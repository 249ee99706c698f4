//! The moment of a snapshot, held while its rows are read: a copy of the overlays, and every record as it was before folding changes it.
//!
//! Invariant: each key of the moment is given once: from the copied overlays, else from the records while their version is of the moment, else
//! rescued by the folder just before it writes over it. Scanning and folding take turns under one lock, so neither misses the other. Commits
//! wait only while the overlays are copied, which a folding pass has emptied just before. What is rescued and not yet fetched is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::folder;
use super::journal::Entry;
use super::overlay::Dirty;
use super::shared::Shared;
use crate::store::{
    Bytes, Partition, Snapshot, SnapshotRow, SnapshotRows, StoreError, Stored, Version,
};

/// Rows read from the records under one hold.
const ROWS_PER_PAGE: usize = 512;
/// Most bytes rescued and not yet fetched before folding waits for the reader.
const RESCUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest wait for a reader that does not fetch; then its snapshot is given up, so that folding goes on.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// The moment, shared by its reader and the folder.
pub(super) struct Cut {
    generation: u64,
    sequences: Vec<Version>,
    /// By partition: the values that were not yet among the records.
    frozen: Vec<BTreeMap<Bytes, Dirty>>,
    reading: Mutex<Reading>,
    fetched: Condvar,
}

/// How far the reader is, and what was rescued from behind that.
#[derive(Default)]
struct Reading {
    /// Records up to here were given.
    partition: u16,
    last: Option<Vec<u8>>,
    rescued: VecDeque<SnapshotRow>,
    rescued_bytes: usize,
    failure: Option<StoreError>,
}

/// The reader of a cut.
struct CutRows {
    shared: Arc<Shared>,
    cut: Arc<Cut>,
    /// Next partition and key among the frozen values.
    frozen: (usize, Option<Bytes>),
}

/// Takes the moment. One snapshot at a time: another is unavailable until the first is dropped.
pub(super) fn take(shared: &Arc<Shared>) -> Result<Snapshot, StoreError> {
    // So that little is left to copy. If the disk takes nothing at present, more is copied, and the snapshot is as good.
    let _ = folder::pass(shared);
    let (cut, held_up) = {
        let _alone = shared.folding();
        let generation = shared.with_disk(|disk| Ok(disk.generation))?;
        let mut slot = shared.cut_slot();
        if slot.is_some() {
            return Err(StoreError::passing(
                "another snapshot is being read; try again when it is done",
            ));
        }
        let (cut, held_up) = freeze(shared, generation)?;
        *slot = Some(Arc::clone(&cut));
        (cut, held_up)
    };
    Ok(Snapshot {
        sequences: cut.sequences.clone(),
        held_up_seconds: held_up.as_secs_f64(),
        rows: Box::new(CutRows {
            shared: Arc::clone(shared),
            cut,
            frozen: (0, None),
        }),
    })
}

/// Copies the overlays while all partitions are held still: a commit has its ticket and is in its overlay under one such hold.
fn freeze(shared: &Shared, generation: u64) -> Result<(Arc<Cut>, Duration), StoreError> {
    let started = Instant::now();
    let overlays = (0..shared.partitions())
        .map(|partition| shared.overlay(partition))
        .collect::<Result<Vec<_>, _>>()?;
    let cut = Cut {
        generation,
        sequences: overlays.iter().map(|overlay| overlay.sequence).collect(),
        frozen: overlays
            .iter()
            .map(|overlay| overlay.dirty.copied())
            .collect(),
        reading: Mutex::default(),
        fetched: Condvar::new(),
    };
    drop(overlays);
    Ok((Arc::new(cut), started.elapsed()))
}

// === impl Cut ===

impl Cut {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the snapshot for its reader.
    pub(super) fn give_up(&self, error: StoreError) {
        let mut reading = self.reading();
        reading.rescued = VecDeque::new();
        reading.failure.get_or_insert(error);
        self.fetched.notify_all();
    }

    /// Folds entries after having rescued what they write over.
    pub(super) fn fold(
        &self,
        shared: &Shared,
        entries: &[Entry],
        fold: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut reading = self.wait_for_reader();
        if reading.failure.is_none()
            && let Err(error) = self.rescue(&mut reading, shared, entries)
        {
            reading.failure = Some(error);
        }
        fold()
    }

    fn wait_for_reader(&self) -> MutexGuard<'_, Reading> {
        let full = |reading: &mut Reading| {
            reading.rescued_bytes > RESCUED_BYTES_MAX && reading.failure.is_none()
        };
        let waited = self
            .fetched
            .wait_timeout_while(self.reading(), READER_PATIENCE, full);
        let (mut reading, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            reading.rescued = VecDeque::new();
            reading.failure = Some(StoreError::passing(
                "the snapshot was read too slowly and given up",
            ));
        }
        reading
    }

    fn rescue(
        &self,
        reading: &mut Reading,
        shared: &Shared,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        for entry in entries {
            if !reading.lies_ahead(entry.partition, &entry.key) {
                continue;
            }
            let stored = shared.with_disk(|disk| {
                self.same(disk.generation)?;
                disk.records.read(entry.partition, &entry.key)
            })?;
            let old = stored
                .and_then(|stored| self.row(entry.partition, Bytes::clone(&entry.key), stored));
            if let Some(row) = old {
                reading.rescued_bytes += row.key.len() + row.stored.value.len();
                reading.rescued.push_back(row);
            }
        }
        Ok(())
    }

    /// The row of a record, if it is one of the moment.
    fn row(&self, partition: u16, key: Bytes, stored: Stored) -> Option<SnapshotRow> {
        let at = usize::from(partition);
        let is_of_moment = self
            .sequences
            .get(at)
            .is_some_and(|sequence| stored.version <= *sequence);
        let is_frozen = self
            .frozen
            .get(at)
            .is_some_and(|frozen| frozen.contains_key(&key));
        (is_of_moment && !is_frozen).then_some(SnapshotRow {
            partition: Partition(partition),
            key,
            stored,
        })
    }

    fn same(&self, generation: u64) -> Result<(), StoreError> {
        if self.generation == generation {
            Ok(())
        } else {
            Err(StoreError::passing(
                "the disk failed while the snapshot was read; take another",
            ))
        }
    }
}

// === impl Reading ===

impl Reading {
    fn lies_ahead(&self, partition: u16, key: &[u8]) -> bool {
        partition > self.partition
            || partition == self.partition && self.last.as_deref().is_none_or(|last| key > last)
    }

    fn fetch(&mut self) -> Vec<SnapshotRow> {
        self.rescued_bytes = 0;
        std::mem::take(&mut self.rescued).into()
    }
}

// === impl CutRows ===

impl CutRows {
    /// Some of the frozen values; none when all were given.
    fn next_frozen(&mut self) -> Vec<SnapshotRow> {
        while let Some(frozen) = self.cut.frozen.get(self.frozen.0) {
            let from = self
                .frozen
                .1
                .as_ref()
                .map_or(Bound::Unbounded, |last| Bound::Excluded(Bytes::clone(last)));
            let page: Vec<_> = frozen
                .range((from, Bound::Unbounded))
                .take(ROWS_PER_PAGE)
                .collect();
            let partition = Partition(u16::try_from(self.frozen.0).unwrap_or(u16::MAX));
            let Some((last, _)) = page.last() else {
                self.frozen = (self.frozen.0 + 1, None);
                continue;
            };
            self.frozen.1 = Some(Bytes::clone(last));
            let rows: Vec<SnapshotRow> = page
                .into_iter()
                .filter_map(|(key, dirty)| {
                    Some(SnapshotRow {
                        partition,
                        key: Bytes::clone(key),
                        stored: dirty.stored()?,
                    })
                })
                .collect();
            if !rows.is_empty() {
                return rows;
            }
        }
        Vec::new()
    }

    /// What was rescued, and the next page of records; none at the end.
    fn next_records(&self) -> Result<Vec<SnapshotRow>, StoreError> {
        let mut reading = self.cut.reading();
        loop {
            if let Some(failure) = &reading.failure {
                return Err(failure.clone());
            }
            let mut rows = reading.fetch();
            self.cut.fetched.notify_all();
            if usize::from(reading.partition) >= self.cut.sequences.len() {
                return Ok(rows);
            }
            self.page(&mut reading, &mut rows)?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }

    fn page(&self, reading: &mut Reading, rows: &mut Vec<SnapshotRow>) -> Result<(), StoreError> {
        let partition = reading.partition;
        let page = self.shared.with_disk(|disk| {
            self.cut.same(disk.generation)?;
            let from = reading
                .last
                .as_deref()
                .map_or(Bound::Unbounded, Bound::Excluded);
            disk.records
                .range(partition, from)
                .take(ROWS_PER_PAGE)
                .collect::<Result<Vec<_>, _>>()
        })?;
        let is_last = page.len() < ROWS_PER_PAGE;
        for (key, stored) in page {
            rows.extend(self.cut.row(partition, Bytes::from(key.as_slice()), stored));
            reading.last = Some(key);
        }
        if is_last {
            reading.partition += 1;
            reading.last = None;
        }
        Ok(())
    }
}

impl SnapshotRows for CutRows {
    fn next_rows(&mut self) -> Result<Vec<SnapshotRow>, StoreError> {
        let rows = self.next_frozen();
        if rows.is_empty() {
            self.next_records()
        } else {
            Ok(rows)
        }
    }
}

impl Drop for CutRows {
    fn drop(&mut self) {
        self.cut
            .give_up(StoreError::lasting("the snapshot was let go of"));
        self.shared.end_cut(&self.cut);
    }
}
