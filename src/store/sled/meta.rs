//! The two rows a store keeps about itself: its format, and how far the records hold the journal.
//!
//! Invariant: both are sealed in an envelope whose version is the format's, so a newer program's store is told from a damaged one.

use super::digest::Digests;
use crate::store::StoreError;
use crate::store::envelope::{KIND_ENGINE_FIRST, open, seal};

/// Key of [`Format`].
pub(super) const META_FORMAT: &str = "format";
/// Key of [`Folded`].
pub(super) const META_FOLDED: &str = "folded";
/// The format of [`Format`], which is that of the store.
pub(super) const FORMAT_SUPPORTED: u8 = 1;
/// The format of [`Folded`] that is written; the first knew no digests.
const FOLDED_SUPPORTED: u8 = 2;
const KIND_FORMAT: u8 = KIND_ENGINE_FIRST + 1;
const KIND_FOLDED: u8 = KIND_ENGINE_FIRST + 2;

/// What was fixed when the store was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    /// Number of partitions.
    pub(super) partitions: u16,
}

impl Format {
    pub(super) fn encode(self) -> Vec<u8> {
        seal(
            KIND_FORMAT,
            FORMAT_SUPPORTED,
            &self.partitions.to_le_bytes(),
        )
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Format, StoreError> {
        let (_, payload) = payload(META_FORMAT, (KIND_FORMAT, FORMAT_SUPPORTED), bytes)?;
        let partitions = payload
            .try_into()
            .map(u16::from_le_bytes)
            .map_err(|_| unreadable(META_FORMAT))?;
        if partitions == 0 {
            Err(unreadable(META_FORMAT))
        } else {
            Ok(Format { partitions })
        }
    }
}

/// How far the records hold the journal, as of the last finished fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// First journal row that may still be needed.
    pub(super) first_row: u64,
    /// Keys among the records, about.
    pub(super) keys: u64,
    /// By partition: the commit sequence up to which the records hold everything.
    pub(super) sequences: Vec<u64>,
    /// What the records come to.
    pub(super) digests: Digests,
    /// Whether a later fold had begun: the records may already hold some of it.
    pub(super) is_under_way: bool,
}

impl Folded {
    /// Before the first fold.
    pub(super) fn nothing(partitions: u16) -> Folded {
        Folded {
            first_row: 1,
            keys: 0,
            sequences: vec![0; usize::from(partitions)],
            digests: Digests::of_nothing(partitions),
            is_under_way: false,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let digests = self.digests.parts();
        let lengths = [self.sequences.len(), digests.len()].map(|length| length as u64);
        let head = [self.first_row, self.keys, u64::from(self.is_under_way)];
        let numbers = head.iter().chain(&lengths).chain(&self.sequences);
        let mut payload = Vec::with_capacity(40 + 8 * (self.sequences.len() + digests.len()));
        for number in numbers.chain(&digests) {
            payload.extend_from_slice(&number.to_le_bytes());
        }
        seal(KIND_FOLDED, FOLDED_SUPPORTED, &payload)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Folded, StoreError> {
        let (version, payload) = payload(META_FOLDED, (KIND_FOLDED, FOLDED_SUPPORTED), bytes)?;
        let (numbers, rest) = payload.as_chunks::<8>();
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|number| u64::from_le_bytes(*number))
            .collect();
        let folded = match version {
            1 => first_format(&numbers),
            _ => second_format(&numbers),
        };
        folded
            .filter(|_| rest.is_empty())
            .ok_or_else(|| unreadable(META_FOLDED))
    }
}

fn first_format(numbers: &[u64]) -> Option<Folded> {
    let (&[first_row, keys], sequences) = numbers.split_first_chunk::<2>()?;
    Some(Folded {
        first_row,
        keys,
        sequences: sequences.to_vec(),
        digests: Digests::unknown(),
        is_under_way: false,
    })
}

fn second_format(numbers: &[u64]) -> Option<Folded> {
    let (&[first_row, keys, is_under_way, sequences, digests], rest) =
        numbers.split_first_chunk::<5>()?;
    let (of_sequences, of_digests) = rest.split_at_checked(usize::try_from(sequences).ok()?)?;
    (of_digests.len() as u64 == digests).then(|| Folded {
        first_row,
        keys,
        sequences: of_sequences.to_vec(),
        digests: Digests::from_parts(of_digests),
        is_under_way: is_under_way != 0,
    })
}

/// The format and payload of one of the store's own rows of a kind and newest format.
fn payload<'a>(
    row: &str,
    (kind, newest): (u8, u8),
    bytes: &'a [u8],
) -> Result<(u8, &'a [u8]), StoreError> {
    let envelope =
        open(bytes).map_err(|corrupt| corrupt.at(format!("the store's own row {row:?}")))?;
    if envelope.kind == kind && envelope.version > newest {
        return Err(StoreError::NewerFormat {
            found: envelope.version.into(),
            supported: newest.into(),
        });
    }
    if envelope.kind == kind {
        Ok((envelope.version, envelope.payload))
    } else {
        Err(unreadable(row))
    }
}

fn unreadable(row: &str) -> StoreError {
    StoreError::Corrupt {
        what: "it does not read; restore the last backup, or take what is left with hermod repair"
            .into(),
        place: format!("the store's own row {row:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_a_newer_format_is_named() {
        assert_eq!(
            Format::decode(&Format { partitions: 32 }.encode()),
            Ok(Format { partitions: 32 })
        );
        let folded = Folded {
            first_row: 7,
            keys: 9,
            sequences: vec![1, 2, 3],
            digests: Digests::from_parts(&[1, 5, 0, 0, 1, u64::MAX]),
            is_under_way: true,
        };
        assert_eq!(Folded::decode(&folded.encode()), Ok(folded.clone()));
        let first: Vec<u8> = [7_u64, 9, 1, 2, 3]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let before_digests = Folded {
            digests: Digests::unknown(),
            is_under_way: false,
            ..folded
        };
        assert_eq!(
            Folded::decode(&seal(KIND_FOLDED, 1, &first)),
            Ok(before_digests)
        );
        let newer = seal(KIND_FORMAT, 2, &32_u16.to_le_bytes());
        assert_eq!(
            Format::decode(&newer),
            Err(StoreError::NewerFormat {
                found: 2,
                supported: 1
            })
        );
        assert!(matches!(
            Format::decode(&[1, 2]),
            Err(StoreError::Corrupt { .. })
        ));
    }
}
