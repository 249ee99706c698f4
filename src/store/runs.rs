//! Runs: immutable files of records in ascending order of keys, and the list of them that is the whole.
//!
//! Invariant: a file never changes once it is finished, and everything in it is under a checksum, so that what was damaged since is told and never
//! answered. Of several values of a key the one in the younger run counts; a deleted key is an entry of its own until the oldest run is merged.
//! Which runs there are is for the engine to keep. The structure is the log-structured merge tree of O'Neil et al. (1996).

mod block;
mod cursor;
mod filter;
mod index;
mod merged;
mod plan;
mod rest;
mod run;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

pub(super) use self::merged::Merged;
pub(super) use self::rest::rest;
pub(super) use self::run::Run;
pub(super) use self::writer::RunWriter;
use super::{Bytes, KEY_BYTES_MAX, StoreError, Stored, Version};

/// The runs of a moment, oldest first.
pub(super) type List = Arc<Vec<Arc<Run>>>;

/// The runs of a directory. Reading holds on to the list of its moment; files that left the list stay readable to whoever still has it.
pub(super) struct Runs {
    directory: PathBuf,
    /// Nothing once closed.
    list: ArcSwapOption<Vec<Arc<Run>>>,
    next_number: AtomicU64,
}

// === impl Runs ===

impl Runs {
    /// Opens the runs of these numbers, oldest first; the directory is created if absent.
    pub(super) fn open(directory: &Path, numbers: &[u64]) -> Result<Runs, StoreError> {
        create(directory).map_err(|error| run::io(directory, &error))?;
        let list = numbers
            .iter()
            .map(|number| Run::open(directory, *number).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let last = present(directory)?
            .into_keys()
            .chain(numbers.iter().copied());
        Ok(Runs {
            directory: directory.to_owned(),
            next_number: AtomicU64::new(last.max().map_or(1, |last| last + 1)),
            list: ArcSwapOption::from_pointee(list),
        })
    }

    /// Removes files that no list names: what an interrupted writing left.
    pub(super) fn remove_strays(&self) -> Result<(), StoreError> {
        let list = self.list()?;
        for (number, path) in present(&self.directory)? {
            if list.iter().all(|run| run.number() != number) {
                fs::remove_file(&path).map_err(|error| run::io(&path, &error))?;
            }
        }
        Ok(())
    }

    /// The runs as they are now.
    pub(super) fn list(&self) -> Result<List, StoreError> {
        self.list
            .load_full()
            .ok_or_else(|| StoreError::lasting("it was closed"))
    }

    /// Another list counts from now on.
    pub(super) fn replace(&self, list: Vec<Arc<Run>>) {
        self.list.store(Some(Arc::new(list)));
    }

    /// Answers nothing any more.
    pub(super) fn close(&self) {
        self.list.store(None);
    }

    /// A new run, to be given at most so many entries.
    pub(super) fn writer(&self, entries_max: u64) -> Result<RunWriter, StoreError> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        RunWriter::create(&self.directory, number, entries_max)
    }

    /// The value of a key.
    pub(super) fn read(&self, partition: u16, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        let guard = self.list.load();
        let Some(list) = guard.as_ref() else {
            return Err(StoreError::lasting("it was closed"));
        };
        let full = full_key(partition, key);
        let hash = filter::hash(&full);
        for run in list.iter().rev() {
            if let Some((version, value)) = run.find(&full, hash)? {
                return Ok(value.map(|value| Stored { version, value }));
            }
        }
        Ok(None)
    }

    /// Bytes of the files.
    pub(super) fn bytes(&self) -> u64 {
        self.list()
            .map_or(0, |list| list.iter().map(|run| run.bytes()).sum())
    }

    /// Keys there are, about: a key that is in several runs counts several times until they are merged.
    pub(super) fn keys(&self) -> u64 {
        self.list().map_or(0, |list| {
            let sum = |of: fn(&Run) -> u64| list.iter().map(|run| of(run)).sum::<u64>();
            sum(Run::entries).saturating_sub(2 * sum(Run::deleted))
        })
    }

    /// Which of the runs, oldest first, are to be merged now; the first and one behind the last.
    pub(super) fn to_merge(list: &[Arc<Run>]) -> Option<(usize, usize)> {
        let sizes: Vec<u64> = list.iter().map(|run| run.bytes()).collect();
        plan::to_merge(&sizes)
    }
}

/// Values of a partition of these runs in ascending order of keys, from a bound on; deleted ones are left out. A stretch that cannot be read is
/// one error, and reading goes on behind it.
pub(super) fn values(
    list: &List,
    partition: u16,
    from: std::ops::Bound<&[u8]>,
) -> impl Iterator<Item = Result<(Vec<u8>, Stored), StoreError>> + use<> {
    let mut rows = within(list, partition, from);
    std::iter::from_fn(move || {
        loop {
            match rows.advance() {
                Ok(false) => return None,
                Ok(true) => {}
                Err(error) => return Some(Err(error)),
            }
            if let Some(value) = rows.value() {
                let stored = Stored {
                    version: rows.version(),
                    value: Bytes::from(value),
                };
                return Some(Ok((
                    rows.key().get(2..).unwrap_or_default().to_vec(),
                    stored,
                )));
            }
        }
    })
}

/// Keys of a partition of these runs that begin so, in ascending order.
pub(super) fn keys_under(
    list: &List,
    partition: u16,
    prefix: &[u8],
) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<> {
    let prefix = prefix.to_vec();
    let rows = values(list, partition, std::ops::Bound::Included(&prefix));
    rows.map(|row| row.map(|(key, _)| key))
        .take_while(move |key| key.as_ref().map_or(true, |key| key.starts_with(&prefix)))
}

fn within(list: &List, partition: u16, from: std::ops::Bound<&[u8]>) -> Merged {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let from = match from {
        Unbounded => full_key(partition, &[]),
        Included(key) => full_key(partition, key),
        Excluded(key) => {
            // The key right behind.
            let mut next = full_key(partition, key);
            next.push(0);
            next
        }
    };
    // A longer key of 0xFF alone than any may be lies behind every key of the partition.
    let to = full_key(partition, &[0xFF; KEY_BYTES_MAX + 1]);
    Merged::of(list, from, Some(to))
}

/// Creates a directory whose name survives a power cut, unless it is there.
fn create(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    let parent = directory.parent().unwrap_or(directory);
    fs::File::open(parent)?.sync_all()
}

/// A key with its partition before it, as it stands in a run.
pub(super) fn full_key(partition: u16, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + key.len());
    bytes.extend_from_slice(&partition.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// A full key taken apart.
pub(super) fn split(full: &[u8]) -> Option<(u16, &[u8])> {
    let (partition, key) = full.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*partition), key))
}

/// The files of a directory that are named as runs are, by number.
pub(super) fn present(directory: &Path) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|error| run::io(directory, &error))? {
        let path = entry.map_err(|error| run::io(directory, &error))?.path();
        if let Some(number) = run::number_of(&path) {
            found.insert(number, path);
        }
    }
    Ok(found)
}

/// One entry as it is read: its version, and nothing for a deleted key.
type Found = (Version, Option<Bytes>);

#[cfg(test)]
mod tests;
