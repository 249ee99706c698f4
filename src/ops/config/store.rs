//! Where and how state is kept.
//!
//! The number of partitions is fixed when a data directory is created; the store itself refuses a later change.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::period::Period;
use super::reader::{Reader, Rule};

/// Which engine keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The embedded store in the data directory.
    Sled,
    /// Memory only: everything is lost at exit. For trials and tests.
    Memory,
}

/// Settings of the store. See `docs/configuration.md` for the limits of each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreConfig {
    /// The engine.
    pub engine: Engine,
    /// The data directory.
    pub path: PathBuf,
    /// Logical partitions, fixed when the data directory is created.
    pub partitions: u32,
    /// Bytes of memory the engine may use as cache, roughly.
    pub cache_bytes: u64,
    /// Longest time between two passes that fold changed values into the records.
    pub fold_interval: Period,
    /// Free bytes of the file system below which changes are refused; 0 for no such limit.
    pub free_bytes_min: u64,
}

// === impl StoreConfig ===

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            engine: Engine::Sled,
            path: "./hermod-data".into(),
            partitions: 32,
            cache_bytes: 256 << 20,
            fold_interval: Period::from_secs(10),
            free_bytes_min: 64 << 20,
        }
    }
}

impl StoreConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            engine: reader.value(
                "store.engine",
                default.engine,
                Rule {
                    expects: "\"sled\" or \"memory\"",
                    accepts: |_| true,
                },
            ),
            path: reader.value(
                "store.path",
                default.path,
                Rule {
                    expects: "the path of a directory",
                    accepts: |path| !path.as_os_str().is_empty(),
                },
            ),
            partitions: reader.value(
                "store.partitions",
                default.partitions,
                Rule {
                    expects: "a whole number from 1 to 4096",
                    accepts: |count| (1..=4_096).contains(count),
                },
            ),
            cache_bytes: reader.value(
                "store.cache_bytes",
                default.cache_bytes,
                Rule {
                    expects: "a number of bytes from 1048576 to 1099511627776",
                    accepts: |bytes| (1 << 20..=1 << 40).contains(bytes),
                },
            ),
            fold_interval: reader.value(
                "store.fold_interval",
                default.fold_interval,
                Rule {
                    expects: "10ms to 1h",
                    accepts: |interval: &Period| {
                        (10..=3_600_000).contains(&interval.get().as_millis())
                    },
                },
            ),
            free_bytes_min: reader.value(
                "store.free_bytes_min",
                default.free_bytes_min,
                Rule {
                    expects: "a number of bytes from 0 to 1099511627776",
                    accepts: |bytes| *bytes <= 1 << 40,
                },
            ),
        }
    }
}
