//! What one tenant can make the server keep.
//!
//! Limits that are the same for everybody are in `docs/limits.md`.

use serde::Serialize;

use crate::app::LimitSettings;
use crate::domain::allowance::Rate;

use super::reader::{Reader, Rule};

/// Settings of the limits per tenant. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitsConfig {
    /// Most recipients of whom anything is kept.
    pub recipients_max: u64,
    /// Most bytes that the decision log takes per day.
    pub decision_log_bytes_per_day_max: u64,
    /// Requests per second on average; 0 is without limit.
    pub requests_per_second_max: u64,
    /// Requests that may come at once.
    pub requests_burst_max: u64,
}

// === impl LimitsConfig ===

impl Default for LimitsConfig {
    fn default() -> Self {
        let LimitSettings {
            recipients_max,
            decision_log_bytes_per_day_max,
            ..
        } = LimitSettings::default();
        Self {
            recipients_max,
            decision_log_bytes_per_day_max,
            requests_per_second_max: 0,
            requests_burst_max: 10_000,
        }
    }
}

impl LimitsConfig {
    /// As the use cases want it.
    pub fn settings(&self) -> LimitSettings {
        LimitSettings {
            recipients_max: self.recipients_max,
            decision_log_bytes_per_day_max: self.decision_log_bytes_per_day_max,
            requests: Rate::new(self.requests_per_second_max, self.requests_burst_max),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            recipients_max: reader.value(
                "limits.recipients_max",
                default.recipients_max,
                Rule {
                    expects: "a whole number from 1 to 10000000000",
                    accepts: |most| (1..=10_000_000_000).contains(most),
                },
            ),
            decision_log_bytes_per_day_max: reader.value(
                "limits.decision_log_bytes_per_day_max",
                default.decision_log_bytes_per_day_max,
                Rule {
                    expects: "a whole number from 1048576 to 109951162777600",
                    accepts: |most| (1 << 20..=100 << 40).contains(most),
                },
            ),
            requests_per_second_max: reader.value(
                "limits.requests_per_second_max",
                default.requests_per_second_max,
                Rule {
                    expects: "a whole number from 1 to 1000000000, or 0 for no limit",
                    accepts: |most| *most <= 1_000_000_000,
                },
            ),
            requests_burst_max: reader.value(
                "limits.requests_burst_max",
                default.requests_burst_max,
                Rule {
                    expects: "a whole number from 1 to 1000000000",
                    accepts: |most| (1..=1_000_000_000).contains(most),
                },
            ),
        }
    }
}
