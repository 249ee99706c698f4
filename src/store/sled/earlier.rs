//! Stores from before there were runs: one row of sled per record, a large value in pieces beside it. They are moved into a run at the first opening.
//!
//! Invariant: nothing of the old trees is changed until the run that holds all of it is durable and named; a stop in between leaves a store that
//! is moved at the next opening, or whose old trees are removed then.

use ::sled::{Db, Tree};

use super::digest::{self, Difference, Digests};
use super::guarded::guarded;
use super::meta::EarlierFold;
use crate::store::runs::{Run, Runs, full_key, split};
use crate::store::{Bytes, StoreError, Stored, Version};

const ROWS: &str = "records";
const PIECES: &str = "pieces";

/// The two trees.
pub(super) struct Earlier {
    rows: Tree,
    pieces: Tree,
}

struct Header {
    version: Version,
    /// 0 when the value is in the row.
    pieces: u32,
}

/// Whether there are such trees.
pub(super) fn is_there(database: &Db) -> bool {
    let names = database.tree_names();
    names.iter().any(|name| name.as_ref() == ROWS.as_bytes())
}

/// Removes the trees.
pub(super) fn remove(database: &Db) -> Result<(), StoreError> {
    for name in [PIECES, ROWS] {
        guarded(|| database.drop_tree(name))?;
    }
    Ok(())
}

impl Earlier {
    /// Opens the trees.
    pub(super) fn open(database: &Db) -> Result<Earlier, StoreError> {
        let tree = |name: &str| guarded(|| database.open_tree(name));
        Ok(Earlier {
            rows: tree(ROWS)?,
            pieces: tree(PIECES)?,
        })
    }

    /// The tree of the rows.
    pub(super) fn rows(&self) -> &Tree {
        &self.rows
    }

    /// Moves everything into a run. Refused where something cannot be read, or is not what was last written.
    pub(super) fn move_to(
        &self,
        runs: &Runs,
        partitions: u16,
        folded: &EarlierFold,
        place: &std::path::Path,
    ) -> Result<Run, StoreError> {
        let entries = guarded(|| Ok(self.rows.len()))?;
        let mut writer = runs.writer(entries as u64)?;
        let mut digests = Digests::of_nothing(partitions);
        let mut rows = self.rows.iter();
        while let Some((full, row)) = guarded(|| rows.next().transpose())? {
            let (partition, key) = split(&full).unwrap_or_default();
            digests.add(difference(partition, key, &row));
            let stored = self.assemble(partition, key, &row)?;
            writer.push(&full, stored.version, Some(&stored.value))?;
        }
        digests.compare(folded, place)?;
        writer.finish()
    }

    /// The value of a key.
    pub(super) fn read(&self, partition: u16, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        let row = guarded(|| self.rows.get(full_key(partition, key)))?;
        row.map(|row| self.assemble(partition, key, &row))
            .transpose()
    }

    /// What one row adds to the digest of its partition.
    pub(super) fn difference(&self, partition: u16, key: &[u8]) -> Result<Difference, StoreError> {
        let row = guarded(|| self.rows.get(full_key(partition, key)))?;
        Ok(difference(partition, key, &row.unwrap_or_default()))
    }

    /// The value a row stands for.
    fn assemble(&self, partition: u16, key: &[u8], row: &[u8]) -> Result<Stored, StoreError> {
        let wrong = |what: String| StoreError::record(partition, key, what);
        let Some((header, inline)) = Header::decode(row) else {
            let bytes = row.len();
            return Err(wrong(format!(
                "{bytes} bytes are too short for a stored value"
            )));
        };
        let version = header.version;
        let mut value = inline.to_vec();
        for index in 0..header.pieces {
            let piece = guarded(|| self.pieces.get(piece_key(partition, key, version, index)))?;
            let piece = piece.ok_or_else(|| wrong("pieces of its value are missing".to_owned()))?;
            value.extend_from_slice(&piece);
        }
        Ok(Stored {
            version,
            value: Bytes::from(value),
        })
    }
}

impl Header {
    fn decode(row: &[u8]) -> Option<(Header, &[u8])> {
        let (version, row) = row.split_first_chunk::<8>()?;
        let (pieces, inline) = row.split_first_chunk::<4>()?;
        Some((
            Header {
                version: u64::from_le_bytes(*version),
                pieces: u32::from_le_bytes(*pieces),
            },
            inline,
        ))
    }
}

fn difference(partition: u16, key: &[u8], row: &[u8]) -> Difference {
    let version = Header::decode(row).map_or(0, |(header, _)| header.version);
    Difference {
        partition,
        amount: digest::term(partition, key, version),
    }
}

/// The length keeps the pieces of a key apart from those of a key it begins.
fn piece_key(partition: u16, key: &[u8], version: Version, index: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + 2 + key.len() + 8 + 4);
    bytes.extend_from_slice(&partition.to_be_bytes());
    bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes
}
