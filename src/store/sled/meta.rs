//! The two rows a store keeps about itself: its format, and how far the records hold the journal.
//!
//! Invariant: both are sealed in an envelope whose version is the format's, so a newer program's store is told from a damaged one.

use crate::store::StoreError;
use crate::store::envelope::{KIND_ENGINE_FIRST, open, seal};

/// Key of [`Format`].
pub(super) const META_FORMAT: &str = "format";
/// Key of [`Folded`].
pub(super) const META_FOLDED: &str = "folded";
/// Newest format this program reads and the one it writes.
pub(super) const FORMAT_SUPPORTED: u8 = 1;
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
        let payload = payload(META_FORMAT, KIND_FORMAT, bytes)?;
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
}

impl Folded {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(16 + 8 * self.sequences.len());
        for number in [self.first_row, self.keys].iter().chain(&self.sequences) {
            payload.extend_from_slice(&number.to_le_bytes());
        }
        seal(KIND_FOLDED, FORMAT_SUPPORTED, &payload)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Folded, StoreError> {
        let (numbers, rest) = payload(META_FOLDED, KIND_FOLDED, bytes)?.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        match (numbers.next(), numbers.next(), rest) {
            (Some(first_row), Some(keys), []) => Ok(Folded {
                first_row,
                keys,
                sequences: numbers.collect(),
            }),
            _ => Err(unreadable(META_FOLDED)),
        }
    }
}

fn payload<'a>(row: &str, kind: u8, bytes: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let envelope =
        open(bytes).map_err(|corrupt| corrupt.at(format!("the store's own row {row:?}")))?;
    if envelope.version > FORMAT_SUPPORTED {
        return Err(StoreError::NewerFormat {
            found: envelope.version.into(),
            supported: FORMAT_SUPPORTED.into(),
        });
    }
    if envelope.kind == kind {
        Ok(envelope.payload)
    } else {
        Err(unreadable(row))
    }
}

fn unreadable(row: &str) -> StoreError {
    StoreError::Corrupt {
        what: "it does not read; restore the last export".into(),
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
        };
        assert_eq!(Folded::decode(&folded.encode()), Ok(folded));
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
