//! Rows as they lie in a file of the journal: one after another, each after its length.
//!
//! Invariant: what does not read is passed over up to the next row that does, and told of; nothing is taken for what it is not, since every row is
//! sealed.

use std::path::Path;

use super::failed;
use crate::store::StoreError;
use crate::store::sled::journal::{self, Group, Place, ROW_BYTES_MAX, Row};

/// Bytes of a length.
pub(in crate::store::sled) const LENGTH_BYTES: usize = 4;
/// Longest row there can be: a stretch with its number, place and envelope.
const FRAME_BYTES_MAX: usize = ROW_BYTES_MAX + 64;

/// Rows as they lie in a file: each after its length.
pub(in crate::store::sled) fn framed(groups: &[Group]) -> Vec<u8> {
    let rows = || groups.iter().flatten();
    let mut bytes = Vec::with_capacity(rows().map(|row| LENGTH_BYTES + row.bytes.len()).sum());
    for row in rows() {
        // Bounded by [`FRAME_BYTES_MAX`].
        bytes.extend_from_slice(&(row.bytes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&row.bytes);
    }
    bytes
}

/// What lies between one length of a file and the next.
pub(in crate::store::sled) enum Frame {
    /// A row with its place, and the number up to which all rows were durable before it was written.
    Row(Row, Place, u64),
    /// Something else; bytes of it.
    Unreadable(u64),
}

/// What lies in a file, one after another. Behind what does not read it goes on with the next row that does.
pub(in crate::store::sled) struct Frames {
    bytes: Vec<u8>,
    /// Where the frame read last ends, bytes.
    pub(in crate::store::sled) position: usize,
}

// === impl Frames ===

impl Frames {
    pub(in crate::store::sled) fn open(path: &Path) -> Result<Frames, StoreError> {
        let bytes = std::fs::read(path).map_err(|error| failed(path, &error))?;
        Ok(Frames { bytes, position: 0 })
    }

    /// What comes next; `None` at the end of the file.
    ///
    /// # Errors
    /// A row is of a newer format.
    pub(in crate::store::sled) fn next(&mut self) -> Result<Option<Frame>, StoreError> {
        let from = self.position;
        if let Some(frame) = self.row_at(from)? {
            return Ok(Some(frame));
        }
        while self.position < self.bytes.len() {
            self.position += 1;
            let at = self.position;
            if self.row_at(at)?.is_some() {
                self.position = at;
                break;
            }
        }
        let bytes = self.position - from;
        Ok((bytes > 0).then_some(Frame::Unreadable(bytes as u64)))
    }

    /// The row that begins at a place, if one does; reading goes on behind it.
    fn row_at(&mut self, at: usize) -> Result<Option<Frame>, StoreError> {
        let Some((length, rest)) = self
            .bytes
            .get(at..)
            .and_then(|rest| rest.split_first_chunk::<LENGTH_BYTES>())
        else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        let sealed = rest
            .get(..length)
            .filter(|sealed| length <= FRAME_BYTES_MAX && journal::begins_row(sealed));
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        match journal::read(sealed) {
            Ok(read) => {
                let row = Row {
                    number: read.number,
                    bytes: sealed.to_vec(),
                };
                self.position = at + LENGTH_BYTES + length;
                Ok(Some(Frame::Row(row, read.place, read.durable)))
            }
            Err(newer @ StoreError::NewerFormat { .. }) => Err(newer),
            Err(_) => Ok(None),
        }
    }
}
