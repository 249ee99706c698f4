//! Salvage: everything that can still be read from a damaged store, and an exact list of what cannot.
//!
//! Invariant: the directory given is changed (sled mends its own files when it opens them), so callers give a copy. Whatever sled answers, by
//! error or by panic, ends the reading of one stretch, not of the rest.

mod journal;
mod stretches;

use std::path::Path;
use std::sync::Arc;

use ::sled::{Db, Tree};

use self::journal::Changed;
use self::stretches::read_all;
use super::digest::{self, Digests};
use super::disk::open_database;
use super::earlier::{self, Earlier};
use super::guarded::guarded;
use super::mark;
use super::meta::{EarlierFold, Folded, Format, META_FOLDED, META_FORMAT};
use super::opening::RUNS;
use super::renewal;
use crate::store::runs::{self, Merged, Run, Runs};
use crate::store::{Bytes, Partition, SnapshotRow, StoreError, Stored};

const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What was found, besides the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Partitions of the store; `None` when that is among what was lost.
    pub partitions: Option<u16>,
    /// Rows given.
    pub rows: u64,
    /// Journal rows read.
    pub journal_rows: u64,
    /// What was lost, each with its place.
    pub lost: Vec<String>,
}

/// Reads a copy of a damaged store, giving every row that can be read.
///
/// # Errors
/// Not even sled's own files open, or `take` fails.
pub fn salvage(
    directory: &Path,
    mut take: impl FnMut(SnapshotRow) -> Result<(), StoreError>,
) -> Result<Salvaged, StoreError> {
    let mut found = Salvaged::default();
    renewal::complete(directory)?;
    let database = open_any(&directory.join("sled"), &mut found)?;
    let meta = guarded(|| database.open_tree("meta"))?;
    found.partitions =
        part(&meta, META_FORMAT, Format::decode, &mut found.lost).map(|format| format.partitions);
    let folded = part(&meta, META_FOLDED, Folded::decode, &mut found.lost);
    let told = journal::told(directory, &database, folded.as_ref())?;
    found.journal_rows = told.rows;
    found.lost.extend(told.lost);
    if let Err(error) = mark::compare(directory, told.next) {
        found.lost.push(error.to_string());
    }
    let mut changed = told.changed;
    let mut give = |row: SnapshotRow| {
        found.rows += 1;
        take(row)
    };
    let mut lost = Vec::new();
    let is_earlier = folded
        .as_ref()
        .is_none_or(|folded| folded.earlier.is_some());
    if is_earlier && earlier::is_there(&database) {
        let fold = folded.as_ref().and_then(|folded| folded.earlier.as_ref());
        let partitions = found.partitions.unwrap_or_default();
        lost = of_rows(&database, (partitions, fold), &changed, &mut give)?;
    }
    let named = folded.as_ref().map(|folded| folded.runs.as_slice());
    of_runs(
        &directory.join(RUNS),
        named,
        &mut changed,
        &mut lost,
        &mut give,
    )?;
    for ((partition, key), entry) in changed {
        if let Some(value) = entry.value {
            let version = entry.version;
            give(row(partition, key, Stored { version, value }))?;
        }
    }
    found.lost.extend(lost);
    Ok(found)
}

type Give<'a> = &'a mut dyn FnMut(SnapshotRow) -> Result<(), StoreError>;

/// Gives what can be read of a store from before there were runs; what was lost of it.
fn of_rows(
    database: &Db,
    (partitions, fold): (u16, Option<&EarlierFold>),
    changed: &Changed,
    give: Give<'_>,
) -> Result<Vec<String>, StoreError> {
    let earlier = Earlier::open(database)?;
    let (mut lost, mut digests) = (Vec::new(), Digests::of_nothing(partitions));
    read_all(earlier.rows(), &mut lost, |full| {
        let Some((partition, key)) = runs::split(full) else {
            return Ok(Some(format!(
                "a record under the impossible key {}",
                hex(full)
            )));
        };
        if let Ok(difference) = earlier.difference(partition, key) {
            digests.add(difference);
        }
        if changed.contains_key(&(partition, Bytes::from(key))) {
            return Ok(None);
        }
        match earlier.read(partition, key) {
            Ok(Some(stored)) => give(row(partition, Bytes::from(key), stored)).map(|()| None),
            Ok(None) => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        }
    })?;
    let strangers = fold.map_or_else(Vec::new, |fold| digests.strangers(fold));
    if lost.is_empty() && !strangers.is_empty() {
        lost.push(digest::told(&strangers));
    }
    Ok(lost)
}

/// Gives what can be read of the runs; all there are, where it cannot be read which count.
fn of_runs(
    directory: &Path,
    named: Option<&[u64]>,
    changed: &mut Changed,
    lost: &mut Vec<String>,
    give: Give<'_>,
) -> Result<(), StoreError> {
    let present = match runs::present(directory) {
        Ok(present) => present,
        // A store from before there were runs has no such directory.
        Err(_) if named.is_none_or(<[_]>::is_empty) => return Ok(()),
        Err(error) => return Err(error),
    };
    let numbers = named.map_or_else(|| present.keys().copied().collect(), <[_]>::to_vec);
    let mut list = Vec::new();
    for number in numbers {
        match Run::open(directory, number) {
            Ok(run) => list.push(Arc::new(run)),
            Err(error) => match present.get(&number) {
                Some(path) => list.extend(mended(directory, path, lost)?),
                None => lost.push(error.to_string()),
            },
        }
    }
    let mut rows = Merged::of(&Arc::new(list), Vec::new(), None);
    loop {
        match rows.advance() {
            Ok(false) => return Ok(()),
            Err(error) => lost.push(format!(
                "{error}; of the records there, older values may have been taken"
            )),
            Ok(true) => {
                let Some((partition, key)) = runs::split(rows.key()) else {
                    continue;
                };
                let (key, version) = (Bytes::from(key), rows.version());
                let place = (partition, Bytes::clone(&key));
                // A fold reads while commits go on, so a run may be ahead of what can be read of the journal.
                if changed
                    .get(&place)
                    .is_some_and(|entry| entry.version < version)
                {
                    changed.remove(&place);
                }
                if let Some(value) = rows.value().filter(|_| !changed.contains_key(&place)) {
                    let value = Bytes::from(value);
                    give(row(partition, key, Stored { version, value }))?;
                }
            }
        }
    }
}

/// A run that does not open, as a new one of what can be read of it.
fn mended(
    directory: &Path,
    path: &Path,
    lost: &mut Vec<String>,
) -> Result<Option<Arc<Run>>, StoreError> {
    let rest = runs::rest(path);
    lost.extend(rest.lost);
    if rest.entries.is_empty() {
        return Ok(None);
    }
    let mut writer = Runs::open(directory, &[])?.writer(rest.entries.len() as u64)?;
    for (full, version, value) in &rest.entries {
        writer.push(full, *version, value.as_deref())?;
    }
    Ok(Some(Arc::new(writer.finish()?)))
}

/// Opens sled's files; if they do not, once more without its snapshots, which it makes again from its log.
fn open_any(path: &Path, found: &mut Salvaged) -> Result<Db, StoreError> {
    let first = match open_database(path, CACHE_BYTES) {
        Ok(database) => return Ok(database),
        Err(error) => error,
    };
    let entries = std::fs::read_dir(path).into_iter().flatten();
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            // What cannot be removed leaves the next opening as it was.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let database = open_database(path, CACHE_BYTES)?;
    found.lost.push(format!(
        "the files opened only without their snapshot ({first}): older values of some records may have come back"
    ));
    Ok(database)
}

/// One of the store's own rows.
fn part<T>(
    meta: &Tree,
    name: &str,
    decode: impl Fn(&[u8]) -> Result<T, StoreError>,
    lost: &mut Vec<String>,
) -> Option<T> {
    let read = guarded(|| meta.get(name)).and_then(|row| row.map(|row| decode(&row)).transpose());
    match read {
        Ok(Some(found)) => Some(found),
        Ok(None) => {
            lost.push(format!("the store's own row {name:?} is missing"));
            None
        }
        Err(error) => {
            lost.push(error.to_string());
            None
        }
    }
}

fn row(partition: u16, key: Bytes, stored: Stored) -> SnapshotRow {
    SnapshotRow {
        partition: Partition(partition),
        key,
        stored,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::journal::Entry;
    use super::*;

    #[test]
    fn of_a_run_and_the_journal_the_younger_is_taken_whatever_it_says() {
        let directory = TempDir::new().unwrap();
        let runs = Runs::open(directory.path(), &[]).unwrap();
        let mut writer = runs.writer(3).unwrap();
        let in_run: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", Some(b"run")), (b"b", None), (b"c", Some(b"run"))];
        for (key, value) in in_run {
            writer.push(&runs::full_key(0, key), 10, value).unwrap();
        }
        writer.finish().unwrap();
        let of_journal = |(key, version): (&str, u64)| {
            let (key, value) = (Bytes::from(key.as_bytes()), Bytes::from(b"row".as_slice()));
            let entry = Entry {
                partition: 0,
                version,
                key: Bytes::clone(&key),
                value: Some(value),
            };
            ((0, key), entry)
        };
        let rows = [("a", 9), ("b", 9), ("c", 11)];
        let mut changed: Changed = rows.into_iter().map(of_journal).collect();
        let (mut lost, mut given) = (Vec::new(), Vec::new());
        let mut give = |row: SnapshotRow| {
            given.push((row.key.to_vec(), row.stored.version));
            Ok(())
        };
        of_runs(directory.path(), None, &mut changed, &mut lost, &mut give).unwrap();
        assert_eq!(given, [(b"a".to_vec(), 10)]);
        let left: Vec<u64> = changed.values().map(|entry| entry.version).collect();
        assert_eq!(
            (left, lost),
            (vec![11], Vec::new()),
            "of c the journal knows more"
        );
    }
}
