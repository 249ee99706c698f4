//! Import: lines of an export into an empty store, of any engine and number of partitions.
//!
//! Invariant: each record goes where the present number of partitions puts it; sums go to one partition, where lines of the same key add up.
//! A file without its last line was cut and is refused; what is in the store by then must not be used.
use std::collections::BTreeMap;
use std::io::BufRead;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{END, EXPORT_VERSION, End, ExportHeader, HEADER, Line, place};
use crate::app::{HOME, Loader};
use crate::domain::decision_log::{LoggedDecision, LoggedOutcome};
use crate::domain::name::RecipientKey;
use crate::domain::recipient::Recipient;
use crate::store::records::kinds::{RecordKind, kind_named, kind_of};
use crate::store::records::{self, RecipientCount, Record as _, key};
use crate::store::{Change, Engine, Partition, StoreError};

/// Longest line taken, bytes: a record of the largest size, as text several times as long.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why an import ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The first line.
    pub header: ExportHeader,
    /// Records by kind.
    pub records: BTreeMap<&'static str, u64>,
}

/// The lines being read.
struct Lines<R> {
    source: R,
    number: u64,
    text: Vec<u8>,
}

/// Imports every line into an empty engine. Blocks.
///
/// # Errors
/// A line that cannot be used, a file that was cut, an engine that refuses.
pub fn import<R: BufRead>(source: R, engine: &dyn Engine) -> Result<Imported, ImportError> {
    let mut lines = Lines {
        source,
        number: 0,
        text: Vec::new(),
    };
    let header = header(&mut lines)?;
    let mut loader = Loader::new(engine);
    let mut records = BTreeMap::new();
    let mut count = 0;
    while lines.advance()? {
        let line: Line = match serde_json::from_slice(&lines.text) {
            Ok(line) => line,
            // The last line has none of a record's fields.
            Err(error) => {
                return lines
                    .end(count, &error)
                    .map(|()| (header, records))
                    .and_then(|(header, records)| {
                        loader.finish()?;
                        Ok(Imported { header, records })
                    });
            }
        };
        let (kind, partition, change) = lines.change(&line, engine.partitions())?;
        if kind.kind != RecipientCount::KIND {
            if kind.kind == Recipient::KIND {
                loader.push(partition, lines.counted(&change)?)?;
            }
            loader.push(partition, change)?;
        }
        *records.entry(kind.name).or_default() += 1;
        count += 1;
    }
    Err(lines.wrong("the file ends before its last line: it was cut"))
}

fn header<R: BufRead>(lines: &mut Lines<R>) -> Result<ExportHeader, ImportError> {
    lines.advance()?;
    let header: ExportHeader = serde_json::from_slice(&lines.text)
        .map_err(|_| lines.wrong("this is no export of hermod"))?;
    if header.kind != HEADER {
        return Err(lines.wrong("this is no export of hermod"));
    }
    if header.version > EXPORT_VERSION {
        return Err(lines.wrong(format!(
            "the export has version {}, this program reads up to {EXPORT_VERSION}: use a newer one",
            header.version
        )));
    }
    Ok(header)
}

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    /// Reads the next line; false at the end of the file.
    fn advance(&mut self) -> Result<bool, ImportError> {
        use std::io::Read as _;
        self.text.clear();
        self.number += 1;
        let mut limited = (&mut self.source).take(LINE_BYTES_MAX);
        let bytes = limited.read_until(b'\n', &mut self.text)? as u64;
        if bytes == LINE_BYTES_MAX {
            return Err(self.wrong("the line is longer than any may be"));
        }
        Ok(bytes > 0)
    }

    fn change(
        &self,
        line: &Line,
        partitions: u16,
    ) -> Result<(RecordKind, Partition, Change), ImportError> {
        let kind = kind_named(&line.kind)
            .ok_or_else(|| self.wrong(format!("records of kind {:?} are not known", line.kind)))?;
        let key = from_hex(&line.key).ok_or_else(|| self.wrong("its key is not hexadecimal"))?;
        if place(&key).is_none() {
            return Err(self.wrong("its key is none that a record has"));
        }
        let value = self.value(kind, line)?;
        let partition =
            partition_of(&key, &value, partitions).map_err(|error| self.wrong(error))?;
        let change = if kind.is_additive {
            Change::Merge {
                key,
                operand: value,
            }
        } else {
            Change::Put {
                key,
                value,
                expected: Some(0),
            }
        };
        Ok((kind, partition, change))
    }

    /// The part of its partition's count that a recipient is: each partition keeps its own, so counts of another number of partitions
    /// are of no use.
    fn counted(&self, recipient: &Change) -> Result<Change, ImportError> {
        let tenant = key::parse::tenant(recipient.key())
            .ok_or_else(|| self.wrong("its key names no tenant"))?;
        Ok(Change::Merge {
            key: key::recipient_count(tenant),
            operand: records::encode(&RecipientCount(1))?,
        })
    }

    fn value(&self, kind: RecordKind, line: &Line) -> Result<Vec<u8>, ImportError> {
        if let Some(text) = &line.bytes {
            let bytes = BASE64
                .decode(text)
                .map_err(|_| self.wrong("its bytes are not base64"))?;
            let found = kind_of(&bytes).map_err(|error| self.wrong(error))?;
            kind.to_json(&bytes).map_err(|error| self.wrong(error))?;
            return if found.kind == kind.kind {
                Ok(bytes)
            } else {
                Err(self.wrong("its bytes are of another kind"))
            };
        }
        if line.format != kind.version {
            let (found, known) = (line.format, kind.version);
            return Err(self.wrong(format!(
                "a {} of format {found}; this program takes format {known}",
                kind.name
            )));
        }
        kind.from_json(line.value.clone())
            .map_err(|error| self.wrong(error))
    }

    /// Whether the present line is the last one and fits what came before it.
    fn end(&mut self, count: u64, error: &serde_json::Error) -> Result<(), ImportError> {
        let end = serde_json::from_slice::<End>(&self.text)
            .ok()
            .filter(|end| end.kind == END)
            .ok_or_else(|| self.wrong(error))?;
        if end.records != count {
            return Err(self.wrong(format!(
                "{count} records came before the end, which counts {}: the file was changed or cut",
                end.records
            )));
        }
        if self.advance()? {
            return Err(self.wrong("the file goes on after its last line"));
        }
        Ok(())
    }

    fn wrong(&self, what: impl std::fmt::Display) -> ImportError {
        ImportError::Line {
            line: self.number,
            what: what.to_string(),
        }
    }
}

/// Where a record lies in a store of so many partitions.
pub(in crate::app) fn partition_of(
    key: &[u8],
    value: &[u8],
    partitions: u16,
) -> Result<Partition, StoreError> {
    let recipient = if key.starts_with(key::RECIPIENTS) {
        key.get(5..)
            .and_then(|hash| hash.try_into().ok())
            .map(RecipientKey)
    } else if key.starts_with(key::DECISIONS) {
        Some(records::decode::<LoggedDecision>(value)?.recipient)
    } else if key.starts_with(key::OUTCOMES) {
        Some(records::decode::<LoggedOutcome>(value)?.recipient)
    } else {
        None
    };
    Ok(recipient.map_or(HOME, |recipient| Partition(recipient.partition(partitions))))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .filter(|_| text.len().is_multiple_of(2))
}
