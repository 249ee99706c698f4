//! The audit log: whether administrative calls are recorded, and where.
//!
//! A memory engine leaves nothing behind, so there it records only where a file is named.

use std::path::PathBuf;

use serde::Serialize;

use super::reader::{Reader, Rule};
use super::tls::file;

/// Settings of the audit log. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditConfig {
    /// Whether administrative calls are recorded.
    pub enabled: bool,
    /// The file; without one it is `audit.log` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A file that has grown beyond this is closed and a new one begun.
    pub file_bytes_max: u64,
    /// Closed files that are kept.
    pub files_max: u32,
}

// === impl AuditConfig ===

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            file: None,
            file_bytes_max: 64 << 20,
            files_max: 10,
        }
    }
}

impl AuditConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: reader.value(
                "audit.enabled",
                default.enabled,
                Rule {
                    expects: "true or false",
                    accepts: |_| true,
                },
            ),
            file: file(reader, "audit.file"),
            file_bytes_max: reader.value(
                "audit.file_bytes_max",
                default.file_bytes_max,
                Rule {
                    expects: "a number of bytes from 65536 to 10737418240",
                    accepts: |bytes| (64 << 10..=10 << 30).contains(bytes),
                },
            ),
            files_max: reader.value(
                "audit.files_max",
                default.files_max,
                Rule {
                    expects: "a whole number from 1 to 10000",
                    accepts: |files| (1..=10_000).contains(files),
                },
            ),
        }
    }
}
