//! The plain model that random histories are compared with.
//!
//! Invariant: it shares no code with any engine, not even the working out of a batch; only the merge is the suite's own.

use std::collections::BTreeMap;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Counting, commit};
use crate::store::{Change, Engine, Merge, Outcome, Partition, Scan, Version};

/// The plain model: what every partition holds, and how often each was changed.
#[derive(Default)]
pub(in crate::store) struct Model {
    records: BTreeMap<(u16, Vec<u8>), (Version, Vec<u8>)>,
    sequences: BTreeMap<u16, u64>,
}

impl Model {
    /// Commits random batches to the engine and the model, comparing each outcome.
    pub(in crate::store) fn history(&mut self, engine: &dyn Engine, seed: u64, steps: usize) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for step in 0..steps {
            let partition = random.random_range(0..4_u16);
            let changes: Vec<Change> = (0..random.random_range(0..5))
                .map(|_| self.change(partition, &mut random))
                .collect();
            let outcome = commit(engine, Partition(partition), changes.clone()).unwrap();
            let expected = self.apply(partition, changes);
            assert_eq!(
                matches!(outcome, Outcome::Committed(_)),
                expected,
                "seed {seed} step {step}"
            );
            if step % 64 == 63 {
                engine.flush().wait().unwrap();
            }
        }
    }

    fn change(&self, partition: u16, random: &mut impl Rng) -> Change {
        let key = format!("s/{}", random.random_range(0..12)).into_bytes();
        let version = self
            .records
            .get(&(partition, key.clone()))
            .map_or(0, |(version, _)| *version);
        let expected = match random.random_range(0..10) {
            0..6 => None,
            6..9 => Some(version),
            _ => Some(version + 1),
        };
        let number = random.random_range(-3..4_i64).to_le_bytes().to_vec();
        match random.random_range(0..5) {
            0 => Change::Delete { key, expected },
            1 | 2 => Change::Put {
                key,
                value: number,
                expected,
            },
            _ => Change::Merge {
                key,
                operand: number,
            },
        }
    }

    fn apply(&mut self, partition: u16, changes: Vec<Change>) -> bool {
        let mut after = self.records.clone();
        let next = self
            .sequences
            .get(&partition)
            .map_or(1, |sequence| sequence + 1);
        for change in changes {
            let at = (partition, change.key().to_vec());
            if let Change::Put {
                expected: Some(expected),
                ..
            }
            | Change::Delete {
                expected: Some(expected),
                ..
            } = &change
                && self.records.get(&at).map_or(0, |(version, _)| *version) != *expected
            {
                return false;
            }
            match change {
                Change::Put { value, .. } => {
                    after.insert(at, (next, value));
                }
                Change::Delete { .. } => {
                    after.remove(&at);
                }
                Change::Merge { key, operand } => {
                    let existing = after.remove(&at).map(|(_, value)| value);
                    let merged = Counting.merge(&key, existing.as_deref(), &operand).unwrap();
                    after.extend(merged.map(|value| (at, (next, value))));
                }
            }
        }
        if after != self.records {
            self.sequences.insert(partition, next);
        }
        self.records = after;
        true
    }

    /// Compares everything, versions included, by scan and by read.
    pub(in crate::store) fn compare(&self, engine: &dyn Engine) {
        let mut found = BTreeMap::new();
        for partition in 0..engine.partitions() {
            for (key, stored) in engine
                .scan(
                    Partition(partition),
                    Scan {
                        limit: 1_000,
                        ..Scan::default()
                    },
                )
                .wait()
                .unwrap()
            {
                assert_eq!(
                    engine
                        .read(Partition(partition), &key)
                        .wait()
                        .unwrap()
                        .as_ref(),
                    Some(&stored)
                );
                found.insert((partition, key), (stored.version, stored.value.to_vec()));
            }
        }
        assert_eq!(found, self.records);
    }
}
