//! Filling an empty store: rows of a backup, or changes from elsewhere, committed in batches as fast as the engine takes them.
//!
//! Invariant: a batch that the engine refuses for now is tried again; anything else ends the filling, and the half-filled store must not be used.
use std::io::Read;
use std::time::Duration;

use crate::store::backup::{BackupError, BackupReader, Totals};
use crate::store::{Batch, Change, Engine, Outcome, Partition, StoreError};

/// Changes of one batch, and bytes after which it is committed.
const CHANGES_MAX: usize = 1_000;
const BYTES_MAX: usize = 1024 * 1024;
/// How long an engine that is behind with folding is given, and how often it is asked.
const PATIENCE_TRIES: usize = 3_000;
const PATIENCE: Duration = Duration::from_millis(100);

/// Fills an engine. Blocks.
pub struct Loader<'a> {
    engine: &'a dyn Engine,
    waiting: Vec<(Vec<Change>, usize)>,
}

impl<'a> Loader<'a> {
    /// Fills this engine.
    pub fn new(engine: &'a dyn Engine) -> Self {
        Loader {
            waiting: vec![(Vec::new(), 0); usize::from(engine.partitions())],
            engine,
        }
    }

    /// Adds a change to a partition.
    ///
    /// # Errors
    /// There is no such partition, or the engine refuses for good.
    pub fn push(&mut self, partition: Partition, change: Change) -> Result<(), StoreError> {
        let partitions = self.engine.partitions();
        let unknown = StoreError::UnknownPartition {
            partition: partition.0,
            partitions,
        };
        let (changes, bytes) = self
            .waiting
            .get_mut(usize::from(partition.0))
            .ok_or(unknown)?;
        *bytes += change.key().len()
            + match &change {
                Change::Put { value, .. } => value.len(),
                Change::Merge { operand, .. } => operand.len(),
                Change::Delete { .. } => 0,
            };
        changes.push(change);
        if changes.len() >= CHANGES_MAX || *bytes >= BYTES_MAX {
            *bytes = 0;
            let changes = std::mem::take(changes);
            self.commit(partition, changes)?;
        }
        Ok(())
    }

    /// Commits what is left and makes everything durable.
    ///
    /// # Errors
    /// The engine refuses for good.
    pub fn finish(mut self) -> Result<(), StoreError> {
        for (partition, (changes, _)) in (0..).zip(std::mem::take(&mut self.waiting)) {
            if !changes.is_empty() {
                self.commit(Partition(partition), changes)?;
            }
        }
        self.engine.flush().wait()
    }

    fn commit(&self, partition: Partition, changes: Vec<Change>) -> Result<(), StoreError> {
        let batch = Batch { changes };
        for _ in 0..PATIENCE_TRIES {
            match self.engine.commit(partition, batch.clone()).wait() {
                Ok(Outcome::Committed(_)) => return Ok(()),
                Ok(Outcome::Conflict { key }) => {
                    return Err(StoreError::Conflict {
                        place: format!("a key of {} bytes in partition {}", key.len(), partition.0),
                    });
                }
                Err(StoreError::Unavailable {
                    retryable: true, ..
                }) => std::thread::sleep(PATIENCE),
                Err(error) => return Err(error),
            }
        }
        self.engine.health()?;
        Err(StoreError::Unavailable {
            reason: "it did not catch up with what was written".to_owned(),
            retryable: false,
        })
    }
}

/// Puts every row of a backup into an empty engine with as many partitions. Blocks; `progress` is told the rows so far.
///
/// # Errors
/// The backup is damaged, or the engine refuses; the engine's content is then of no use.
pub fn restore<R: Read>(
    engine: &dyn Engine,
    mut reader: BackupReader<R>,
    mut progress: impl FnMut(u64),
) -> Result<Totals, BackupError> {
    let mut loader = Loader::new(engine);
    while let Some(rows) = reader.next_block()? {
        for row in rows {
            let change = Change::Put {
                key: row.key.to_vec(),
                value: row.stored.value.to_vec(),
                expected: None,
            };
            loader.push(row.partition, change)?;
        }
        progress(reader.totals().rows);
    }
    loader.finish()?;
    Ok(reader.totals())
}
