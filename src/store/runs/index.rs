//! The index of a run: where each block begins, and a key that separates it from the one before.
//!
//! Invariant: every key of block `i` is at least its separator and less than that of block `i + 1`. Separators are as short as that allows, and all
//! lie in one stretch of memory, since a run of millions of people has tens of thousands of blocks.

use super::block::{put, take};

/// Separators and places, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    separators: Vec<u8>,
    /// By block: one behind its separator, and where the block begins in the file.
    blocks: Vec<(u32, u64)>,
    /// One behind the last block, in the file.
    end: u64,
}

impl Index {
    /// Adds a block of so many bytes that begins with a key; the last key of the block before.
    pub(super) fn push(&mut self, last_before: &[u8], first: &[u8], bytes: u64) {
        let separator = if self.blocks.is_empty() {
            &[]
        } else {
            separator(last_before, first)
        };
        self.add(separator, bytes);
    }

    fn add(&mut self, separator: &[u8], bytes: u64) {
        self.separators.extend_from_slice(separator);
        let behind = u32::try_from(self.separators.len()).unwrap_or(u32::MAX);
        self.blocks.push((behind, self.end));
        self.end += bytes;
    }

    /// Blocks there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// One behind the last block, in the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The block in which a key would be; the first for one before all.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.separator(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// Where a block lies in the file, and its bytes.
    pub(super) fn place(&self, block: usize) -> Option<(u64, usize)> {
        let (_, from) = *self.blocks.get(block)?;
        let to = self
            .blocks
            .get(block + 1)
            .map_or(self.end, |(_, from)| *from);
        Some((from, usize::try_from(to.checked_sub(from)?).ok()?))
    }

    /// The separator of a block.
    pub(super) fn separator(&self, block: usize) -> &[u8] {
        let behind = |block: usize| {
            self.blocks
                .get(block)
                .map_or(0, |(behind, _)| *behind as usize)
        };
        let from = block.checked_sub(1).map_or(0, behind);
        self.separators.get(from..behind(block)).unwrap_or_default()
    }

    /// To be stored.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.separators.len() + 6 * self.blocks.len());
        for block in 0..self.len() {
            let separator = self.separator(block);
            put(&mut bytes, separator.len() as u64);
            put(
                &mut bytes,
                self.place(block).map_or(0, |(_, bytes)| bytes as u64),
            );
            bytes.extend_from_slice(separator);
        }
        bytes
    }

    /// As stored; nothing where it is none.
    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut index = Index::default();
        while !bytes.is_empty() {
            let separator_bytes = usize::try_from(take(&mut bytes)?).ok()?;
            let block_bytes = take(&mut bytes)?;
            index.end.checked_add(block_bytes)?;
            let (separator, rest) = bytes.split_at_checked(separator_bytes)?;
            index.add(separator, block_bytes);
            bytes = rest;
        }
        Some(index)
    }
}

/// The shortest beginning of `first` that is greater than `before`.
fn separator<'a>(before: &[u8], first: &'a [u8]) -> &'a [u8] {
    let shared = before
        .iter()
        .zip(first)
        .take_while(|(one, other)| one == other)
        .count();
    first.get(..=shared).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        index.push(b"", b"apple", 100);
        index.push(b"banana", b"bandit", 50);
        index.push(b"bean", b"cherry", 70);
        index
    }

    #[test]
    fn keys_are_found_in_their_block_and_separators_are_short() {
        let index = index();
        let of = |key: &str| index.block_of(key.as_bytes());
        assert_eq!((of("aardvark"), of("apple"), of("banana")), (0, 0, 0));
        assert_eq!((of("bandit"), of("bean"), of("bzz")), (1, 1, 1));
        assert_eq!((of("cherry"), of("zebra")), (2, 2));
        assert_eq!(index.separator(1), b"band");
        assert_eq!(index.separator(2), b"c");
        assert_eq!(
            (index.place(1), index.place(2)),
            (Some((100, 50)), Some((150, 70)))
        );
        assert_eq!((index.place(3), index.end()), (None, 220));
    }

    #[test]
    fn it_reads_back_and_half_of_it_does_not() {
        let bytes = index().to_bytes();
        assert_eq!(Index::from_bytes(&bytes), Some(index()));
        assert_eq!(Index::from_bytes(&bytes[..bytes.len() - 1]), None);
    }
}
