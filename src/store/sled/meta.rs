//! The two rows a store keeps about itself: its format, and how far the runs hold the journal.
//!
//! Invariant: both are sealed in an envelope whose version is the format's, so a newer program's store is told from a damaged one.

use super::digest::Digests;
use crate::store::StoreError;
use crate::store::envelope::{KIND_ENGINE_FIRST, open, seal};

/// Key of [`Format`].
pub(super) const META_FORMAT: &str = "format";
/// Key of [`Folded`].
pub(super) const META_FOLDED: &str = "folded";
/// The format of [`Format`], which is that of the store. Up to the first the journal was in sled.
pub(super) const FORMAT_SUPPORTED: u8 = 2;
/// The format of [`Folded`] that is written; the first knew no digests, the second no runs.
const FOLDED_SUPPORTED: u8 = 3;
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

    /// Whether a row is of the format that is written.
    pub(super) fn is_current(row: &[u8]) -> bool {
        open(row).is_ok_and(|envelope| envelope.version == FORMAT_SUPPORTED)
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

/// How far the runs hold the journal, and which runs there are, as of the last finished fold or merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// First journal row that may still be needed.
    pub(super) first_row: u64,
    /// By partition: the commit sequence up to which the runs hold everything.
    pub(super) sequences: Vec<u64>,
    /// The runs by number, oldest first.
    pub(super) runs: Vec<u64>,
    /// What a store from before there were runs says of its records; nothing since they were moved.
    pub(super) earlier: Option<EarlierFold>,
}

/// What a store of rows says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EarlierFold {
    /// What the rows come to.
    pub(super) digests: Digests,
    /// Whether a later fold had begun: the rows may already hold some of it.
    pub(super) is_under_way: bool,
}

impl Folded {
    /// Before the first fold.
    pub(super) fn nothing(partitions: u16) -> Folded {
        Folded {
            first_row: 1,
            sequences: vec![0; usize::from(partitions)],
            runs: Vec::new(),
            earlier: None,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let lengths = [self.sequences.len(), self.runs.len()].map(|length| length as u64);
        let head = std::iter::once(&self.first_row).chain(&lengths);
        let numbers = head.chain(&self.sequences).chain(&self.runs);
        let payload: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
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
            2 => second_format(&numbers),
            _ => third_format(&numbers),
        };
        folded
            .filter(|_| rest.is_empty())
            .ok_or_else(|| unreadable(META_FOLDED))
    }
}

fn first_format(numbers: &[u64]) -> Option<Folded> {
    let (&[first_row, _keys], sequences) = numbers.split_first_chunk::<2>()?;
    Some(Folded {
        first_row,
        sequences: sequences.to_vec(),
        runs: Vec::new(),
        earlier: Some(EarlierFold {
            digests: Digests::unknown(),
            is_under_way: false,
        }),
    })
}

fn second_format(numbers: &[u64]) -> Option<Folded> {
    let (&[first_row, _keys, is_under_way, sequences, digests], rest) =
        numbers.split_first_chunk::<5>()?;
    let (of_sequences, of_digests) = rest.split_at_checked(usize::try_from(sequences).ok()?)?;
    (of_digests.len() as u64 == digests).then(|| Folded {
        first_row,
        sequences: of_sequences.to_vec(),
        runs: Vec::new(),
        earlier: Some(EarlierFold {
            digests: Digests::from_parts(of_digests),
            is_under_way: is_under_way != 0,
        }),
    })
}

fn third_format(numbers: &[u64]) -> Option<Folded> {
    let (&[first_row, sequences, runs], rest) = numbers.split_first_chunk::<3>()?;
    let (of_sequences, of_runs) = rest.split_at_checked(usize::try_from(sequences).ok()?)?;
    (of_runs.len() as u64 == runs).then(|| Folded {
        first_row,
        sequences: of_sequences.to_vec(),
        runs: of_runs.to_vec(),
        earlier: None,
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
            sequences: vec![1, 2, 3],
            runs: vec![4, 9],
            earlier: None,
        };
        assert_eq!(Folded::decode(&folded.encode()), Ok(folded.clone()));
        let of_format = |format: u8, numbers: &[u64]| {
            let bytes: Vec<u8> = numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            Folded::decode(&seal(KIND_FOLDED, format, &bytes))
        };
        let before_runs = |digests, is_under_way| {
            Ok(Folded {
                runs: Vec::new(),
                earlier: Some(EarlierFold {
                    digests,
                    is_under_way,
                }),
                ..folded.clone()
            })
        };
        assert_eq!(
            of_format(1, &[7, 9, 1, 2, 3]),
            before_runs(Digests::unknown(), false)
        );
        assert_eq!(
            of_format(2, &[7, 9, 1, 3, 6, 1, 2, 3, 1, 5, 0, 0, 1, 8]),
            before_runs(Digests::from_parts(&[1, 5, 0, 0, 1, 8]), true)
        );
        assert!(of_format(3, &[7, 3, 2, 1, 2, 3, 4]).is_err());
        let of_format = |format| seal(KIND_FORMAT, format, &32_u16.to_le_bytes());
        assert_eq!(Format::decode(&of_format(1)), Ok(Format { partitions: 32 }));
        assert!(!Format::is_current(&of_format(1)) && Format::is_current(&of_format(2)));
        assert_eq!(
            Format::decode(&of_format(3)),
            Err(StoreError::NewerFormat {
                found: 3,
                supported: 2
            })
        );
        assert!(matches!(
            Format::decode(&[1, 2]),
            Err(StoreError::Corrupt { .. })
        ));
    }
}
