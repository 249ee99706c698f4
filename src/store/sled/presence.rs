//! Which keys of a kind that comes and goes may be among the records, so that a new one is not looked for on disk.
//!
//! Invariant: whatever is among the records under the prefix is in here or among the changed values. A key is known by a fingerprint of 128 bits;
//! of a thousand million keys two share one with a probability below one in 10^20.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// The keys of one partition under one prefix.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Empty for none.
    prefix: Vec<u8>,
    hashers: [RandomState; 2],
    keys: HashSet<u128>,
}

// === impl Presence ===

impl Presence {
    /// None yet, of the keys with a prefix; an empty prefix stands for no keys.
    pub(super) fn of(prefix: &[u8]) -> Self {
        Self {
            prefix: prefix.to_vec(),
            ..Self::default()
        }
    }

    /// Whether a key is certainly not among the records.
    pub(super) fn excludes(&self, key: &[u8]) -> bool {
        self.covers(key) && !self.keys.contains(&self.fingerprint(key))
    }

    /// Notes that a key is among the records, or is no longer.
    pub(super) fn note(&mut self, key: &[u8], is_there: bool) {
        if !self.covers(key) {
            return;
        }
        let fingerprint = self.fingerprint(key);
        if is_there {
            self.keys.insert(fingerprint);
        } else {
            self.keys.remove(&fingerprint);
        }
    }

    /// Whether a key is of those that this knows about.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        !self.prefix.is_empty() && key.starts_with(&self.prefix)
    }

    fn fingerprint(&self, key: &[u8]) -> u128 {
        let [high, low] = &self.hashers;
        u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_under_the_prefix_that_were_not_noted_are_excluded() {
        let mut presence = Presence::of(b"p");
        assert!(presence.excludes(b"p1"));
        assert!(!presence.excludes(b"q1"), "nothing is known of it");
        presence.note(b"p1", true);
        presence.note(b"q1", true);
        assert!(!presence.excludes(b"p1"));
        assert!(presence.excludes(b"p2"));
        presence.note(b"p1", false);
        assert!(presence.excludes(b"p1"));
    }

    #[test]
    fn without_a_prefix_nothing_is_excluded() {
        assert!(!Presence::default().excludes(b"p1"));
    }
}
