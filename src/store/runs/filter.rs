//! A filter of keys: whether a key is certainly not in a run, so that a run that does not hold it is not read.
//!
//! Invariant: a key that was added is never excluded. A blocked Bloom filter (Putze, Sanders and Singler 2007): all bits of a key lie in one line of
//! 64 bytes, so that a look costs one miss of the cache; at 10 bits a key about one stranger in a hundred is not excluded.

use xxhash_rust::xxh3::xxh3_64;

const BITS_PER_KEY: u64 = 10;
/// Bits of a line, as a power of two, and words of it.
const LINE_BITS_LOG2: u32 = 9;
const LINE_WORDS: usize = 8;
/// Bits set for a key.
const PROBES: u32 = 6;

/// The hash by which a key is known; XXH3, which is the same everywhere and for ever.
pub(super) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// An empty one for so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        let lines = (keys.saturating_mul(BITS_PER_KEY) >> LINE_BITS_LOG2) + 1;
        let words = usize::try_from(lines).unwrap_or(1) * LINE_WORDS;
        Filter {
            words: vec![0; words],
        }
    }

    /// Adds a key.
    pub(super) fn add(&mut self, hash: u64) {
        let line = self.line(hash);
        for (word, bit) in probes(hash) {
            if let Some(word) = self.words.get_mut(line + word) {
                *word |= bit;
            }
        }
    }

    /// Whether a key was certainly not added.
    pub(super) fn excludes(&self, hash: u64) -> bool {
        let line = self.line(hash);
        probes(hash).any(|(word, bit)| {
            self.words
                .get(line + word)
                .is_some_and(|word| word & bit == 0)
        })
    }

    /// The first word of a key's line.
    fn line(&self, hash: u64) -> usize {
        let lines = (self.words.len() / LINE_WORDS) as u128;
        let line = (u128::from(hash) * lines) >> 64;
        line as usize * LINE_WORDS
    }

    /// To be stored.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// As stored; nothing where it is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let is_whole =
            rest.is_empty() && !words.is_empty() && words.len().is_multiple_of(LINE_WORDS);
        is_whole.then(|| Filter {
            words: words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
        })
    }
}

/// Word and bit of each probe within the line. The line takes the upper bits of the hash, these take the lower ones, mixed anew.
fn probes(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..PROBES).map(move |probe| {
        let bit = mixed >> (64 - LINE_BITS_LOG2 * (probe + 1)) & ((1 << LINE_BITS_LOG2) - 1);
        ((bit >> 6) as usize, 1 << (bit & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_excluded_and_nearly_all_strangers_are() {
        let mut filter = Filter::for_keys(20_000);
        let of = |number: u64| hash(&number.to_be_bytes());
        (0..20_000).for_each(|number| filter.add(of(number)));
        assert!((0..20_000).all(|number| !filter.excludes(of(number))));
        let passed = (20_000..40_000)
            .filter(|number| !filter.excludes(of(*number)))
            .count();
        assert!(passed < 400, "{passed} of 20,000 strangers passed");
        assert_eq!(Filter::from_bytes(&filter.to_bytes()), Some(filter));
        assert_eq!(Filter::from_bytes(&[0; 12]), None);
        assert_eq!(Filter::from_bytes(&[]), None);
    }

    #[test]
    fn a_filter_of_nothing_excludes_everything() {
        assert!(Filter::for_keys(0).excludes(hash(b"anything")));
    }
}
