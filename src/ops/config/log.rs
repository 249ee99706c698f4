//! What is logged, and in which form.
//!
//! The subscriber is built from this in [`crate::ops::telemetry`].

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::reader::{Reader, Rule};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings of the log. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Levels by target in the syntax of `tracing_subscriber::EnvFilter`, such as `info,hermod::store=debug`.
    pub filter: String,
}

// === impl LogConfig ===

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".into(),
        }
    }
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            format: reader.value("log.format", default.format, Rule {
                expects: "\"text\" or \"json\"",
                accepts: |_| true,
            }),
            filter: reader.value("log.filter", default.filter, Rule {
                expects: "a level (error, warn, info, debug, trace) or levels by target, such as info,hermod::store=debug",
                accepts: |filter| EnvFilter::try_new(filter).is_ok(),
            }),
        }
    }
}
