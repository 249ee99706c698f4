//! One run: its file, and what of it is kept in memory to find a key with one read.
//!
//! Invariant: the file is blocks, each behind its length (u32), then the filter, the index and the footer, each sealed; a file whose footer, index
//! or filter does not read, or that is not as long as they say, is refused. Little-endian.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::block::{self, entry_at};
use super::filter::Filter;
use super::index::Index;
use super::{Found, split};
use crate::store::envelope::{self, HEADER_BYTES, KIND_ENGINE_FIRST};
use crate::store::{Bytes, StoreError};

/// Bytes before each block: how long it is.
pub(super) const LENGTH_BYTES: usize = 4;
const KIND_FILTER: u8 = KIND_ENGINE_FIRST + 5;
const KIND_INDEX: u8 = KIND_ENGINE_FIRST + 6;
const KIND_FOOTER: u8 = KIND_ENGINE_FIRST + 7;
const FORMAT: u8 = 1;
const FOOTER_NUMBERS: usize = 5;
const FOOTER_BYTES: usize = HEADER_BYTES + 8 * FOOTER_NUMBERS;

/// An open run.
pub(in crate::store) struct Run {
    number: u64,
    path: PathBuf,
    file: File,
    bytes: u64,
    entries: u64,
    deleted: u64,
    filter: Filter,
    index: Index,
}

/// What stands at the end of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footer {
    pub(super) number: u64,
    pub(super) entries: u64,
    pub(super) deleted: u64,
}

thread_local! {
    /// A block as it lies in the file, and opened; kept, so that reading allocates nothing but what it answers.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new(), Vec::new())) };
}

/// Why a block cannot be had.
#[derive(Debug)]
pub(super) enum BlockError {
    /// The disk did not give it, and may yet: nothing is known to be lost.
    Unread(std::io::Error),
    /// It is not as it was written; what is wrong with it.
    Damaged(String),
}

// === impl Run ===

impl Run {
    /// Opens a finished run.
    pub(in crate::store) fn open(directory: &Path, number: u64) -> Result<Run, StoreError> {
        let path = path_of(directory, number);
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(&path, "the file is missing"),
            _ => io(&path, &error),
        })?;
        let bytes = file.metadata().map_err(|error| io(&path, &error))?.len();
        let tail = |from: u64, length: u64| -> Result<Vec<u8>, StoreError> {
            let length = usize::try_from(length).unwrap_or_default();
            let mut part = vec![0; length];
            file.read_exact_at(&mut part, from)
                .map_err(|error| io(&path, &error))?;
            Ok(part)
        };
        let wrong = |what: &str| damaged(&path, what);
        let Some(footer_at) = bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(wrong("it is too short"));
        };
        let footer = unsealed(&tail(footer_at, FOOTER_BYTES as u64)?, KIND_FOOTER, &path)?;
        let (numbers, _) = footer.as_chunks::<8>();
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|number| u64::from_le_bytes(*number))
            .collect();
        let &[own, entries, deleted, filter_at, index_at] = numbers.as_slice() else {
            return Err(wrong("its footer does not read"));
        };
        if own != number || filter_at > index_at || index_at > footer_at {
            return Err(wrong("its footer is that of another"));
        }
        let filter = unsealed(&tail(filter_at, index_at - filter_at)?, KIND_FILTER, &path)?;
        let index = unsealed(&tail(index_at, footer_at - index_at)?, KIND_INDEX, &path)?;
        let filter =
            Filter::from_bytes(&filter).ok_or_else(|| wrong("its filter does not read"))?;
        let index = Index::from_bytes(&index)
            .filter(|index| index.end() == filter_at)
            .ok_or_else(|| wrong("its index does not read"))?;
        Ok(Run {
            number,
            file,
            bytes,
            entries,
            deleted,
            filter,
            index,
            path,
        })
    }

    /// What stands behind the blocks.
    pub(super) fn tail(footer: Footer, filter: &Filter, index: &Index) -> Vec<u8> {
        let filter_at = index.end();
        let mut tail = envelope::seal(KIND_FILTER, FORMAT, &filter.to_bytes());
        let index_at = filter_at + tail.len() as u64;
        tail.extend_from_slice(&envelope::seal(KIND_INDEX, FORMAT, &index.to_bytes()));
        let numbers = [
            footer.number,
            footer.entries,
            footer.deleted,
            filter_at,
            index_at,
        ];
        let numbers: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        tail.extend_from_slice(&envelope::seal(KIND_FOOTER, FORMAT, &numbers));
        tail
    }

    /// What it is named by; a larger one is younger.
    pub(in crate::store) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the file.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries in it.
    pub(in crate::store) fn entries(&self) -> u64 {
        self.entries
    }

    /// Entries of deleted keys in it.
    pub(in crate::store) fn deleted(&self) -> u64 {
        self.deleted
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Removes the file; whoever holds the run still reads it.
    pub(in crate::store) fn remove(&self) -> Result<(), StoreError> {
        std::fs::remove_file(&self.path).map_err(|error| io(&self.path, &error))
    }

    /// What the run says of a full key; nothing if it does not know it.
    pub(super) fn find(&self, full: &[u8], hash: u64) -> Result<Option<Found>, StoreError> {
        if self.filter.excludes(hash) {
            return Ok(None);
        }
        let block = self.index.block_of(full);
        BUFFERS.with_borrow_mut(|(raw, plain, key)| {
            self.read_block(block, raw, plain)
                .map_err(|error| match error {
                    BlockError::Unread(error) => unread(&self.path, &error),
                    BlockError::Damaged(what) => unreadable(full, self.number, &what),
                })?;
            key.clear();
            let mut at = 0;
            while at < plain.len() {
                let entry = entry_at(plain, at, key)
                    .ok_or_else(|| unreadable(full, self.number, "its block does not read"))?;
                if key.as_slice() >= full {
                    let value = entry.value.and_then(|(from, to)| plain.get(from..to));
                    let found = (entry.version, value.map(Bytes::from));
                    return Ok((key.as_slice() == full).then_some(found));
                }
                at = entry.next;
            }
            Ok(None)
        })
    }

    /// Reads and opens a block.
    pub(super) fn read_block(
        &self,
        block: usize,
        raw: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<(), BlockError> {
        let Some((from, bytes)) = self.index.place(block) else {
            plain.clear();
            return Ok(());
        };
        raw.resize(bytes, 0);
        self.file.read_exact_at(raw, from)?;
        let sealed = raw.get(LENGTH_BYTES..).unwrap_or_default();
        block::unseal(sealed, plain).map_err(BlockError::Damaged)
    }

    /// What cannot be had of a block, told.
    pub(super) fn lost_block(&self, block: usize, error: BlockError) -> StoreError {
        let what = match error {
            BlockError::Unread(error) => return unread(&self.path, &error),
            BlockError::Damaged(what) => what,
        };
        let hex = |separator: &[u8]| match split(separator) {
            None => "the beginning".to_owned(),
            Some((partition, key)) => {
                let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("partition {partition} key {key}")
            }
        };
        let from = hex(self.index.separator(block));
        let to = if block + 1 < self.index.len() {
            hex(self.index.separator(block + 1))
        } else {
            "the end".to_owned()
        };
        damaged(
            &self.path,
            &format!("what it holds from {from} to {to} does not read ({what})"),
        )
    }
}

impl From<std::io::Error> for BlockError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Damaged("its end is missing".to_owned()),
            _ => Self::Unread(error),
        }
    }
}

fn unreadable(full: &[u8], number: u64, what: &str) -> StoreError {
    let (partition, key) = split(full).unwrap_or_default();
    StoreError::record(
        partition,
        key,
        format!("its block in run {number} is damaged: {what}"),
    )
}

/// The payload of a sealed part of a run.
fn unsealed(bytes: &[u8], kind: u8, path: &Path) -> Result<Vec<u8>, StoreError> {
    let envelope = envelope::open(bytes).map_err(|corrupt| damaged(path, &corrupt.to_string()))?;
    if envelope.kind == kind && envelope.version > FORMAT {
        return Err(StoreError::NewerFormat {
            found: envelope.version.into(),
            supported: FORMAT.into(),
        });
    }
    if envelope.kind != kind {
        return Err(damaged(
            path,
            &format!("a part of it is of kind {}", envelope.kind),
        ));
    }
    Ok(envelope.payload.to_vec())
}

/// The file of a run.
pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:012}.run"))
}

/// The number of a file that is named as a run is.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let is_run = path.extension().is_some_and(|extension| extension == "run");
    let stem = path.file_stem()?.to_str()?;
    stem.parse().ok().filter(|_| is_run)
}

/// A file that the disk does not give, for now or for good.
fn unread(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::passing(format!(
        "{} could not be read: {error}; look at the disk and try again. Where it stays so, restore the last backup, or take what is left with hermod repair",
        path.display()
    ))
}

/// A file that the operating system refuses.
pub(super) fn io(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::of_io(&format!("{} cannot be used", path.display()), error)
}

/// A file that is not as it was written.
pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Corrupt {
        what: format!(
            "{what}; keep a copy of the directory, then restore the last backup, or take what is left with hermod repair"
        ),
        place: path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::full_key;
    use super::super::writer::RunWriter;
    use super::*;

    #[test]
    fn a_disk_that_does_not_give_a_block_is_told_from_a_block_that_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = RunWriter::create(directory.path(), 1, 1).unwrap();
        let full = full_key(3, b"key");
        writer.push(&full, 7, Some(b"value")).unwrap();
        let mut run = writer.finish().unwrap();
        let hash = super::super::filter::hash(&full);
        let given = run.find(&full, hash).unwrap().unwrap();
        assert_eq!(given, (7, Some(Bytes::from(b"value".as_slice()))));
        // Opened for writing alone, the system refuses to read it.
        run.file = File::options().append(true).open(&run.path).unwrap();
        let Err(StoreError::Unavailable { reason, retryable }) = run.find(&full, hash) else {
            panic!("it was read, or is told to be damaged");
        };
        assert!(retryable && reason.contains("hermod repair"), "{reason}");
        File::options()
            .write(true)
            .open(&run.path)
            .unwrap()
            .set_len(3)
            .unwrap();
        run.file = File::open(&run.path).unwrap();
        let cut = run.find(&full, hash);
        assert!(matches!(cut, Err(StoreError::Corrupt { .. })), "{cut:?}");
    }
}
