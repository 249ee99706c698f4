//! The values of one partition that are not yet among the records: found by key at once, listed in order when somebody asks for that.
//!
//! Invariant: every key is in `values`; in the order of its kind is every key of `values`, and perhaps some that have left since. Commits look keys up
//! far more often than scans list them, and hashing a key costs less than a walk down a tree of keys. Scans list one kind of record at a time,
//! which the first byte of a key tells, so the others are not put in order for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use foldhash::HashMap;

use super::overlay::Dirty;
use crate::store::Bytes;

/// Keys that may wait to be put in order beside as many as there are values.
const UNORDERED_SPARE: usize = 1_024;

/// Changed values by key.
#[derive(Debug, Default)]
pub(super) struct Changed {
    values: HashMap<Bytes, Dirty>,
    /// By first byte.
    orders: BTreeMap<Option<u8>, Order>,
    /// Every key that no folding pass has in hand.
    waiting: Vec<Bytes>,
}

/// The keys of one kind.
#[derive(Debug, Default)]
struct Order {
    ordered: BTreeSet<Bytes>,
    unordered: Vec<Bytes>,
}

// === impl Order ===

impl Order {
    fn put_in_order(&mut self, values: &HashMap<Bytes, Dirty>) {
        let present = self.unordered.drain(..);
        self.ordered
            .extend(present.filter(|key| values.contains_key(key)));
    }
}

// === impl Changed ===

impl Changed {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Dirty> {
        self.values.get(key)
    }

    /// Sets a value; the one before.
    pub(super) fn insert(&mut self, key: Bytes, dirty: Dirty) -> Option<Dirty> {
        let before = self.values.insert(Bytes::clone(&key), dirty);
        if before.is_none() {
            self.waiting.push(Bytes::clone(&key));
            let order = self.orders.entry(key.first().copied()).or_default();
            order.unordered.push(key);
            if order.unordered.len() > 2 * self.values.len() + UNORDERED_SPARE {
                order.put_in_order(&self.values);
            }
        }
        before
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<(Bytes, Dirty)> {
        let removed = self.values.remove_entry(key)?;
        if let Some(order) = self.orders.get_mut(&key.first().copied()) {
            order.ordered.remove(key);
        }
        Some(removed)
    }

    /// The keys that wait for a folding pass, which has them in hand from now on: it removes their values, or lets them wait again.
    pub(super) fn take_waiting(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.waiting)
    }

    /// Keys that a folding pass had in hand wait again.
    pub(super) fn wait_again(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        self.waiting.extend(keys);
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Dirty)> {
        self.values.iter()
    }

    /// From a bound on, those under a prefix, in ascending order of keys.
    pub(super) fn range(
        &mut self,
        from: Bound<&[u8]>,
        prefix: &[u8],
    ) -> impl Iterator<Item = (&Bytes, &Dirty)> {
        let (kind, values) = (prefix.first().copied(), &self.values);
        for (of, order) in &mut self.orders {
            if kind.is_none() || *of == kind {
                order.put_in_order(values);
            }
        }
        let orders = self.orders.iter();
        let orders = orders.filter(move |(of, _)| kind.is_none() || **of == kind);
        let keys = orders.flat_map(move |(_, order)| {
            let range = order.ordered.range::<[u8], _>((from, Bound::Unbounded));
            range.take_while(|key| key.starts_with(prefix))
        });
        keys.filter_map(|key| Some((key, values.get(key)?)))
    }

    /// A copy in order.
    pub(super) fn copied(&self) -> BTreeMap<Bytes, Dirty> {
        let copied = |(key, dirty): (&Bytes, &Dirty)| (Bytes::clone(key), dirty.clone());
        self.values.iter().map(copied).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Bytes {
        Bytes::from(text.as_bytes())
    }

    fn dirty(version: u64) -> Dirty {
        Dirty {
            version,
            value: None,
        }
    }

    fn listed(changed: &mut Changed, from: &str) -> Vec<(String, u64)> {
        let named = |(key, dirty): (&Bytes, &Dirty)| {
            (String::from_utf8_lossy(key).into_owned(), dirty.version)
        };
        let rows = changed.range(Bound::Excluded(from.as_bytes()), b"");
        rows.map(named).collect()
    }

    #[test]
    fn keys_are_listed_in_order_whenever_they_came_and_went() {
        let mut changed = Changed::default();
        for (text, version) in [("d", 1), ("a", 2), ("c", 3)] {
            assert!(changed.insert(key(text), dirty(version)).is_none());
        }
        let named = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
            rows.iter()
                .map(|(key, at)| ((*key).to_owned(), *at))
                .collect()
        };
        assert_eq!(listed(&mut changed, "a"), named(&[("c", 3), ("d", 1)]));
        assert!(changed.remove(b"c").is_some());
        assert!(changed.insert(key("b"), dirty(4)).is_none());
        assert!(changed.remove(b"b").is_some());
        assert!(changed.insert(key("b"), dirty(5)).is_none());
        assert!(changed.insert(key("d"), dirty(6)).is_some());
        let all = named(&[("a", 2), ("b", 5), ("d", 6)]);
        assert_eq!(listed(&mut changed, ""), all);
        assert_eq!(changed.len(), 3);
        assert_eq!(changed.copied().len(), 3);
    }

    #[test]
    fn a_key_waits_once_until_a_pass_has_it_in_hand() {
        let mut changed = Changed::default();
        changed.insert(key("a"), dirty(1));
        changed.insert(key("a"), dirty(2));
        let in_hand = changed.take_waiting();
        assert_eq!(in_hand, [key("a")]);
        changed.insert(key("a"), dirty(3));
        assert!(changed.take_waiting().is_empty(), "it is in hand");
        changed.wait_again(in_hand);
        assert_eq!(changed.take_waiting(), [key("a")]);
        assert!(changed.remove(b"a").is_some());
        changed.insert(key("a"), dirty(4));
        assert_eq!(changed.take_waiting(), [key("a")], "it came anew");
    }

    #[test]
    fn keys_that_come_and_go_unlisted_do_not_pile_up() {
        let mut changed = Changed::default();
        for number in 0..100_000_u32 {
            let key = Bytes::from(number.to_be_bytes().as_slice());
            changed.insert(Bytes::clone(&key), dirty(1));
            assert_eq!(changed.take_waiting(), [Bytes::clone(&key)]);
            changed.remove(&key);
        }
        let waiting = changed.orders.values().map(|order| order.unordered.len());
        assert!(waiting.sum::<usize>() <= UNORDERED_SPARE + 1);
        assert!(
            changed
                .orders
                .values()
                .all(|order| order.ordered.is_empty())
        );
    }
}
