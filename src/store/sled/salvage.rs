//! Salvage: everything that can still be read from a damaged store, and an exact list of what cannot.
//!
//! Invariant: the directory given is changed (sled mends its own files when it opens them), so callers give a copy. Whatever sled answers, by
//! error or by panic, ends the reading of one stretch, not of the rest.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use ::sled::{Db, Tree};

use super::digest::{self, Digests};
use super::disk::{guarded, open_database};
use super::journal::{self, Entry};
use super::mark;
use super::meta::{Folded, Format, META_FOLDED, META_FORMAT};
use super::records::Records;
use crate::store::{Bytes, Partition, SnapshotRow, StoreError, Stored};

const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Most partitions that a store can have.
const PARTITIONS_MAX: u16 = 4_096;
/// Rows read at a time.
const PAGE_ROWS: usize = 1_000;

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
    let database = open_any(&directory.join("sled"), &mut found)?;
    let meta = guarded(|| database.open_tree("meta"))?;
    found.partitions =
        part(&meta, META_FORMAT, Format::decode, &mut found.lost).map(|format| format.partitions);
    let folded = part(&meta, META_FOLDED, Folded::decode, &mut found.lost);
    let (changed, next_row) = journal(&database, folded.as_ref(), &mut found)?;
    if let Err(error) = mark::compare(directory, next_row) {
        found.lost.push(error.to_string());
    }
    let records = Records::open(&database)?;
    let rows = guarded(|| database.open_tree("records"))?;
    let mut give = |row: SnapshotRow| {
        found.rows += 1;
        take(row)
    };
    let mut lost = Vec::new();
    let mut digests = Digests::of_nothing(found.partitions.unwrap_or_default());
    read_all(&rows, &mut lost, |key| {
        if let Some((partition, key)) = split(key)
            && let Ok(difference) = records.difference(partition, key)
        {
            digests.add(difference);
        }
        let Some((partition, key)) = split(key) else {
            return Ok(Some(format!(
                "a record under the impossible key {}",
                hex(key)
            )));
        };
        if changed.contains_key(&(partition, Bytes::from(key))) {
            return Ok(None);
        }
        match records.read(partition, key) {
            Ok(Some(stored)) => give(row(partition, Bytes::from(key), stored)).map(|()| None),
            Ok(None) => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        }
    })?;
    for ((partition, key), entry) in changed {
        if let Some(value) = entry.value {
            let version = entry.version;
            give(row(partition, key, Stored { version, value }))?;
        }
    }
    let strangers = folded.map_or_else(Vec::new, |folded| digests.strangers(&folded));
    if lost.is_empty() && !strangers.is_empty() {
        lost.push(digest::told(&strangers));
    }
    found.lost.extend(lost);
    Ok(found)
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

type Changed = BTreeMap<(u16, Bytes), Entry>;

/// The newest value of every key in the journal's whole groups, and the number behind its last row.
fn journal(
    database: &Db,
    folded: Option<&Folded>,
    found: &mut Salvaged,
) -> Result<(Changed, u64), StoreError> {
    let tree = guarded(|| database.open_tree("journal"))?;
    let first = folded.map_or(1, |folded| folded.first_row);
    let (mut changed, mut next, mut group) = (Changed::new(), first, Vec::new());
    let mut before = None;
    let (mut lost, mut unread) = (Vec::new(), Vec::new());
    read_all(&tree, &mut unread, |key| {
        let Some(number) = key.try_into().ok().map(u64::from_be_bytes) else {
            return Ok(Some(format!(
                "a journal row under the impossible key {}",
                hex(key)
            )));
        };
        if number < first {
            return Ok(None);
        }
        if number > next {
            lost.push(format!("journal rows {next} to {} are missing", number - 1));
            before = None;
            group.clear();
        }
        next = number + 1;
        let row = guarded(|| tree.get(key))?.unwrap_or_default();
        let decoded = journal::decode(number, &row);
        let (place, stretch) = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                before = None;
                group.clear();
                return Ok(Some(error.to_string()));
            }
        };
        if !place.follows(before) {
            lost.push(format!(
                "journal row {number} belongs to a group that is not whole"
            ));
            before = None;
            group.clear();
            return Ok(None);
        }
        before = Some(place);
        group.extend_from_slice(stretch);
        found.journal_rows += 1;
        if place.is_last() {
            let kept = keep_group((number, &group), folded, &mut changed);
            lost.extend(kept.err().map(|error| error.to_string()));
            group.clear();
        }
        Ok(None)
    })?;
    found.lost.extend(lost);
    found.lost.extend(unread);
    Ok((changed, next))
}

/// Keeps what a whole group, by the number of its last row, says of the keys in it.
fn keep_group(
    (number, group): (u64, &[u8]),
    folded: Option<&Folded>,
    changed: &mut Changed,
) -> Result<(), StoreError> {
    for entry in journal::entries(number, group)? {
        keep(changed, folded, entry);
    }
    Ok(())
}

fn keep(changed: &mut Changed, folded: Option<&Folded>, entry: Entry) {
    let is_folded = folded
        .and_then(|folded| folded.sequences.get(usize::from(entry.partition)))
        .is_some_and(|sequence| entry.version <= *sequence);
    let at = (entry.partition, Bytes::clone(&entry.key));
    let is_newer = changed
        .get(&at)
        .is_none_or(|known| known.version < entry.version);
    if !is_folded && is_newer {
        changed.insert(at, entry);
    }
}

/// Calls `take` for every key of a tree that can be read, ascending but for what lies behind a damaged stretch; what `take` answers, and
/// stretches that cannot be read, are noted as lost.
fn read_all(
    tree: &Tree,
    lost: &mut Vec<String>,
    mut take: impl FnMut(&[u8]) -> Result<Option<String>, StoreError>,
) -> Result<(), StoreError> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let (page, ending) = page(tree, last.as_deref());
        for key in &page {
            lost.extend(take(key)?);
        }
        last = page.into_iter().last().or(last);
        let error = match ending {
            Ending::More => continue,
            Ending::End => return Ok(()),
            Ending::Damaged(error) => error,
        };
        let behind = behind_damage(tree, last.as_deref().unwrap_or_default());
        let from = last
            .as_deref()
            .map_or_else(|| "the beginning".to_owned(), hex);
        let Some(behind) = behind else {
            lost.push(format!("every key behind {from}: {error}"));
            return Ok(());
        };
        let (found, lowest) = backwards(tree, last.as_deref(), &behind);
        for key in &found {
            lost.extend(take(key)?);
        }
        lost.push(format!("keys between {from} and {}: {error}", hex(&lowest)));
        last = Some(predecessor(behind));
    }
}

enum Ending {
    More,
    End,
    Damaged(StoreError),
}

fn page(tree: &Tree, last: Option<&[u8]>) -> (Vec<Vec<u8>>, Ending) {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = tree.range::<&[u8], _>((from, Bound::Unbounded));
    let mut keys = Vec::new();
    while keys.len() < PAGE_ROWS {
        match guarded(|| rows.next().transpose()) {
            Ok(Some((key, _))) => keys.push(key.to_vec()),
            Ok(None) => return (keys, Ending::End),
            Err(error) => return (keys, Ending::Damaged(error)),
        }
    }
    (keys, Ending::More)
}

/// The nearest key, of those tried, from which reading works again.
fn behind_damage(tree: &Tree, last: &[u8]) -> Option<Vec<u8>> {
    let longer = (1..=last.len())
        .rev()
        .filter_map(|length| successor(last.get(..length)?));
    let partition = last
        .first_chunk::<2>()
        .map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let partitions = (partition..PARTITIONS_MAX).map(|number| (number + 1).to_be_bytes().to_vec());
    longer.chain(partitions).find(|candidate| {
        let mut rows = tree.range(candidate.as_slice()..);
        matches!(guarded(|| rows.next().transpose()), Ok(Some(_)))
    })
}

/// Keys before a bound down to the damage, and the lowest reached.
fn backwards(tree: &Tree, last: Option<&[u8]>, behind: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = tree.range::<&[u8], _>((from, Bound::Excluded(behind)));
    let (mut keys, mut lowest) = (Vec::new(), behind.to_vec());
    while let Ok(Some((key, _))) = guarded(|| rows.next_back().transpose()) {
        lowest = key.to_vec();
        keys.push(key.to_vec());
    }
    (keys, lowest)
}

/// The next key of the same length.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        if *byte < u8::MAX {
            *byte += 1;
            return Some(next);
        }
        *byte = 0;
    }
    None
}

/// A key that nothing lies between it and the given one, for going on with that one included.
fn predecessor(key: Vec<u8>) -> Vec<u8> {
    let mut before = key;
    match before.pop() {
        None | Some(0) => before,
        Some(byte) => {
            before.push(byte - 1);
            // Longer than any key may be, so nothing sorts in between.
            before.resize(before.len() + crate::store::KEY_BYTES_MAX + 2, u8::MAX);
            before
        }
    }
}

fn split(key: &[u8]) -> Option<(u16, &[u8])> {
    let (partition, key) = key.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*partition), key))
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
