//! Values of one partition as they are among the records, so that what is asked for often is not looked for on disk.
//!
//! Invariant: a value here is the one on disk, or the one before a change that the overlay still has, which is asked first; it is replaced
//! when the change has been folded. Bounded: of two generations the older is forgotten as a whole when the younger has filled its half, and
//! what was read in between moves to the younger.

use foldhash::HashMap;

use crate::store::{Bytes, Stored};

/// Memory of an entry beside its key and value, bytes: two counted allocations and its share of a table.
const ENTRY_OVERHEAD_BYTES: usize = 112;

/// What is on disk for a key: a value, or nothing.
type Found = Option<Stored>;

/// Values read or folded lately.
#[derive(Debug, Default)]
pub(super) struct Clean {
    young: HashMap<Bytes, Found>,
    old: HashMap<Bytes, Found>,
    young_bytes: usize,
    bytes_max: usize,
}

impl Clean {
    /// None yet, of at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Clean {
            bytes_max,
            ..Clean::default()
        }
    }

    /// What is on disk for the key, if it is known here.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Found> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        self.put(key, found.clone());
        Some(found)
    }

    /// Whether a value can be remembered without forgetting any.
    pub(super) fn has_room(&self, key: &[u8], stored: &Stored) -> bool {
        let bytes = ENTRY_OVERHEAD_BYTES + key.len() + stored.value.len();
        self.young_bytes + bytes <= self.bytes_max / 2
    }

    /// Remembers what is on disk for a key.
    pub(super) fn put(&mut self, key: Bytes, found: Found) {
        let bytes = footprint(&key, &found);
        if bytes > self.bytes_max / 2 {
            return self.remove(&key);
        }
        if self.young_bytes + bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.old.remove(&key);
        self.young_bytes += bytes;
        let key_again = key.clone();
        if let Some(before) = self.young.insert(key, found) {
            self.young_bytes -= footprint(&key_again, &before);
        }
    }

    /// Forgets a key whose value is no longer the one on disk.
    pub(super) fn remove(&mut self, key: &[u8]) {
        // It is in one generation at most.
        match self.young.remove_entry(key) {
            Some((key, found)) => self.young_bytes -= footprint(&key, &found),
            None => drop(self.old.remove(key)),
        }
    }
}

fn footprint(key: &Bytes, found: &Found) -> usize {
    let value = found.as_ref().map_or(0, |stored| stored.value.len());
    ENTRY_OVERHEAD_BYTES + key.len() + value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Bytes {
        Bytes::from(number.to_be_bytes().as_slice())
    }

    fn found(version: u64) -> Found {
        Some(Stored {
            version,
            value: Bytes::from([7; 100].as_slice()),
        })
    }

    #[test]
    fn what_was_put_is_known_until_it_is_removed() {
        let mut clean = Clean::new(1 << 20);
        clean.put(key(1), found(5));
        clean.put(key(2), None);
        assert_eq!(clean.get(&key(1)), Some(found(5)));
        assert_eq!(clean.get(&key(2)), Some(None));
        assert_eq!(clean.get(&key(3)), None);
        clean.put(key(1), found(6));
        assert_eq!(clean.get(&key(1)), Some(found(6)));
        clean.remove(&key(1));
        assert_eq!(clean.get(&key(1)), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_read_again_and_again_stays() {
        let mut clean = Clean::new(64 * 1_024);
        clean.put(key(0), found(1));
        for number in 1..10_000 {
            clean.put(key(number), found(1));
            if number % 50 == 0 {
                assert_eq!(clean.get(&key(0)), Some(found(1)), "{number}");
            }
            let all = clean.young.iter().chain(&clean.old);
            let bytes: usize = all.map(|(key, found)| footprint(key, found)).sum();
            assert!(bytes <= 64 * 1_024, "{bytes}");
        }
        assert_eq!(clean.get(&key(5)), None, "forgotten");
    }

    #[test]
    fn a_value_in_the_older_generation_is_replaced_and_removed_as_well() {
        let mut clean = Clean::new(2_000);
        clean.put(key(1), found(1));
        (2..6).for_each(|number| clean.put(key(number), found(1)));
        clean.put(key(1), found(2));
        assert_eq!(clean.get(&key(1)), Some(found(2)));
        clean.remove(&key(4));
        assert_eq!(clean.get(&key(4)), None);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut clean = Clean::default();
        clean.put(key(1), found(1));
        assert_eq!(clean.get(&key(1)), None);
    }
}
