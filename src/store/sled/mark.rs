//! The mark: a few bytes beside sled's files that say how far the journal was durable.
//!
//! Invariant: the mark is written after the rows it speaks of are synced, so a store that ends before its mark has lost what was acknowledged.
//! sled takes a damaged stretch of its log for the torn end of an interrupted write, and forgets all behind it without a word; this tells.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::store::StoreError;
use crate::store::envelope::{KIND_ENGINE_FIRST, open, seal};

const NAME: &str = "mark";
const KIND: u8 = KIND_ENGINE_FIRST + 3;
const VERSION: u8 = 1;

/// The open file.
pub(super) struct Mark(Mutex<Option<File>>);

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
    /// Opens the mark for writing; without one the store works as well, only that this damage is not told.
    pub(super) fn open(directory: &Path) -> Mark {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(NAME));
        Mark(Mutex::new(file.ok()))
    }

    /// Notes that every row before this number is durable. Not synced itself: an older mark is true as well.
    pub(super) fn write(&self, next_row: u64) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = slot.as_mut().map_or(Ok(()), |file| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&seal(KIND, VERSION, &next_row.to_le_bytes()))
        });
        if written.is_err() {
            // A full disk is told of by the journal itself; half a mark does not read and says nothing.
            tracing::debug!("the mark of the journal could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_ends_before_its_mark_is_refused_and_a_damaged_mark_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), None);
        let mark = Mark::open(directory.path());
        mark.write(9);
        mark.write(12);
        assert_eq!(read(directory.path()), Some(12));
        assert_eq!(compare(directory.path(), 12), Ok(()));
        assert_eq!(compare(directory.path(), 40), Ok(()));
        let refused = compare(directory.path(), 11).unwrap_err();
        assert!(refused.to_string().contains("hermod repair"), "{refused}");
        std::fs::write(directory.path().join(NAME), b"????????????").unwrap();
        assert_eq!(compare(directory.path(), 0), Ok(()));
    }
}
