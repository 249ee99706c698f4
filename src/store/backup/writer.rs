//! Writing a backup: rows are gathered into blocks, each block compressed into a frame, and the whole hashed as it goes by.
//!
//! Invariant: memory does not grow with the store; nothing is a backup before [`BackupWriter::finish`] has answered.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::frame::{self, BLOCK_BYTES, END, HEADER, MAGIC, ROWS};
use super::{BackupError, Manifest, Totals};
use crate::store::SnapshotRow;

/// A backup being written.
pub struct BackupWriter<W> {
    sink: W,
    hasher: blake3::Hasher,
    block: Vec<u8>,
    totals: Totals,
}

impl<W: Write> BackupWriter<W> {
    /// Begins with the manifest.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn new(sink: W, manifest: &Manifest) -> Result<Self, BackupError> {
        let mut writer = BackupWriter {
            sink,
            hasher: blake3::Hasher::new(),
            block: Vec::with_capacity(2 * BLOCK_BYTES),
            totals: Totals::default(),
        };
        writer.write(&MAGIC)?;
        let header = serde_json::to_vec(manifest).map_err(std::io::Error::other)?;
        writer.write(&frame::seal(HEADER, &header)?)?;
        Ok(writer)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn push(&mut self, row: &SnapshotRow) -> Result<(), BackupError> {
        frame::push_row(&mut self.block, row)?;
        self.totals.rows += 1;
        self.totals.row_bytes += (row.key.len() + row.stored.value.len()) as u64;
        if self.block.len() >= BLOCK_BYTES {
            self.flush_block()?;
        }
        Ok(())
    }

    /// What was added so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Writes the end. The caller makes the file durable.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn finish(mut self) -> Result<Totals, BackupError> {
        self.flush_block()?;
        let mut end = Vec::with_capacity(48);
        end.extend_from_slice(&self.totals.rows.to_le_bytes());
        end.extend_from_slice(&self.totals.row_bytes.to_le_bytes());
        end.extend_from_slice(self.hasher.finalize().as_bytes());
        self.write(&frame::seal(END, &end)?)?;
        self.sink.flush()?;
        Ok(self.totals)
    }

    fn flush_block(&mut self) -> Result<(), BackupError> {
        if self.block.is_empty() {
            return Ok(());
        }
        // Fast rather than small: records are mostly numbers, and a better level gains little on them.
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.block)?;
        let compressed = encoder.finish()?;
        self.block.clear();
        self.write(&frame::seal(ROWS, &compressed)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hasher.update(bytes);
        self.sink.write_all(bytes)?;
        Ok(())
    }
}
