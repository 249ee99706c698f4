//! What can still be read of a journal: the newest value of every key in its whole groups.
//!
//! Invariant: a group of which a row does not read says nothing. What does not read at the very end is not told of here: it was never acknowledged,
//! or else the mark says so.

use std::collections::BTreeMap;
use std::path::Path;

use ::sled::Db;

use super::hex;
use super::stretches::read_all;
use crate::store::sled::guarded::guarded;
use crate::store::sled::journal::{self, Entry, Place};
use crate::store::sled::meta::Folded;
use crate::store::sled::segments::{Frame, Frames, JOURNAL, paths};
use crate::store::{Bytes, StoreError};

/// Values by partition and key.
pub(super) type Changed = BTreeMap<(u16, Bytes), Entry>;

/// What the rows said so far.
pub(super) struct Told<'a> {
    folded: Option<&'a Folded>,
    first: u64,
    /// The number behind the last row.
    pub(super) next: u64,
    before: Option<Place>,
    group: Vec<u8>,
    /// The newest values.
    pub(super) changed: Changed,
    /// Rows read.
    pub(super) rows: u64,
    /// What was lost.
    pub(super) lost: Vec<String>,
}

// === impl Told ===

impl<'a> Told<'a> {
    fn nothing(folded: Option<&'a Folded>) -> Self {
        let first = folded.map_or(1, |folded| folded.first_row);
        Told {
            folded,
            first,
            next: first,
            before: None,
            group: Vec::new(),
            changed: Changed::new(),
            rows: 0,
            lost: Vec::new(),
        }
    }

    /// Takes the next row.
    fn take(&mut self, number: u64, row: &[u8]) {
        if number < self.first {
            return;
        }
        if number > self.next {
            let (first, last) = (self.next, number - 1);
            self.give_up_group(format!("journal rows {first} to {last} are missing"));
        }
        self.next = number + 1;
        let (place, stretch) = match journal::decode(number, row) {
            Ok(decoded) => decoded,
            Err(error) => return self.give_up_group(error.to_string()),
        };
        if !place.follows(self.before) {
            return self.give_up_group(format!(
                "journal row {number} belongs to a group that is not whole"
            ));
        }
        self.before = Some(place);
        self.group.extend_from_slice(stretch);
        self.rows += 1;
        if place.is_last() {
            let kept = self.keep_group(number);
            self.lost.extend(kept.err().map(|error| error.to_string()));
            self.group.clear();
        }
    }

    fn give_up_group(&mut self, why: String) {
        self.lost.push(why);
        self.before = None;
        self.group.clear();
    }

    /// Keeps what a whole group, by the number of its last row, says of the keys in it.
    fn keep_group(&mut self, number: u64) -> Result<(), StoreError> {
        for entry in journal::entries(number, &self.group)? {
            self.keep(entry);
        }
        Ok(())
    }

    fn keep(&mut self, entry: Entry) {
        let is_folded = self
            .folded
            .and_then(|folded| folded.sequences.get(usize::from(entry.partition)))
            .is_some_and(|sequence| entry.version <= *sequence);
        let at = (entry.partition, Bytes::clone(&entry.key));
        let is_newer = self
            .changed
            .get(&at)
            .is_none_or(|known| known.version < entry.version);
        if !is_folded && is_newer {
            self.changed.insert(at, entry);
        }
    }

    /// Takes the rows from when sled had the journal.
    fn take_earlier(&mut self, database: &Db) -> Result<(), StoreError> {
        let tree = guarded(|| database.open_tree("journal"))?;
        let mut unread = Vec::new();
        read_all(&tree, &mut unread, |key| {
            let Some(number) = key.try_into().ok().map(u64::from_be_bytes) else {
                return Ok(Some(format!(
                    "a journal row under the impossible key {}",
                    hex(key)
                )));
            };
            let row = guarded(|| tree.get(key))?.unwrap_or_default();
            self.take(number, &row);
            Ok(None)
        })?;
        self.lost.extend(unread);
        Ok(())
    }

    /// Takes the rows of the files.
    fn take_files(&mut self, directory: &Path) -> Result<(), StoreError> {
        let mut unread = Vec::new();
        for path in paths(directory)? {
            let mut frames = Frames::open(&path)?;
            loop {
                match frames.next() {
                    Ok(None) => break,
                    Ok(Some(Frame::Row(row, ..))) => {
                        self.lost.append(&mut unread);
                        self.take(row.number, &row.bytes);
                    }
                    Ok(Some(Frame::Unreadable(bytes))) => {
                        unread.push(format!("{bytes} bytes of {}", path.display()));
                    }
                    Err(error) => {
                        self.lost.push(format!("{}: {error}", path.display()));
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What can be read of the journal of a store.
pub(super) fn told<'a>(
    store: &Path,
    database: &Db,
    folded: Option<&'a Folded>,
) -> Result<Told<'a>, StoreError> {
    let mut told = Told::nothing(folded);
    told.take_earlier(database)?;
    let directory = store.join(JOURNAL);
    // A store from when sled had the journal has no such directory.
    if directory.exists() {
        told.take_files(&directory)?;
    }
    Ok(told)
}
