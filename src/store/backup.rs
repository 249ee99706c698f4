//! Backup files: every row of a snapshot in one compressed, checksummed file, described in `docs/formats.md`.
//!
//! Invariant: a file reads back whole or not at all: each frame has a checksum, the last one the hash of all before it and their number of rows,
//! and a file without it is refused. What the rows mean is left to the layers above; where files are kept, to [`shelf`].

mod frame;
mod reader;
pub mod shelf;
mod writer;

use serde::{Deserialize, Serialize};

pub use reader::BackupReader;
pub use writer::BackupWriter;

use super::{Engine, StoreError};

/// Format that this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// What a backup says of itself, in its first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the file.
    pub format: u32,
    /// The backup's name.
    pub name: String,
    /// Version of the program that wrote it.
    pub program: String,
    /// The moment it holds, milliseconds since 1970.
    pub created_at_ms: i64,
    /// Partitions of the store; the rows say in which of them they lie.
    pub partitions: u16,
    /// By partition: the commit sequence up to which everything is in it.
    pub sequences: Vec<u64>,
    /// Fingerprint of the key that recipients are hashed with, 32 hexadecimal digits; empty for a store that never had one.
    pub recipient_key_fingerprint: String,
}

/// What a whole backup holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// Bytes of their keys and values, before compression.
    pub row_bytes: u64,
}

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system refuses.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is not what was once written, or not all of it.
    #[error("the backup is damaged at byte {at}: {what}; fetch it again or take another")]
    Damaged {
        /// Offset of the frame, bytes.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// Written by a newer program than this.
    #[error(
        "the backup has format {found}, this program reads up to format {FORMAT}: use the newer program that wrote it"
    )]
    NewerFormat {
        /// Format found.
        found: u32,
    },
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody asked for the end.
    #[error("it was stopped")]
    Stopped,
}

/// Writes a snapshot of the engine. `progress` is told the rows so far, and ends it by answering false. Blocks.
///
/// # Errors
/// The engine cannot be read, the sink cannot be written, or it was stopped.
pub fn write_snapshot<W: std::io::Write>(
    engine: &dyn Engine,
    manifest: Manifest,
    sink: W,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<(Manifest, Totals, f64), BackupError> {
    let mut snapshot = engine.snapshot().wait()?;
    let manifest = Manifest {
        partitions: engine.partitions(),
        sequences: snapshot.sequences.clone(),
        ..manifest
    };
    let mut writer = BackupWriter::new(sink, &manifest)?;
    loop {
        let rows = snapshot.rows.next_rows()?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            writer.push(row)?;
        }
        if !progress(writer.totals().rows) {
            return Err(BackupError::Stopped);
        }
    }
    let held_up = snapshot.held_up_seconds;
    drop(snapshot);
    let totals = writer.finish()?;
    Ok((manifest, totals, held_up))
}

#[cfg(test)]
mod tests;
