//! Where and how state is kept.
//!
//! The number of partitions is fixed when a data directory is created; the store itself refuses a later change.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
}

// === impl StoreConfig ===

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            engine: Engine::Sled,
            path: "./hermod-data".into(),
            partitions: 32,
            cache_bytes: 256 << 20,
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
        }
    }
}
