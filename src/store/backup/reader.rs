//! Reading a backup, block by block.
//!
//! Invariant: rows given before the end are good each for themselves, but only [`BackupReader::next_block`]'s `None` says that the file was whole;
//! whoever must not use a part of a file reads it to the end first ([`BackupReader::verify`]).

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::frame::{self, BLOCK_BYTES, END, HEADER, MAGIC, ROWS};
use super::{BackupError, FORMAT, Manifest, Totals};
use crate::store::{KEY_BYTES_MAX, SnapshotRow, VALUE_BYTES_MAX};

/// Largest block after decompression: one that was nearly full before its last row.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX + 64;

/// A backup being read.
pub struct BackupReader<R> {
    source: R,
    manifest: Manifest,
    hasher: blake3::Hasher,
    at: u64,
    totals: Totals,
    ended: bool,
}

impl<R: Read> BackupReader<R> {
    /// Reads the manifest.
    ///
    /// # Errors
    /// No backup, a damaged one, or one of a newer format.
    pub fn open(mut source: R) -> Result<Self, BackupError> {
        let mut magic = [0; 8];
        let found = source.read_exact(&mut magic).is_ok() && magic == MAGIC;
        if !found {
            return Err(damaged(0, "this is no backup file of hermod"));
        }
        let (kind, payload) = frame::read(&mut source, 8)?;
        let manifest = (kind == HEADER)
            .then(|| serde_json::from_slice::<serde_json::Value>(&payload).ok())
            .flatten()
            .ok_or_else(|| damaged(8, "it does not begin with a manifest"))?;
        let format = manifest.get("format").and_then(serde_json::Value::as_u64);
        if let Some(found) = format.filter(|found| *found > u64::from(FORMAT)) {
            return Err(BackupError::NewerFormat {
                found: u32::try_from(found).unwrap_or(u32::MAX),
            });
        }
        let manifest: Manifest = serde_json::from_value(manifest)
            .map_err(|error| damaged(8, format!("its manifest does not read: {error}")))?;
        let mut reader = BackupReader {
            source,
            manifest,
            hasher: blake3::Hasher::new(),
            at: 8,
            totals: Totals::default(),
            ended: false,
        };
        reader.hasher.update(&MAGIC);
        reader.pass(HEADER, &payload)?;
        Ok(reader)
    }

    /// What the backup says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Some rows; `None` once the end was read and the whole found in order.
    ///
    /// # Errors
    /// Damage, and a file that ends too early or goes on after its end.
    pub fn next_block(&mut self) -> Result<Option<Vec<SnapshotRow>>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        let (kind, payload) = frame::read(&mut self.source, self.at)?;
        match kind {
            ROWS => {
                let rows = self.rows(&payload)?;
                self.pass(kind, &payload)?;
                Ok(Some(rows))
            }
            END => self.end(&payload).map(|()| None),
            other => Err(damaged(self.at, format!("a frame of unknown type {other}"))),
        }
    }

    /// Reads to the end; what the whole holds.
    ///
    /// # Errors
    /// As [`BackupReader::next_block`].
    pub fn verify(mut self) -> Result<(Manifest, Totals), BackupError> {
        while self.next_block()?.is_some() {}
        Ok((self.manifest, self.totals))
    }

    /// What was read so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn rows(&mut self, payload: &[u8]) -> Result<Vec<SnapshotRow>, BackupError> {
        let mut block = Vec::new();
        let unreadable = |at| damaged(at, "a block does not decompress");
        DeflateDecoder::new(payload)
            .take(BLOCK_BYTES_MAX as u64 + 1)
            .read_to_end(&mut block)
            .map_err(|_| unreadable(self.at))?;
        if block.len() > BLOCK_BYTES_MAX {
            return Err(unreadable(self.at));
        }
        let (mut rows, mut rest) = (Vec::new(), block.as_slice());
        while !rest.is_empty() {
            let (row, after) = frame::next_row(rest)
                .filter(|(row, _)| row.partition.0 < self.manifest.partitions)
                .ok_or_else(|| damaged(self.at, "a block does not read as rows"))?;
            self.totals.rows += 1;
            self.totals.row_bytes += (row.key.len() + row.stored.value.len()) as u64;
            rows.push(row);
            rest = after;
        }
        Ok(rows)
    }

    fn end(&mut self, payload: &[u8]) -> Result<(), BackupError> {
        let mut expected = Vec::with_capacity(48);
        expected.extend_from_slice(&self.totals.rows.to_le_bytes());
        expected.extend_from_slice(&self.totals.row_bytes.to_le_bytes());
        expected.extend_from_slice(self.hasher.finalize().as_bytes());
        if payload != expected {
            return Err(damaged(
                self.at,
                "its rows or its hash are not those of its end",
            ));
        }
        if self.source.read(&mut [0])? > 0 {
            return Err(damaged(self.at, "it goes on after its end"));
        }
        self.ended = true;
        Ok(())
    }

    /// Takes a frame into the hash.
    fn pass(&mut self, kind: u8, payload: &[u8]) -> Result<(), BackupError> {
        let sealed = frame::seal(kind, payload)?;
        self.hasher.update(&sealed);
        self.at += sealed.len() as u64;
        Ok(())
    }
}

fn damaged(at: u64, what: impl Into<String>) -> BackupError {
    BackupError::Damaged {
        at,
        what: what.into(),
    }
}
