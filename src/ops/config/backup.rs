//! Backups of the running server: where they are kept until they are fetched, and for how long.
//!
//! What a backup holds is in `docs/formats.md`.

use std::path::PathBuf;

use serde::Serialize;

use super::period::Period;
use super::reader::{Reader, Rule};

const DAY_SECONDS: u64 = 86_400;

/// Settings of backups. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupConfig {
    /// Their directory; without one it is `backups` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How long a backup is kept.
    pub retention: Period,
}

// === impl BackupConfig ===

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            path: None,
            retention: Period::from_secs(7 * DAY_SECONDS),
        }
    }
}

impl BackupConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            path: reader.value(
                "backup.path",
                default.path,
                Rule {
                    expects: "the path of a directory",
                    accepts: |path| {
                        path.as_ref()
                            .is_none_or(|path| !path.as_os_str().is_empty())
                    },
                },
            ),
            retention: reader.value(
                "backup.retention",
                default.retention,
                Rule {
                    expects: "1h to 8784h",
                    accepts: |retention: &Period| {
                        (3_600..=366 * DAY_SECONDS).contains(&retention.get().as_secs())
                    },
                },
            ),
        }
    }
}
