//! The records on disk: one row per key, a large value in pieces beside it.
//!
//! Invariant: no row is large, so sled never moves a page into a file of its own, which it would not sync and whose failed writing stops its flush for
//! ever (seen). Pieces are written before the row that names them and carry its version, so a row is never seen with the pieces of another.

use std::ops::Bound;
use std::sync::atomic::{AtomicU16, Ordering};

use ::sled::{Db, Tree};

use super::digest::{self, Difference, Digests};
use super::disk::guarded;
use super::journal::Entry;
use crate::store::{Bytes, KEY_BYTES_MAX, StoreError, Stored, Version};

/// Largest value kept in its row, and largest piece, bytes.
const PIECE_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 8 + 4;
/// Looks at a row whose pieces keep being replaced by newer ones.
const LOOKS_MAX: usize = 8;

/// The two trees.
pub(super) struct Records {
    rows: Tree,
    pieces: Tree,
}

/// What folding values changed.
#[derive(Debug, Default)]
pub(super) struct Grown {
    /// Keys there are more.
    pub(super) keys: i64,
    /// One for each value.
    pub(super) digests: Vec<Difference>,
}

impl Grown {
    fn note(&mut self, entry: &Entry, old: Option<&[u8]>) {
        let (partition, key) = (entry.partition, &entry.key);
        let is = entry.value.as_ref().map(|_| entry.version);
        let was = old.map(|old| Header::decode(old).map_or(0, |(header, _)| header.version));
        let of = |version: Option<Version>| {
            version.map_or(0, |version| digest::term(partition, key, version))
        };
        self.keys += i64::from(is.is_some()) - i64::from(was.is_some());
        self.digests.push(Difference {
            partition,
            amount: of(is).wrapping_sub(of(was)),
        });
    }
}

struct Header {
    version: Version,
    /// 0 when the value is in the row.
    pieces: u32,
}

impl Records {
    /// Opens or creates the trees.
    pub(super) fn open(database: &Db) -> Result<Records, StoreError> {
        let tree = |name: &str| guarded(|| database.open_tree(name));
        Ok(Records {
            rows: tree("records")?,
            pieces: tree("pieces")?,
        })
    }

    /// The value of a key.
    pub(super) fn read(&self, partition: u16, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        for _ in 0..LOOKS_MAX {
            let Some(row) = guarded(|| self.rows.get(row_key(partition, key)))? else {
                return Ok(None);
            };
            let stored = self.assemble(partition, key, &row)?;
            if stored.is_some() {
                return Ok(stored);
            }
        }
        Err(StoreError::record(
            partition,
            key,
            "pieces of its value are missing",
        ))
    }

    /// What the records come to, and what cannot be read; its partition is left out. All cores read, since whoever asks waits for it.
    pub(super) fn digests(&self, partitions: u16) -> (Digests, Vec<StoreError>) {
        let next = AtomicU16::new(0);
        let work = || {
            let of_next = || next.fetch_add(1, Ordering::Relaxed);
            std::iter::repeat_with(of_next)
                .take_while(|partition| *partition < partitions)
                .map(|partition| (partition, self.added_up(partition)))
                .collect::<Vec<_>>()
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sums = std::thread::scope(|scope| {
            let others: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
            let own = work();
            // Reading does not unwind: whatever sled does is caught where it is called.
            let others = others.into_iter().filter_map(|other| other.join().ok());
            others.flatten().chain(own).collect::<Vec<_>>()
        });
        let (mut digests, mut unreadable) = (Digests::of_nothing(partitions), Vec::new());
        for (partition, sum) in sums {
            match sum {
                Ok(amount) => digests.add(Difference { partition, amount }),
                Err(error) => {
                    digests.forget(partition);
                    unreadable.push(error);
                }
            }
        }
        (digests, unreadable)
    }

    fn added_up(&self, partition: u16) -> Result<u64, StoreError> {
        let to = row_key(partition, &[0xFF; KEY_BYTES_MAX + 1]);
        let mut rows = self.rows.range(row_key(partition, &[])..to);
        let mut sum = 0_u64;
        while let Some((key, row)) = guarded(|| rows.next().transpose())? {
            let key = key.get(2..).unwrap_or_default();
            if Header::decode(&row).is_none() {
                return Err(StoreError::record(partition, key, "it is no stored value"));
            }
            sum = sum.wrapping_add(difference(partition, key, &row).amount);
        }
        Ok(sum)
    }

    /// What one record adds to the digest of its partition.
    pub(super) fn difference(&self, partition: u16, key: &[u8]) -> Result<Difference, StoreError> {
        let row = guarded(|| self.rows.get(row_key(partition, key)))?;
        Ok(difference(partition, key, &row.unwrap_or_default()))
    }

    /// Values of a partition in ascending order of keys, from a bound on.
    pub(super) fn range(
        &self,
        partition: u16,
        from: Bound<&[u8]>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Stored), StoreError>> {
        // A longer key of 0xFF alone than any may be lies behind every key of the partition.
        let to = row_key(partition, &[0xFF; KEY_BYTES_MAX + 1]);
        let from = match from {
            // The first key of the partition, not of the tree.
            Bound::Unbounded => Bound::Included(row_key(partition, &[])),
            bound => bound.map(|key| row_key(partition, key)),
        };
        let mut rows = self.rows.range((from, Bound::Excluded(to)));
        let next = move || guarded(|| rows.next().transpose()).transpose();
        std::iter::from_fn(next).filter_map(move |row| self.listed(partition, row).transpose())
    }

    /// The keys of a partition that begin so, in ascending order, whether or not their values can be read.
    pub(super) fn keys_under(
        &self,
        partition: u16,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> {
        let mut rows = self.rows.scan_prefix(row_key(partition, prefix)).keys();
        let next = move || guarded(|| rows.next().transpose()).transpose();
        std::iter::from_fn(next).map(|key| Ok(key?.get(2..).unwrap_or_default().to_vec()))
    }

    fn listed(
        &self,
        partition: u16,
        row: Result<(::sled::IVec, ::sled::IVec), StoreError>,
    ) -> Result<Option<(Vec<u8>, Stored)>, StoreError> {
        let (key, row) = row?;
        let key = key.get(2..).unwrap_or_default().to_vec();
        let stored = match self.assemble(partition, &key, &row)? {
            // Replaced since it was listed: what is there now counts.
            None => self.read(partition, &key)?,
            stored => stored,
        };
        Ok(stored.map(|stored| (key, stored)))
    }

    /// The value a row stands for; `None` when its pieces were replaced meanwhile.
    fn assemble(
        &self,
        partition: u16,
        key: &[u8],
        row: &[u8],
    ) -> Result<Option<Stored>, StoreError> {
        let Some((header, inline)) = Header::decode(row) else {
            return Err(StoreError::record(
                partition,
                key,
                format!("{} bytes are too short for a stored value", row.len()),
            ));
        };
        let version = header.version;
        if header.pieces == 0 {
            return Ok(Some(Stored {
                version,
                value: Bytes::from(inline),
            }));
        }
        let mut value = Vec::new();
        for index in 0..header.pieces {
            match guarded(|| self.pieces.get(piece_key(partition, key, version, index)))? {
                Some(piece) => value.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
        Ok(Some(Stored {
            version,
            value: Bytes::from(value),
        }))
    }

    /// Writes values; what that changes. Not atomic: the journal holds them until they are durable here.
    pub(super) fn fold(&self, entries: &[Entry]) -> Result<Grown, StoreError> {
        let mut grown = Grown::default();
        for entry in entries {
            let key = row_key(entry.partition, &entry.key);
            let old = match &entry.value {
                Some(value) => {
                    let row = self.write_pieces(entry, value)?;
                    guarded(|| self.rows.insert(&key, row))?
                }
                None => guarded(|| self.rows.remove(&key))?,
            };
            grown.note(entry, old.as_deref());
            if old
                .is_some_and(|old| Header::decode(&old).is_none_or(|(header, _)| header.pieces > 0))
            {
                self.remove_pieces_before(entry)?;
            }
        }
        Ok(grown)
    }

    /// Writes the pieces of a large value; the row for it.
    fn write_pieces(&self, entry: &Entry, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let version = entry.version;
        if value.len() <= PIECE_BYTES {
            return Ok(Header { version, pieces: 0 }.encode(value));
        }
        let mut pieces = 0;
        for piece in value.chunks(PIECE_BYTES) {
            guarded(|| {
                self.pieces.insert(
                    piece_key(entry.partition, &entry.key, version, pieces),
                    piece,
                )
            })?;
            pieces += 1;
        }
        Ok(Header { version, pieces }.encode(&[]))
    }

    fn remove_pieces_before(&self, entry: &Entry) -> Result<(), StoreError> {
        let from = piece_key(entry.partition, &entry.key, 0, 0);
        let to = piece_key(entry.partition, &entry.key, entry.version, 0);
        let mut old = self.pieces.range(from..to).keys();
        while let Some(key) = guarded(|| old.next().transpose())? {
            guarded(|| self.pieces.remove(key))?;
        }
        Ok(())
    }
}

impl Header {
    fn encode(&self, inline: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(HEADER_BYTES + inline.len());
        row.extend_from_slice(&self.version.to_le_bytes());
        row.extend_from_slice(&self.pieces.to_le_bytes());
        row.extend_from_slice(inline);
        row
    }

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

fn row_key(partition: u16, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + key.len());
    bytes.extend_from_slice(&partition.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
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
