//! The engine in memory: the model that every other engine is compared with, and the simulator's store.
//!
//! Invariant: one lock per partition is held over a whole batch, so a batch is seen wholly or not at all. Nothing survives the process;
//! `durable` is true at once.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Resolved, check_limits, resolve};
use super::{
    Answer, Batch, Bytes, Engine, EngineStatistics, Merge, Outcome, Partition, Rows, SCAN_ROWS_MAX,
    Scan, Snapshot, SnapshotRow, SnapshotRows, StoreError, Stored, Ticket,
};

#[derive(Default)]
struct Shelf {
    sequence: u64,
    bytes: u64,
    records: BTreeMap<Bytes, Stored>,
}

/// The engine in memory.
pub struct MemoryEngine {
    shelves: Vec<Mutex<Shelf>>,
    merge: Arc<dyn Merge>,
    commits: AtomicU64,
    conflicts: AtomicU64,
    closed: AtomicBool,
}

impl MemoryEngine {
    /// An empty store of so many partitions, at least one.
    pub fn new(partitions: u16, merge: Arc<dyn Merge>) -> Self {
        MemoryEngine {
            shelves: (0..partitions.max(1)).map(|_| Mutex::default()).collect(),
            merge,
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    fn shelf(&self, partition: Partition) -> Result<MutexGuard<'_, Shelf>, StoreError> {
        self.health()?;
        let shelf =
            self.shelves
                .get(usize::from(partition.0))
                .ok_or(StoreError::UnknownPartition {
                    partition: partition.0,
                    partitions: self.partitions(),
                })?;
        Ok(shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn apply(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        check_limits(&batch)?;
        let mut shelf = self.shelf(partition)?;
        let resolved = resolve(partition, batch, &*self.merge, |key| {
            Ok(shelf.records.get(key).cloned())
        })?;
        let effects = match resolved {
            Resolved::Conflict(key) => {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
                return Ok(Outcome::Conflict { key });
            }
            Resolved::Changed(effects) => effects,
        };
        if !effects.is_empty() {
            shelf.sequence += 1;
        }
        for effect in effects {
            shelf.set(effect.key, effect.value);
        }
        Ok(Outcome::Committed(Ticket(
            self.commits.fetch_add(1, Ordering::Relaxed) + 1,
        )))
    }

    fn page(&self, partition: Partition, request: &Scan) -> Result<Rows, StoreError> {
        let shelf = self.shelf(partition)?;
        let from = lower_bound(request);
        let rows = shelf.records.range::<[u8], _>((from, Bound::Unbounded));
        Ok(rows
            .take_while(|(key, _)| key.starts_with(&request.prefix))
            .take(request.limit.min(SCAN_ROWS_MAX))
            .map(|(key, stored)| (key.to_vec(), stored.clone()))
            .collect())
    }
}

/// A copy of all shelves.
struct Copied(std::vec::IntoIter<(Partition, BTreeMap<Bytes, Stored>)>);

impl SnapshotRows for Copied {
    fn next_rows(&mut self) -> Result<Vec<SnapshotRow>, StoreError> {
        let shelf = self.0.find(|(_, records)| !records.is_empty());
        Ok(shelf.map_or_else(Vec::new, |(partition, records)| {
            let row = |(key, stored)| SnapshotRow {
                partition,
                key,
                stored,
            };
            records.into_iter().map(row).collect()
        }))
    }
}

impl MemoryEngine {
    fn copy(&self) -> Result<Snapshot, StoreError> {
        let started = std::time::Instant::now();
        let shelves = (0..self.partitions())
            .map(|partition| self.shelf(Partition(partition)))
            .collect::<Result<Vec<_>, _>>()?;
        let copies: Vec<_> = (0..)
            .map(Partition)
            .zip(shelves.iter().map(|shelf| shelf.records.clone()))
            .collect();
        Ok(Snapshot {
            sequences: shelves.iter().map(|shelf| shelf.sequence).collect(),
            held_up_seconds: started.elapsed().as_secs_f64(),
            rows: Box::new(Copied(copies.into_iter())),
        })
    }
}

impl Shelf {
    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let key_bytes = key.len() as u64;
        let (old, new_bytes) = match value {
            Some(value) => {
                let bytes = key_bytes + value.len() as u64;
                (
                    self.records.insert(
                        key,
                        Stored {
                            version: self.sequence,
                            value,
                        },
                    ),
                    bytes,
                )
            }
            None => (self.records.remove(&key), 0),
        };
        let old_bytes = old.map_or(0, |old| key_bytes + old.value.len() as u64);
        self.bytes = (self.bytes + new_bytes).saturating_sub(old_bytes);
    }
}

/// Where a scan begins: behind `after`, or at the prefix if that is later.
pub(super) fn lower_bound(request: &Scan) -> Bound<&[u8]> {
    match &request.after {
        Some(after) if after.as_slice() >= request.prefix.as_slice() => Bound::Excluded(after),
        _ => Bound::Included(&request.prefix),
    }
}

impl Engine for MemoryEngine {
    fn partitions(&self) -> u16 {
        u16::try_from(self.shelves.len()).unwrap_or(u16::MAX)
    }

    fn read<'a>(
        &'a self,
        partition: Partition,
        key: &'a [u8],
    ) -> Answer<'a, Result<Option<Stored>, StoreError>> {
        Answer::ready(
            self.shelf(partition)
                .map(|shelf| shelf.records.get(key).cloned()),
        )
    }

    fn commit<'a>(
        &'a self,
        partition: Partition,
        batch: Batch,
    ) -> Answer<'a, Result<Outcome, StoreError>> {
        Answer::ready(self.apply(partition, batch))
    }

    fn scan<'a>(
        &'a self,
        partition: Partition,
        request: Scan,
    ) -> Answer<'a, Result<Rows, StoreError>> {
        Answer::ready(self.page(partition, &request))
    }

    fn snapshot<'a>(&'a self) -> Answer<'a, Result<Snapshot, StoreError>> {
        Answer::ready(self.copy())
    }

    fn durable<'a>(&'a self, _ticket: Ticket) -> Answer<'a, Result<(), StoreError>> {
        Answer::ready(Ok(()))
    }

    fn flush<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        Answer::ready(self.health())
    }

    fn health(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            Err(StoreError::lasting("it was closed"))
        } else {
            Ok(())
        }
    }

    fn statistics(&self) -> EngineStatistics {
        let mut statistics = EngineStatistics {
            commits: self.commits.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            ..EngineStatistics::default()
        };
        for shelf in &self.shelves {
            let shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            statistics.keys += shelf.records.len() as u64;
            statistics.stored_bytes += shelf.bytes;
        }
        statistics
    }

    fn close<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        self.closed.store(true, Ordering::Release);
        Answer::ready(Ok(()))
    }
}
