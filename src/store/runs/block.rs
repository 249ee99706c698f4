//! A block: some dozens of entries packed together, compressed, under one checksum; what is read from a run at a time.
//!
//! Invariant: what [`unseal`] and [`Entries`] give is what [`Packer`] was given, in the same order, or an error. Keys leave out what they share
//! with the key before them. Numbers are LEB128: shared, rest of the key, version, length of the value plus one (0 for a deleted key).

use crate::store::Version;
use crate::store::envelope::{self, KIND_ENGINE_FIRST};

const KIND: u8 = KIND_ENGINE_FIRST + 4;
const FORMAT: u8 = 1;
/// Longest number, bytes.
const NUMBER_BYTES_MAX: usize = 10;
/// A block holds at most one entry beyond its usual size, and no entry is larger; what says it is comes to more is damaged.
const PLAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Packs entries in ascending order.
#[derive(Debug, Default)]
pub(super) struct Packer {
    plain: Vec<u8>,
    last_key: Vec<u8>,
}

impl Packer {
    /// Adds an entry.
    pub(super) fn push(&mut self, key: &[u8], version: Version, value: Option<&[u8]>) {
        let shared = self
            .last_key
            .iter()
            .zip(key)
            .take_while(|(one, other)| one == other)
            .count();
        let rest = key.get(shared..).unwrap_or_default();
        put(&mut self.plain, shared as u64);
        put(&mut self.plain, rest.len() as u64);
        put(&mut self.plain, version);
        put(
            &mut self.plain,
            value.map_or(0, |value| value.len() as u64 + 1),
        );
        self.plain.extend_from_slice(rest);
        self.plain.extend_from_slice(value.unwrap_or_default());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(rest);
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }

    /// The block, sealed; the packer is empty again.
    pub(super) fn seal(&mut self) -> Vec<u8> {
        let payload = lz4_flex::compress_prepend_size(&self.plain);
        self.plain.clear();
        self.last_key.clear();
        envelope::seal(KIND, FORMAT, &payload)
    }
}

/// Opens a sealed block into a buffer; what is wrong with it.
pub(super) fn unseal(sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
    let envelope = envelope::open(sealed).map_err(|corrupt| corrupt.to_string())?;
    if (envelope.kind, envelope.version) != (KIND, FORMAT) {
        return Err(format!(
            "it is of kind {} and format {}",
            envelope.kind, envelope.version
        ));
    }
    let (size, packed) =
        lz4_flex::block::uncompressed_size(envelope.payload).map_err(|error| error.to_string())?;
    if size > PLAIN_BYTES_MAX {
        return Err(format!("it claims to be {size} bytes"));
    }
    plain.resize(size, 0);
    let written = lz4_flex::decompress_into(packed, plain).map_err(|error| error.to_string())?;
    if written == size {
        Ok(())
    } else {
        Err(format!("it is {written} bytes instead of {size}"))
    }
}

/// Where an entry of an opened block stands; its key is kept by whoever reads, since each begins as the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: Version,
    /// The value's place in the block; `None` for a deleted key.
    pub(super) value: Option<(usize, usize)>,
    /// Where the next entry begins.
    pub(super) next: usize,
}

/// The entry that begins at a place of an opened block; `key` is that of the entry before and becomes this one's. Nothing where it does not read.
pub(super) fn entry_at(plain: &[u8], at: usize, key: &mut Vec<u8>) -> Option<Entry> {
    let mut rest = plain.get(at..)?;
    let before = rest.len();
    let shared = usize::try_from(take(&mut rest)?).ok()?;
    let key_bytes = usize::try_from(take(&mut rest)?).ok()?;
    let version = take(&mut rest)?;
    let value_bytes = usize::try_from(take(&mut rest)?).ok()?;
    let key_at = at + before - rest.len();
    let value_at = key_at.checked_add(key_bytes)?;
    if shared > key.len() {
        return None;
    }
    key.truncate(shared);
    key.extend_from_slice(plain.get(key_at..value_at)?);
    let value_end = value_at.checked_add(value_bytes.saturating_sub(1))?;
    plain.get(value_at..value_end)?;
    Some(Entry {
        version,
        value: (value_bytes > 0).then_some((value_at, value_end)),
        next: value_end,
    })
}

/// Appends a number.
pub(super) fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Takes a number from the front.
pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..NUMBER_BYTES_MAX {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7F).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (Vec<u8>, Version, Option<Vec<u8>>);

    fn read(plain: &[u8]) -> Option<Vec<Row>> {
        let (mut at, mut key, mut rows) = (0, Vec::new(), Vec::new());
        while at < plain.len() {
            let entry = entry_at(plain, at, &mut key)?;
            let value = entry.value.map(|(from, to)| plain[from..to].to_vec());
            rows.push((key.clone(), entry.version, value));
            at = entry.next;
        }
        Some(rows)
    }

    proptest! {
        #[test]
        fn what_is_packed_reads_back(rows: std::collections::BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>) {
            let mut packer = Packer::default();
            for (key, (version, value)) in &rows {
                packer.push(key, *version, value.as_deref());
            }
            let mut plain = Vec::new();
            prop_assert_eq!(unseal(&packer.seal(), &mut plain), Ok(()));
            let wanted: Vec<Row> = rows.into_iter().map(|(key, (version, value))| (key, version, value)).collect();
            prop_assert_eq!(read(&plain), Some(wanted));
        }

        #[test]
        fn whatever_bytes_are_read_nothing_panics(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = unseal(&bytes, &mut Vec::new());
            let sealed = envelope::seal(KIND, FORMAT, &bytes);
            let _ = unseal(&sealed, &mut Vec::new());
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut packer = Packer::default();
        packer.push(b"key", 7, Some(b"value"));
        let sealed = packer.seal();
        for at in 0..sealed.len() {
            let mut struck = sealed.clone();
            struck[at] ^= 16;
            assert!(unseal(&struck, &mut Vec::new()).is_err(), "{at}");
        }
    }
}
