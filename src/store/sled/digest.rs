//! Digests of stores from before there were runs: what the rows of each partition come to, so that rows which are gone, or older than the last
//! ones written, show before they are moved.
//!
//! Invariant: a digest is the sum, modulo 2^64, of one hash per row over partition, key and version; it was stored with each fold. sled checks each page for itself, and takes a damaged stretch in the middle of its log for one that was never
//! written: what was there before shows through (measured). The sum tells, whichever record it is, but for one chance in 2^64.

use std::path::Path;

use super::meta::EarlierFold;
use crate::store::{StoreError, Version};

/// By partition; nothing where nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests(Vec<Option<u64>>);

/// What one folded value changes in the digest of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) partition: u16,
    /// To be added, modulo 2^64.
    pub(super) amount: u64,
}

/// The term of one record.
pub(super) fn term(partition: u16, key: &[u8], version: Version) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&partition.to_le_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(key);
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl Digests {
    /// Of a store without records.
    pub(super) fn of_nothing(partitions: u16) -> Self {
        Digests(vec![Some(0); usize::from(partitions)])
    }

    /// Of a store whose records nobody has added up.
    pub(super) fn unknown() -> Self {
        Digests(Vec::new())
    }

    /// As they are stored: for each partition whether it is known, and the sum.
    pub(super) fn from_parts(parts: &[u64]) -> Self {
        let (pairs, _) = parts.as_chunks::<2>();
        let known = pairs
            .iter()
            .map(|[known, sum]| (*known != 0).then_some(*sum));
        Digests(known.collect())
    }

    /// Adds what changes.
    pub(super) fn add(&mut self, difference: Difference) {
        let sum = self.0.get_mut(usize::from(difference.partition));
        if let Some(Some(sum)) = sum {
            *sum = sum.wrapping_add(difference.amount);
        }
    }

    /// The partitions whose records are not those that were last folded; none where that cannot be said.
    pub(super) fn strangers(&self, folded: &EarlierFold) -> Vec<u16> {
        if folded.is_under_way {
            // A stop came between: some records are newer, and the journal has them all.
            return Vec::new();
        }
        let pairs = (0..).zip(self.0.iter().zip(&folded.digests.0));
        pairs
            .filter(|(_, pair)| matches!(pair, (Some(is), Some(was)) if is != was))
            .map(|(partition, _)| partition)
            .collect()
    }

    /// Refuses records that are not those that were last folded.
    pub(super) fn compare(&self, folded: &EarlierFold, directory: &Path) -> Result<(), StoreError> {
        match self.strangers(folded).as_slice() {
            [] => Ok(()),
            strangers => Err(StoreError::Corrupt {
                what: told(strangers),
                place: directory.display().to_string(),
            }),
        }
    }
}

/// What it means for these partitions.
pub(super) fn told(strangers: &[u16]) -> String {
    format!(
        "the records of partitions {strangers:?} are not those that were last written: the files are damaged, and some records are gone or \
         older ones show through. Restore the last backup, or take what is left with hermod repair"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(records: &[(u16, &str, Version)]) -> Digests {
        let mut digests = Digests::of_nothing(3);
        for (partition, key, version) in records {
            digests.add(Difference {
                partition: *partition,
                amount: term(*partition, key.as_bytes(), *version),
            });
        }
        digests
    }

    fn folded(digests: Digests) -> EarlierFold {
        EarlierFold {
            digests,
            is_under_way: false,
        }
    }

    #[test]
    fn an_older_a_missing_and_a_foreign_record_show_in_their_partition() {
        let was = folded(digests(&[(0, "a", 3), (1, "b", 4), (1, "c", 5)]));
        let strangers = |records: &[(u16, &str, Version)]| digests(records).strangers(&was);
        assert_eq!(strangers(&[(1, "c", 5), (1, "b", 4), (0, "a", 3)]), [0; 0]);
        assert_eq!(strangers(&[(0, "a", 2), (1, "b", 4), (1, "c", 5)]), [0]);
        assert_eq!(strangers(&[(0, "a", 3), (1, "b", 4)]), [1]);
        assert_eq!(strangers(&[(0, "a", 3), (1, "b", 5), (1, "c", 4)]), [1]);
        assert_eq!(
            strangers(&[(0, "a", 3), (1, "b", 4), (1, "c", 5), (2, "d", 1)]),
            [2]
        );
    }

    #[test]
    fn nothing_is_said_of_a_fold_under_way_and_of_stores_without_digests() {
        let is = digests(&[(0, "a", 1)]);
        let was = folded(digests(&[]));
        assert_eq!(is.strangers(&was), [0]);
        let refused = is.compare(&was, Path::new("/data")).unwrap_err();
        assert!(refused.to_string().contains("/data"), "{refused}");
        let under_way = EarlierFold {
            is_under_way: true,
            ..was
        };
        assert_eq!(is.compare(&under_way, Path::new("/data")), Ok(()));
        assert_eq!(is.strangers(&folded(Digests::unknown())), [0; 0]);
        assert_eq!(Digests::unknown().strangers(&folded(is.clone())), [0; 0]);
        let one_known = Digests::from_parts(&[0, 0, 1, 7, 1, 9]);
        assert_eq!(
            one_known.strangers(&folded(digests(&[(0, "a", 1)]))),
            [1, 2]
        );
    }
}
