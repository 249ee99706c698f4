//! Rows as they lie in a file of the journal: one after another, each after its length.
//!
//! Invariant: what does not read is passed over as far as its length leads, and told of; nothing behind it is taken for what it is not, since every row
//! is sealed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::failed;
use crate::store::StoreError;
use crate::store::sled::journal::{self, Group, Place, ROW_BYTES_MAX, Row};

/// Bytes of a length.
pub(in crate::store::sled) const LENGTH_BYTES: usize = 4;
/// Longest row there can be: a stretch with its number, place and envelope.
const FRAME_BYTES_MAX: u64 = ROW_BYTES_MAX as u64 + 64;
const READ_BYTES: usize = 256 * 1024;

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

/// What lies in a file, one after another, as far as the lengths lead.
pub(in crate::store::sled) struct Frames {
    reader: BufReader<File>,
    path: PathBuf,
    length: u64,
    /// Where the frame read last ends, bytes.
    pub(in crate::store::sled) position: u64,
}

// === impl Frames ===

impl Frames {
    pub(in crate::store::sled) fn open(path: &Path) -> Result<Frames, StoreError> {
        let file = File::open(path).map_err(|error| failed(path, &error))?;
        let length = file.metadata().map_err(|error| failed(path, &error))?.len();
        Ok(Frames {
            reader: BufReader::with_capacity(READ_BYTES, file),
            path: path.to_owned(),
            length,
            position: 0,
        })
    }

    /// What comes next; `None` at the end of the file.
    ///
    /// # Errors
    /// The disk does not answer, or a row is of a newer format.
    pub(in crate::store::sled) fn next(&mut self) -> Result<Option<Frame>, StoreError> {
        let left = self.length - self.position;
        let mut length = [0; LENGTH_BYTES];
        if left > LENGTH_BYTES as u64 {
            self.fill(&mut length)?;
        }
        let length = u32::from_le_bytes(length);
        let bytes_max = left
            .saturating_sub(LENGTH_BYTES as u64)
            .min(FRAME_BYTES_MAX);
        if length == 0 || u64::from(length) > bytes_max {
            // Where the next one begins is not known.
            self.position = self.length;
            return Ok((left > 0).then_some(Frame::Unreadable(left)));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        let all = LENGTH_BYTES as u64 + u64::from(length);
        self.position += all;
        match journal::read(&bytes) {
            Ok(read) => {
                let (number, place, durable) = (read.number, read.place, read.durable);
                Ok(Some(Frame::Row(Row { number, bytes }, place, durable)))
            }
            Err(newer @ StoreError::NewerFormat { .. }) => Err(newer),
            Err(_) => Ok(Some(Frame::Unreadable(all))),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.reader
            .read_exact(bytes)
            .map_err(|error| failed(&self.path, &error))
    }
}
