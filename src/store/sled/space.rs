//! The reserve of disk space: commits are refused while less is free than the operator wants kept, so that sled never meets a full disk.
//!
//! Invariant: it only refuses; whatever was committed is still written, out of the reserve. A file system that does not say how much is free
//! refuses nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::store::StoreError;

/// Longest time for which an answer of the file system is believed, milliseconds, while there is room.
const BELIEVED_MS: u64 = 100;

/// The reserve.
pub(super) struct Reserve {
    directory: PathBuf,
    /// Bytes to be kept free; 0 for none.
    pub(super) bytes_min: AtomicU64,
    begun_at: Instant,
    looked_at_ms: AtomicU64,
    low: AtomicBool,
}

impl Reserve {
    /// The reserve of a directory's file system.
    pub(super) fn new(directory: &Path, bytes_min: u64) -> Self {
        let reserve = Reserve {
            directory: directory.to_owned(),
            bytes_min: AtomicU64::new(bytes_min),
            begun_at: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
            low: AtomicBool::new(false),
        };
        // The answer is kept for whoever asks next.
        let _ = reserve.look();
        reserve
    }

    /// Whether there is room, as of at most a tenth of a second ago; as of now once there was none.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let now_ms = u64::try_from(self.begun_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let age_ms = now_ms.saturating_sub(self.looked_at_ms.load(Ordering::Relaxed));
        if age_ms < BELIEVED_MS && !self.low.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.looked_at_ms.store(now_ms, Ordering::Relaxed);
        self.look()
    }

    fn look(&self) -> Result<(), StoreError> {
        let bytes_min = self.bytes_min.load(Ordering::Relaxed);
        let free = match bytes_min {
            0 => None,
            _ => free_bytes(&self.directory),
        };
        let lacking = free.filter(|free| *free < bytes_min);
        self.low.store(lacking.is_some(), Ordering::Relaxed);
        match lacking {
            None => Ok(()),
            Some(free) => Err(StoreError::Full {
                reason: format!(
                    "{free} bytes are free at {}, {bytes_min} are kept as a reserve",
                    self.directory.display()
                ),
            }),
        }
    }
}

/// Free bytes for a process without privileges; `None` when the file system does not say.
fn free_bytes(directory: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(directory).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_larger_than_the_disk_refuses_and_one_that_shrank_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(directory.path(), u64::MAX);
        assert!(matches!(reserve.check(), Err(StoreError::Full { .. })));
        assert!(matches!(reserve.check(), Err(StoreError::Full { .. })));
        reserve.bytes_min.store(1, Ordering::Relaxed);
        assert_eq!(reserve.check(), Ok(()));
    }

    #[test]
    fn no_reserve_and_no_such_directory_refuse_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Reserve::new(directory.path(), 0).check(), Ok(()));
        let nowhere = directory.path().join("nowhere");
        assert_eq!(Reserve::new(&nowhere, u64::MAX).check(), Ok(()));
    }
}
