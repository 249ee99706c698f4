//! Durable state behind one engine trait: read, commit, scan and wait for durability, within one partition at a time.
//!
//! Invariant: a commit is atomic within its partition, visible to reads at once, and durable once its ticket says so.
//! Every engine passes the one suite in `conformance`; [`MemoryEngine`] is the model. What the bytes mean is left to the layers above.

mod answer;
pub mod backup;
mod batch;
pub mod envelope;
mod error;
mod memory;
pub mod pace;
pub mod records;
mod runs;
mod sled;
mod snapshot;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

pub use answer::Answer;
pub use error::{MergeError, StoreError};
pub use memory::MemoryEngine;
pub use sled::{Salvaged, SledEngine, SledOptions, lock_directory, salvage};
pub use snapshot::{Snapshot, SnapshotRow, SnapshotRows};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value, in bytes, given or resulting from a merge.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Largest batch, in bytes: keys, values and operands together.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most rows one scan answers; a larger limit is cut to this.
pub const SCAN_ROWS_MAX: usize = 10_000;
/// Partitions of a store created without saying how many.
pub const PARTITIONS_DEFAULT: u16 = 32;

/// One of the fixed number of logical partitions; `0..Engine::partitions()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// 0 for an absent key; otherwise the partition's commit sequence at which the value last changed.
/// It never repeats within a partition, so a deleted and re-created key cannot pass for the old one.
pub type Version = u64;

/// Immutable bytes that clone without copying.
pub type Bytes = Arc<[u8]>;

/// A value as stored, with the version to expect in a later conditional change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Commit sequence of the last change; never 0.
    pub version: Version,
    /// The value itself.
    pub value: Bytes,
}

/// One change to one key; `expected` is compared with the version committed before the batch, `None` being unconditional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the value.
    Put {
        /// At most [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// At most [`VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
        /// Version the key must have now; 0 for "must be absent".
        expected: Option<Version>,
    },
    /// Combines the operand with the present value by the engine's [`Merge`].
    Merge {
        /// At most [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// Meaning is the merge's own.
        operand: Vec<u8>,
    },
    /// Removes the key; removing an absent key changes nothing.
    Delete {
        /// At most [`KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// Version the key must have now.
        expected: Option<Version>,
    },
}

impl Change {
    /// The key this changes.
    pub fn key(&self) -> &[u8] {
        match self {
            Change::Put { key, .. } | Change::Merge { key, .. } | Change::Delete { key, .. } => key,
        }
    }
}

/// Changes to one partition, applied in order and all or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// At most [`BATCH_BYTES_MAX`] bytes in all.
    pub changes: Vec<Change>,
}

/// Names a commit for durability waits. A later commit has a greater ticket, so of many only the greatest need be waited for.
/// It belongs to the opened engine that issued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(in crate::store) u64);

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Applied and visible; durable once [`Engine::durable`] says so.
    Committed(Ticket),
    /// Nothing applied: this key had another version than expected.
    Conflict {
        /// The first key in the batch that did not match.
        key: Vec<u8>,
    },
}

/// Which rows a scan answers: ascending keys that start with `prefix` and are greater than `after`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Empty for all keys.
    pub prefix: Vec<u8>,
    /// The last key of the page before.
    pub after: Option<Vec<u8>>,
    /// Rows wanted, cut to [`SCAN_ROWS_MAX`]; a shorter page is the last one.
    pub limit: usize,
}

/// One page of a scan.
pub type Rows = Vec<(Vec<u8>, Stored)>;

/// Counters and sizes for the operator; cheap to take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStatistics {
    /// Keys held. After an unclean stop of an engine on disk this may be off by what was being folded.
    pub keys: u64,
    /// Bytes on disk, or of keys and values in memory for an engine without a disk.
    pub stored_bytes: u64,
    /// Values changed but not yet folded into the records.
    pub unfolded_keys: u64,
    /// Memory held by those, bytes.
    pub unfolded_bytes: u64,
    /// Journal rows that a restart would replay.
    pub journal_rows: u64,
    /// Bytes of those rows.
    pub journal_bytes: u64,
    /// Batches committed since opening.
    pub commits: u64,
    /// Batches refused for a version since opening.
    pub conflicts: u64,
    /// Write-outs to the disk since opening; each makes many commits durable.
    pub flushes: u64,
    /// Folding passes finished since opening.
    pub folds: u64,
}

/// How operands combine with values: additive, so that order does not matter.
pub trait Merge: Send + Sync + 'static {
    /// The merged value; `None` when the record is empty afterwards and may be deleted. Errors when either side cannot be read.
    fn merge(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Option<Vec<u8>>, MergeError>;
}

/// A store of versioned keys in partitions. Methods answer with [`Answer`], ready at once for a local engine.
pub trait Engine: Send + Sync + 'static {
    /// Number of partitions, fixed when the store was created.
    fn partitions(&self) -> u16;

    /// The present value, including commits not yet durable.
    fn read<'a>(
        &'a self,
        partition: Partition,
        key: &'a [u8],
    ) -> Answer<'a, Result<Option<Stored>, StoreError>>;

    /// Applies the batch atomically and makes it visible; not yet durable. A merge over an unreadable value refuses this batch as corrupt.
    fn commit<'a>(
        &'a self,
        partition: Partition,
        batch: Batch,
    ) -> Answer<'a, Result<Outcome, StoreError>>;

    /// One page of ascending keys, including commits not yet durable. A page is a snapshot of its partition; two pages may differ in time.
    fn scan<'a>(
        &'a self,
        partition: Partition,
        request: Scan,
    ) -> Answer<'a, Result<Rows, StoreError>>;

    /// The state of all partitions at one moment, to be read out while commits go on. Blocks like [`Engine::close`]; one at a time:
    /// unavailable for now while another is read.
    fn snapshot<'a>(&'a self) -> Answer<'a, Result<Snapshot, StoreError>>;

    /// Resolves when that commit and all before it would survive a power cut; unavailable while the disk refuses.
    fn durable<'a>(&'a self, ticket: Ticket) -> Answer<'a, Result<(), StoreError>>;

    /// Resolves when every commit made so far is durable.
    fn flush<'a>(&'a self) -> Answer<'a, Result<(), StoreError>>;

    /// The present failure, if writing does not work; cheap.
    fn health(&self) -> Result<(), StoreError>;

    /// Counters and sizes.
    fn statistics(&self) -> EngineStatistics;

    /// Refuses new commits, makes all durable and releases the store. Idempotent; reads and commits are unavailable from then on.
    fn close<'a>(&'a self) -> Answer<'a, Result<(), StoreError>>;
}
