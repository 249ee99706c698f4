//! The decision log: whether decisions are kept with all they were made of, and for how long.
//!
//! What an entry holds is in `docs/statistics.md`.

use serde::Serialize;

use crate::app::DecisionLogSettings;

use super::period::Period;
use super::reader::{Reader, Rule};

const DAY_SECONDS: u64 = 86_400;

/// Settings of the decision log. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionLogConfig {
    /// Whether decisions are logged.
    pub enabled: bool,
    /// How long a decision is kept.
    pub retention: Period,
}

// === impl DecisionLogConfig ===

impl Default for DecisionLogConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            retention: Period::from_secs(30 * DAY_SECONDS),
        }
    }
}

impl DecisionLogConfig {
    /// As the use cases want it.
    pub fn settings(&self) -> DecisionLogSettings {
        DecisionLogSettings {
            enabled: self.enabled,
            retention_ms: i64::try_from(self.retention.get().as_millis()).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: reader.value(
                "decision_log.enabled",
                default.enabled,
                Rule {
                    expects: "true or false",
                    accepts: |_| true,
                },
            ),
            retention: reader.value(
                "decision_log.retention",
                default.retention,
                Rule {
                    expects: "1h to 87840h",
                    accepts: |retention: &Period| {
                        (3_600..=3_660 * DAY_SECONDS).contains(&retention.get().as_secs())
                    },
                },
            ),
        }
    }
}
