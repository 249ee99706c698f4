//! A view of the whole store as of one moment, read out while commits go on.
//!
//! Invariant: the commits in it are a prefix of the order in which tickets were given, over all partitions together; every key that
//! existed at that moment comes exactly once, with the value it had then. How an engine holds the moment still is its own affair.

use super::{Bytes, Partition, StoreError, Stored, Version};

/// One key as it was at the moment of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Where it lies.
    pub partition: Partition,
    /// The key.
    pub key: Bytes,
    /// Its value and version then.
    pub stored: Stored,
}

/// Reads a snapshot out, some rows at a time, in no order that anybody may rely on.
pub trait SnapshotRows: Send {
    /// Some more rows; none at the end. Blocks while it reads. After an error the snapshot is of no use any more.
    fn next_rows(&mut self) -> Result<Vec<SnapshotRow>, StoreError>;
}

/// The state of all partitions at one moment. Dropped, it lets go of what it held.
pub struct Snapshot {
    /// By partition: the commit sequence up to which everything is in it, and nothing later.
    pub sequences: Vec<Version>,
    /// How long commits were held up for it, seconds.
    pub held_up_seconds: f64,
    /// The rows.
    pub rows: Box<dyn SnapshotRows>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("sequences", &self.sequences)
            .finish_non_exhaustive()
    }
}
