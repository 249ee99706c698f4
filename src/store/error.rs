//! What can go wrong in a store: damage, unavailability, a newer format, a limit, a lost race.
//!
//! Invariant: errors carry facts and the next step, clone freely (one disk failure answers many waiters), and name no library.

use std::fmt::Write;

/// Why a store call did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A caller's tries at an optimistic change were used up; engines answer [`super::Outcome::Conflict`] instead.
    #[error("the record at {place} kept changing under its writer; try again")]
    Conflict {
        /// Partition and key.
        place: String,
    },
    /// Stored bytes cannot be what was once written.
    #[error("damaged data at {place}: {what}")]
    Corrupt {
        /// What is wrong, and what to do where it is not a single record.
        what: String,
        /// Partition and key, or file.
        place: String,
    },
    /// The engine cannot serve this now.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// For the operator.
        reason: String,
        /// Whether the same call may succeed later without anybody stepping in.
        retryable: bool,
    },
    /// There is no room for more: changes are refused, reads go on. It passes once somebody makes room.
    #[error(
        "the disk is full: {reason}; free some space or enlarge the disk, writing resumes by itself"
    )]
    Full {
        /// For the operator.
        reason: String,
    },
    /// Written by a newer program than this.
    #[error(
        "the store has format {found}, this program reads up to format {supported}: start the newer program that wrote it, or restore an export into an empty directory"
    )]
    NewerFormat {
        /// Format version found.
        found: u16,
        /// Newest format version this program reads.
        supported: u16,
    },
    /// A limit of the store was passed.
    #[error("{what} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Key, value or batch.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// No such partition in this store.
    #[error("partition {partition} does not exist: the store has {partitions}")]
    UnknownPartition {
        /// Asked for.
        partition: u16,
        /// The store has `0..partitions`.
        partitions: u16,
    },
}

impl StoreError {
    /// An [`StoreError::Unavailable`] that passes by itself.
    pub(in crate::store) fn passing(reason: impl Into<String>) -> Self {
        StoreError::Unavailable {
            reason: reason.into(),
            retryable: true,
        }
    }

    /// What an error of the operating system comes to: a full disk, or an unavailable one.
    pub(in crate::store) fn of_io(doing: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let reason = format!("{doing}: {error}");
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => StoreError::Full { reason },
            _ => Self::passing(reason),
        }
    }

    /// An [`StoreError::Unavailable`] that somebody has to mend.
    pub(in crate::store) fn lasting(reason: impl Into<String>) -> Self {
        StoreError::Unavailable {
            reason: reason.into(),
            retryable: false,
        }
    }

    /// A [`StoreError::Corrupt`] of one record, its key in hexadecimal.
    pub(in crate::store) fn record(partition: u16, key: &[u8], what: impl Into<String>) -> Self {
        let mut place = format!("partition {partition} key ");
        for byte in key {
            // Writing to a String cannot fail.
            let _ = write!(place, "{byte:02x}");
        }
        StoreError::Corrupt {
            what: what.into(),
            place,
        }
    }
}

/// Why two parts of a record could not be merged; it is stored bytes that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MergeError {
    /// Which side, and what is wrong with it.
    pub reason: String,
}
