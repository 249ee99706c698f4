//! The envelope round every stored record: `[kind u8][format version u8][crc32 u32 LE][payload]`.
//!
//! Invariant: what [`open`] gives is what [`seal`] was given; any flipped bit in it is found. The checksum covers kind, version and payload.
//! The payload's codec, and which kinds and versions exist, belong to the layers above.

use super::StoreError;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 6;

/// Kinds from here up belong to the engines themselves; records above use the lower ones.
pub const KIND_ENGINE_FIRST: u8 = 0xF0;

/// An opened envelope, borrowing its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Which record this is.
    pub kind: u8,
    /// Version of the payload's format.
    pub version: u8,
    /// The payload, still encoded.
    pub payload: &'a [u8],
}

/// Why bytes are no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Shorter than the header.
    #[error("{bytes} bytes are too short for a record")]
    Short {
        /// Length found.
        bytes: usize,
    },
    /// The checksum does not match.
    #[error("checksum {found:08x} instead of {computed:08x}")]
    Checksum {
        /// Written in the header.
        found: u32,
        /// Computed over what is there.
        computed: u32,
    },
}

impl Corrupt {
    /// The store error for an envelope found at `place`.
    pub fn at(self, place: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            what: self.to_string(),
            place: place.into(),
        }
    }
}

/// The envelope of a payload that is appended to what it is given, which has room for the bytes that it usually takes.
pub fn seal_with<E>(
    kind: u8,
    version: u8,
    usual_bytes: usize,
    append: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + usual_bytes);
    bytes.extend_from_slice(&[kind, version, 0, 0, 0, 0]);
    let mut bytes = append(bytes)?;
    let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let sum = checksum(kind, version, payload).to_le_bytes();
    if let Some(place) = bytes.get_mut(2..HEADER_BYTES) {
        place.copy_from_slice(&sum);
    }
    Ok(bytes)
}

/// The envelope of a payload that is there already.
pub fn seal(kind: u8, version: u8, payload: &[u8]) -> Vec<u8> {
    let append = |mut to: Vec<u8>| {
        to.extend_from_slice(payload);
        Ok::<_, std::convert::Infallible>(to)
    };
    match seal_with(kind, version, payload.len(), append) {
        Ok(bytes) => bytes,
        Err(never) => match never {},
    }
}

/// Opens an envelope; errors when it is too short or was changed since it was sealed.
pub fn open(bytes: &[u8]) -> Result<Envelope<'_>, Corrupt> {
    let Some((&[kind, version, a, b, c, d], payload)) = bytes.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(Corrupt::Short { bytes: bytes.len() });
    };
    let found = u32::from_le_bytes([a, b, c, d]);
    let computed = checksum(kind, version, payload);
    if found != computed {
        return Err(Corrupt::Checksum { found, computed });
    }
    Ok(Envelope {
        kind,
        version,
        payload,
    })
}

fn checksum(kind: u8, version: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind, version]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sealed_record_has_these_bytes_for_ever() {
        assert_eq!(
            seal(3, 1, b"hermod"),
            [
                3, 1, 0x79, 0x44, 0x2C, 0xD1, b'h', b'e', b'r', b'm', b'o', b'd'
            ]
        );
    }

    #[test]
    fn zeroes_and_short_bytes_are_no_record() {
        assert!(matches!(open(&[0; 64]), Err(Corrupt::Checksum { .. })));
        assert_eq!(open(&[1, 2, 3]), Err(Corrupt::Short { bytes: 3 }));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_found(kind: u8, version: u8, payload: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = seal(kind, version, &payload);
            prop_assert_eq!(open(&bytes), Ok(Envelope { kind, version, payload: &payload }));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(&bytes).is_err());
        }
    }
}
