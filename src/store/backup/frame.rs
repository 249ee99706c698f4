//! Frames: `[type u8][length u32 LE][crc32 u32 LE][payload]`, behind eight bytes that say what the file is.
//!
//! Invariant: the checksum covers type, length and payload; no frame is longer than [`FRAME_BYTES_MAX`], so reading one takes bounded memory.

use std::io::{self, Read, Write};

use super::BackupError;
use crate::store::{Bytes, Partition, SnapshotRow, Stored};

/// First bytes of every backup.
pub(super) const MAGIC: [u8; 8] = *b"HERMODBK";
/// The manifest, as JSON.
pub(super) const HEADER: u8 = 1;
/// A compressed block of rows.
pub(super) const ROWS: u8 = 2;
/// Rows and bytes in all, and the hash of everything before.
pub(super) const END: u8 = 3;

/// Longest payload, bytes.
pub(super) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rows are compressed together once they have so many bytes.
pub(super) const BLOCK_BYTES: usize = 512 * 1024;
const ROW_HEADER_BYTES: usize = 2 + 8 + 2 + 4;

fn checksum(kind: u8, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The frame of a payload.
pub(super) fn seal(kind: u8, payload: &[u8]) -> Result<Vec<u8>, BackupError> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::other("a frame of a backup would be too long"))?;
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(kind, length, payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Reads a frame at an offset: its type and payload.
pub(super) fn read(source: &mut impl Read, at: u64) -> Result<(u8, Vec<u8>), BackupError> {
    let damaged = |what: &str| BackupError::Damaged {
        at,
        what: what.to_owned(),
    };
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends here, before its end"),
        _ => BackupError::Io(error),
    };
    let mut header = [0; 9];
    source.read_exact(&mut header).map_err(cut)?;
    let [kind, a, b, c, d, e, f, g, h] = header;
    let (length, found) = (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    );
    let bytes = length as usize;
    if bytes > FRAME_BYTES_MAX {
        return Err(damaged("a frame is longer than any may be"));
    }
    let mut payload = vec![0; bytes];
    source.read_exact(&mut payload).map_err(cut)?;
    if checksum(kind, length, &payload) != found {
        return Err(damaged("the checksum of a frame does not match"));
    }
    Ok((kind, payload))
}

/// Appends a row to a block.
pub(super) fn push_row(block: &mut Vec<u8>, row: &SnapshotRow) -> io::Result<()> {
    let too_long = |_| io::Error::other("a row is longer than any may be");
    let key_bytes = u16::try_from(row.key.len()).map_err(too_long)?;
    let value_bytes = u32::try_from(row.stored.value.len()).map_err(too_long)?;
    block.reserve(ROW_HEADER_BYTES + row.key.len() + row.stored.value.len());
    block.write_all(&row.partition.0.to_le_bytes())?;
    block.write_all(&row.stored.version.to_le_bytes())?;
    block.write_all(&key_bytes.to_le_bytes())?;
    block.write_all(&value_bytes.to_le_bytes())?;
    block.write_all(&row.key)?;
    block.write_all(&row.stored.value)
}

/// Takes the next row off a block; `None` when the block does not read as rows.
pub(super) fn next_row(rest: &[u8]) -> Option<(SnapshotRow, &[u8])> {
    let (partition, rest) = rest.split_first_chunk::<2>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (key_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_bytes)))?;
    let length = usize::try_from(u32::from_le_bytes(*value_bytes)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    let row = SnapshotRow {
        partition: Partition(u16::from_le_bytes(*partition)),
        key: Bytes::from(key),
        stored: Stored {
            version: u64::from_le_bytes(*version),
            value: Bytes::from(value),
        },
    };
    Some((row, rest))
}
