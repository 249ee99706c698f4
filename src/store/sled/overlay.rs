//! One partition's values that changed since they were last folded into the records on disk.
//!
//! Invariant: a key in the overlay is newer than on disk; an entry leaves only when the very version folded is durable among the records.

use super::changed::Changed;
use super::clean::Clean;
use super::journal::Entry;
use super::presence::Presence;
use crate::store::{Bytes, Stored};

/// Memory of an entry beside its key and value, bytes: two counted allocations and its share of the tree.
const ENTRY_OVERHEAD_BYTES: usize = 112;

/// A value not yet among the records; `None` for a deleted key.
#[derive(Debug, Clone)]
pub(super) struct Dirty {
    pub(super) version: u64,
    pub(super) value: Option<Bytes>,
}

impl Dirty {
    /// As a reader sees it.
    pub(super) fn stored(&self) -> Option<Stored> {
        self.value.clone().map(|value| Stored {
            version: self.version,
            value,
        })
    }

    fn entry(&self, partition: u16, key: &Bytes) -> Entry {
        Entry {
            partition,
            version: self.version,
            key: Bytes::clone(key),
            value: self.value.clone(),
        }
    }
}

/// The overlay of one partition and its commit sequence.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Sequence of the last commit.
    pub(super) sequence: u64,
    /// Sequence up to which the records on disk hold everything.
    pub(super) folded_sequence: u64,
    /// The values.
    pub(super) dirty: Changed,
    /// Values that are as they are on disk, and perhaps some that were before a change that is not folded yet: those are behind `dirty`.
    pub(super) clean: Clean,
    /// What of the keys that come and go is among the records.
    pub(super) presence: Presence,
    /// Counts what left because it had been folded: a value read from disk before that may be an older one.
    pub(super) dropped: u64,
}

impl Overlay {
    /// Sets a value; the change of memory held, in bytes.
    pub(super) fn set(&mut self, key: Bytes, dirty: Dirty) -> isize {
        let key_bytes = key.len();
        let bytes = footprint(key_bytes, dirty.value.as_ref());
        let old = self
            .dirty
            .insert(key, dirty)
            .map_or(0, |old| footprint(key_bytes, old.value.as_ref()));
        bytes - old
    }

    /// The value of a key or that there is none, if it is known without the disk.
    pub(super) fn find(&mut self, key: &[u8]) -> Option<Option<Stored>> {
        match self.dirty.get(key) {
            Some(dirty) => Some(dirty.stored()),
            None if self.presence.excludes(key) => Some(None),
            None => self.clean.get(key),
        }
    }

    /// Remembers what was read from disk when so many had left, unless it may have changed since.
    pub(super) fn remember(&mut self, key: &[u8], dropped: u64, found: &Option<Stored>) {
        if self.dropped == dropped && self.dirty.get(key).is_none() {
            self.clean.put(Bytes::from(key), found.clone());
        }
    }

    /// Takes a journal entry unless what is here or on disk is newer; the change of memory held, in bytes.
    pub(super) fn replay(&mut self, entry: Entry) -> isize {
        self.sequence = self.sequence.max(entry.version);
        let newer_here = self
            .dirty
            .get(&entry.key)
            .is_some_and(|dirty| dirty.version >= entry.version);
        if newer_here || entry.version <= self.folded_sequence {
            return 0;
        }
        self.set(
            entry.key,
            Dirty {
                version: entry.version,
                value: entry.value,
            },
        )
    }

    /// The values changed after a sequence, as journal entries.
    pub(super) fn entries_after(&self, partition: u16, sequence: u64) -> Vec<Entry> {
        let changed = self
            .dirty
            .iter()
            .filter(|(_, dirty)| dirty.version > sequence);
        changed
            .map(|(key, dirty)| dirty.entry(partition, key))
            .collect()
    }

    /// The changed value of a key, as a journal entry.
    pub(super) fn entry(&self, partition: u16, key: &Bytes) -> Option<Entry> {
        let dirty = self.dirty.get(key)?;
        Some(dirty.entry(partition, key))
    }

    /// Drops a value folded by a pass that holds everything up to a commit, if it did not change since; the change of memory held, in bytes.
    ///
    /// A value of a later commit stays until the next pass, though it is among the records: should the journal lose what it had, it is written from here.
    pub(super) fn drop_folded(&mut self, entry: &Entry, sequence: u64) -> isize {
        // Changed since or not: it is among the records now, and a deletion that came meanwhile has to be folded as well.
        self.presence.note(&entry.key, entry.value.is_some());
        let Some((key, dirty)) = self.dirty.remove(&entry.key) else {
            return 0;
        };
        if dirty.version != entry.version || dirty.version > sequence {
            // It waits for the next pass.
            self.dirty.insert(key, dirty);
            return 0;
        }
        let freed = footprint(key.len(), dirty.value.as_ref());
        self.dropped += 1;
        // Either way nothing from before the change stays. Keys that come and go are not asked for again before they go.
        if self.presence.covers(&key) {
            self.clean.remove(&key);
        } else {
            self.clean.put(key, dirty.stored());
        }
        -freed
    }
}

fn footprint(key_bytes: usize, value: Option<&Bytes>) -> isize {
    let bytes = ENTRY_OVERHEAD_BYTES + key_bytes + value.map_or(0, |value| value.len());
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(version: u64) -> Dirty {
        Dirty {
            version,
            value: Some(Bytes::from([1].as_slice())),
        }
    }

    fn folded(version: u64) -> Entry {
        Entry {
            partition: 0,
            version,
            key: Bytes::from(b"k".as_slice()),
            value: value(version).value,
        }
    }

    #[test]
    fn what_was_read_before_a_fold_is_not_taken_for_what_is_on_disk_after_it() {
        let mut overlay = Overlay {
            clean: Clean::new(1 << 20),
            ..Overlay::default()
        };
        let (key, read) = (Bytes::from(b"k".as_slice()), value(1).stored());
        let before = overlay.dropped;
        overlay.set(key.clone(), value(2));
        overlay.remember(&key, before, &read);
        assert_eq!(overlay.find(&key), Some(value(2).stored()), "it changed");
        overlay.drop_folded(&folded(2), 2);
        overlay.remember(&key, before, &read);
        assert_eq!(overlay.clean.get(&key), Some(value(2).stored()));
        overlay.remember(&key, overlay.dropped, &value(2).stored());
        overlay.set(key.clone(), value(3));
        assert_eq!(overlay.find(&key), Some(value(3).stored()), "and again");
    }

    #[test]
    fn nothing_from_before_a_change_is_left_when_the_change_has_been_folded() {
        let large = || Dirty {
            version: 2,
            value: Some(Bytes::from(vec![7; 1 << 20])),
        };
        let (key, read) = (Bytes::from(b"k".as_slice()), value(1).stored());
        for (presence, changed) in [
            (Presence::of(b"k"), value(2)),
            (Presence::default(), large()),
        ] {
            let mut overlay = Overlay {
                clean: Clean::new(1 << 10),
                presence,
                ..Overlay::default()
            };
            overlay.presence.note(&key, true);
            overlay.remember(&key, overlay.dropped, &read);
            assert_eq!(overlay.find(&key), Some(read.clone()));
            let value = changed.value.clone();
            overlay.set(Bytes::clone(&key), changed);
            overlay.drop_folded(&Entry { value, ..folded(2) }, 2);
            assert_eq!(overlay.find(&key), None, "it is looked for on disk");
        }
    }

    #[test]
    fn a_value_that_came_while_a_pass_was_reading_is_folded_once_more_before_it_leaves() {
        let mut overlay = Overlay::default();
        let key = Bytes::from(b"k".as_slice());
        overlay.set(Bytes::clone(&key), value(2));
        assert_eq!(overlay.dirty.take_waiting(), [Bytes::clone(&key)]);
        assert_eq!(
            overlay.drop_folded(&folded(2), 1),
            0,
            "the pass holds commit 1"
        );
        assert_eq!(overlay.find(&key), Some(value(2).stored()));
        assert_eq!(overlay.dirty.take_waiting(), [Bytes::clone(&key)]);
        assert!(overlay.drop_folded(&folded(2), 2) < 0);
        assert!(overlay.dirty.take_waiting().is_empty());
    }

    #[test]
    fn a_key_that_was_deleted_while_its_value_was_folded_is_known_to_be_on_disk() {
        let mut overlay = Overlay {
            presence: Presence::of(b"k"),
            ..Overlay::default()
        };
        let key = Bytes::from(b"k".as_slice());
        let gone = Dirty {
            version: 2,
            value: None,
        };
        overlay.set(Bytes::clone(&key), value(1));
        overlay.set(Bytes::clone(&key), gone);
        assert_eq!(overlay.drop_folded(&folded(1), 2), 0, "it has changed");
        assert!(!overlay.presence.excludes(&key));
        let deletion = Entry {
            value: None,
            ..folded(2)
        };
        assert!(overlay.drop_folded(&deletion, 2) < 0);
        assert!(overlay.presence.excludes(&key));
    }
}
