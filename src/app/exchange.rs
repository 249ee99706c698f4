//! Export and import: everything a store holds as lines of JSON that other programs can read and write, described in `docs/formats.md`.
//!
//! Invariant: nothing is rounded: each line is read back when it is written, and carries the stored bytes as well where its fields alone would not
//! give them again. Parts of sums that lie in several partitions are one line, so a store may be imported with another number of partitions.
mod import;
mod place;

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::backup::{BackupError, Manifest};
use crate::store::records::MergeRecords;
use crate::store::records::key;
use crate::store::records::kinds::{RecordKind, kind_of};
use crate::store::{Merge as _, SnapshotRow, StoreError};

pub(super) use import::partition_of;
pub use import::{ImportError, Imported, import};
pub(super) use place::place;

/// Version of the lines that this program writes, and the newest it reads.
pub const EXPORT_VERSION: u32 = 1;
/// The kind of the first line.
const HEADER: &str = "hermod export";
/// The kind of the last line.
const END: &str = "end";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    kind: String,
    /// Version of the lines.
    pub version: u32,
    /// Version of the program that wrote them.
    pub program: String,
    /// The moment they hold, milliseconds since 1970.
    pub created_at_ms: i64,
    /// Partitions of the store they are from.
    pub partitions: u16,
    /// Fingerprint of the key that recipients are hashed with.
    pub recipient_key_fingerprint: String,
}

/// One record.
#[derive(Serialize, Deserialize)]
struct Line {
    kind: String,
    /// Format version of the fields in `value`.
    format: u8,
    /// The key, hexadecimal.
    key: String,
    /// The key taken apart; for readers only.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    place: Value,
    /// The fields.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    value: Value,
    /// The stored bytes, where the fields do not give them again or a content hash rests on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct End {
    kind: String,
    records: u64,
}

/// What an export holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines by kind.
    pub records: BTreeMap<&'static str, u64>,
    /// Rows that could not be read and are not in it: where, and why.
    pub unreadable: Vec<String>,
}

/// Writes every row that `next` gives, until it gives none. Blocks.
///
/// # Errors
/// `next` fails, or the sink cannot be written. Rows that cannot be read are told of in the answer.
pub fn export<W: Write>(
    manifest: &Manifest,
    mut next: impl FnMut() -> Result<Vec<SnapshotRow>, BackupError>,
    sink: W,
) -> Result<Exported, BackupError> {
    let mut exporter = Exporter {
        sink,
        sums: BTreeMap::new(),
        exported: Exported::default(),
    };
    exporter.write(&ExportHeader {
        kind: HEADER.to_owned(),
        version: EXPORT_VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at_ms: manifest.created_at_ms,
        partitions: manifest.partitions,
        recipient_key_fingerprint: manifest.recipient_key_fingerprint.clone(),
    })?;
    loop {
        let rows = next()?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            exporter.take(row)?;
        }
    }
    exporter.finish()
}

struct Exporter<W> {
    sink: W,
    /// Parts of sums, by key. They are few: the server holds them in memory all the time.
    sums: BTreeMap<Vec<u8>, Vec<u8>>,
    exported: Exported,
}

// === impl Exporter ===

impl<W: Write> Exporter<W> {
    fn take(&mut self, row: &SnapshotRow) -> Result<(), BackupError> {
        let stored = row.stored.value.as_ref();
        let kind = match kind_of(stored) {
            Ok(kind) => kind,
            Err(error) => {
                self.note(row, &error);
                return Ok(());
            }
        };
        if !kind.is_additive {
            return match line(kind, &row.key, stored) {
                Ok(line) => self.record(kind, &line),
                Err(error) => {
                    self.note(row, &error);
                    Ok(())
                }
            };
        }
        let before = self.sums.get(row.key.as_ref()).map(Vec::as_slice);
        match MergeRecords.merge(&row.key, before, stored) {
            Ok(Some(sum)) => {
                self.sums.insert(row.key.to_vec(), sum);
            }
            Ok(None) => {
                self.sums.remove(row.key.as_ref());
            }
            Err(error) => self.note(row, &error),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Exported, BackupError> {
        for (key, sum) in std::mem::take(&mut self.sums) {
            let kind = kind_of(&sum)?;
            let line = line(kind, &key, &sum)?;
            self.record(kind, &line)?;
        }
        let records = self.exported.records.values().sum();
        self.write(&End {
            kind: END.to_owned(),
            records,
        })?;
        self.sink.flush()?;
        Ok(self.exported)
    }

    fn record(&mut self, kind: RecordKind, line: &Line) -> Result<(), BackupError> {
        *self.exported.records.entry(kind.name).or_default() += 1;
        self.write(line)
    }

    fn note(&mut self, row: &SnapshotRow, error: &impl std::fmt::Display) {
        let place = format!("partition {} key {}", row.partition.0, hex(&row.key));
        self.exported.unreadable.push(format!("{place}: {error}"));
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), BackupError> {
        serde_json::to_writer(&mut self.sink, line).map_err(std::io::Error::from)?;
        self.sink.write_all(b"\n")?;
        Ok(())
    }
}

/// The line of a record, read back for comparison.
fn line(kind: RecordKind, key: &[u8], stored: &[u8]) -> Result<Line, StoreError> {
    let value = kind.to_json(stored)?;
    let text = value.to_string();
    let again = serde_json::from_str(&text)
        .map_err(|error| StoreError::Corrupt {
            what: error.to_string(),
            place: kind.name.to_owned(),
        })
        .and_then(|value| kind.from_json(value));
    // An older format is written anew in the present one; its fields must still come out alike.
    let is_kept = match &again {
        Ok(again) if stored.get(1) == Some(&kind.version) => again == stored,
        Ok(again) => kind.to_json(again)? == value,
        Err(_) => false,
    };
    let is_named_by_content = key.starts_with(key::GROUNDS);
    Ok(Line {
        kind: kind.name.to_owned(),
        format: kind.version,
        key: hex(key),
        place: place(key).unwrap_or(Value::Null),
        value,
        bytes: (!is_kept || is_named_by_content).then(|| BASE64.encode(stored)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
