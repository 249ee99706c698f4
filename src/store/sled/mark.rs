//! The mark: a few bytes beside the journal that say how far it was durable.
//!
//! Invariant: the mark is written after the rows it speaks of are synced, and before they are acknowledged, so a store that ends before its mark has
//! lost what was acknowledged. A row that does not read ends the journal, be it damaged or the torn end of an interrupted write; this tells.
//! A file system that has given up refuses the mark: it can say of a sync that came just then that it succeeded, and have lost what was synced (ext4
//! whose log was aborted: 2 of 60 times).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::store::StoreError;
use crate::store::envelope::{KIND_ENGINE_FIRST, open, seal};

const NAME: &str = "mark";
const KIND: u8 = KIND_ENGINE_FIRST + 3;
const VERSION: u8 = 1;

/// The file.
pub(super) struct Mark {
    path: PathBuf,
    /// Opened anew after a failure.
    file: Mutex<Option<File>>,
}

/// The number of the first journal row that was not durable when the mark was last written; `None` without a readable mark.
pub(super) fn read(directory: &Path) -> Option<u64> {
    let mut bytes = Vec::new();
    let file = File::open(directory.join(NAME)).ok()?;
    file.take(64).read_to_end(&mut bytes).ok()?;
    let envelope = open(&bytes).ok()?;
    let is_mark = envelope.kind == KIND && envelope.version == VERSION;
    let number = envelope.payload.try_into().map(u64::from_le_bytes).ok()?;
    is_mark.then_some(number)
}

/// Refuses a journal that ends before the mark.
pub(super) fn compare(directory: &Path, next_row: u64) -> Result<(), StoreError> {
    match read(directory) {
        Some(marked) if marked > next_row => Err(StoreError::Corrupt {
            what: format!(
                "journal rows up to {} were durable, and the store's files end before row {next_row}: they are damaged, and acknowledged data is gone. \
                 Nothing was deleted: restore the last backup, or take what is left with hermod repair",
                marked - 1
            ),
            place: directory.display().to_string(),
        }),
        _ => Ok(()),
    }
}

impl Mark {
    /// The mark of a store.
    pub(super) fn of(directory: &Path) -> Mark {
        Mark {
            path: directory.join(NAME),
            file: Mutex::default(),
        }
    }

    /// Notes that every row before this number is durable. Not synced itself: an older mark is true as well. Where there is no room for it, it stays
    /// an older one.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn write(&self, next_row: u64) -> Result<(), StoreError> {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match self.write_to(&mut slot, next_row) {
            Ok(()) => Ok(()),
            Err(error) => {
                *slot = None;
                match StoreError::of_io("the mark of the journal", &error) {
                    StoreError::Full { .. } => Ok(()),
                    error => Err(error),
                }
            }
        }
    }

    /// Makes what was noted durable.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.as_ref().map_or(Ok(()), File::sync_all) {
            Ok(()) => Ok(()),
            Err(error) => Err(StoreError::of_io("the mark of the journal", &error)),
        }
    }

    fn write_to(&self, slot: &mut Option<File>, next_row: u64) -> io::Result<()> {
        let file = match slot {
            Some(file) => file,
            None => {
                let mut options = File::options();
                let opened = options.create(true).truncate(false).write(true);
                slot.insert(opened.open(&self.path)?)
            }
        };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&seal(KIND, VERSION, &next_row.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_ends_before_its_mark_is_refused_and_a_damaged_mark_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), None);
        let mark = Mark::of(directory.path());
        mark.write(9).unwrap();
        mark.write(12).unwrap();
        assert_eq!(read(directory.path()), Some(12));
        assert_eq!(compare(directory.path(), 12), Ok(()));
        assert_eq!(compare(directory.path(), 40), Ok(()));
        let refused = compare(directory.path(), 11).unwrap_err();
        assert!(refused.to_string().contains("hermod repair"), "{refused}");
        std::fs::write(directory.path().join(NAME), b"????????????").unwrap();
        assert_eq!(compare(directory.path(), 0), Ok(()));
    }

    #[test]
    fn a_mark_that_cannot_be_written_is_told_and_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let mark = Mark::of(&path);
        assert!(matches!(
            mark.write(3),
            Err(StoreError::Unavailable {
                retryable: true,
                ..
            })
        ));
        std::fs::create_dir(&path).unwrap();
        mark.write(4).unwrap();
        assert_eq!(read(&path), Some(4));
    }
}
