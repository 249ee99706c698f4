//! How decisions are made: what an experiment or tenant gets unless it says otherwise.
//!
//! Shares and probabilities are between 0 and 1.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::period::Period;
use super::reader::{Reader, Rule};

/// Settings of the decision path. See `docs/configuration.md` for the limits of each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionsConfig {
    /// The seed of all draws; without one it is random. A store keeps the seed it was created with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// An allocation is computed anew at most this often.
    pub refresh_interval: Period,
    /// IANA name of the zone of recipients whose own is unknown.
    pub default_time_zone: String,
    /// Total probability spread evenly over the variants, so that each keeps being tried.
    pub probability_floor: f64,
    /// Share of recipients that get a uniform variant at the platform's own time, as the yardstick.
    pub holdout_share: f64,
    /// Share of mails with a send window that leave at a random allowed time, to learn from.
    pub exploration_share: f64,
}

// === impl DecisionsConfig ===

impl Default for DecisionsConfig {
    fn default() -> Self {
        Self {
            seed: None,
            refresh_interval: Period::from_secs(1),
            default_time_zone: "UTC".into(),
            probability_floor: 0.02,
            holdout_share: 0.05,
            exploration_share: 0.05,
        }
    }
}

impl DecisionsConfig {
    /// The zone named by `default_time_zone`; UTC for an unknown name, which no loaded configuration holds.
    pub fn time_zone(&self) -> TimeZone {
        TimeZone::get(&self.default_time_zone).unwrap_or(TimeZone::UTC)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            seed: reader.value(
                "decisions.seed",
                default.seed,
                Rule {
                    // TOML integers end there.
                    expects: "a whole number from 0 to 9223372036854775807",
                    accepts: |seed| seed.is_none_or(|seed| i64::try_from(seed).is_ok()),
                },
            ),
            refresh_interval: reader.value(
                "decisions.refresh_interval",
                default.refresh_interval,
                Rule {
                    expects: "a length of time with its unit from 10ms to 1h, such as 1s",
                    accepts: |period| {
                        (Period::from_millis(10)..=Period::from_secs(3_600)).contains(period)
                    },
                },
            ),
            default_time_zone: reader.value(
                "decisions.default_time_zone",
                default.default_time_zone,
                Rule {
                    expects: "an IANA time zone, such as UTC or Europe/Berlin",
                    accepts: |name| TimeZone::get(name).is_ok(),
                },
            ),
            probability_floor: reader.value(
                "decisions.probability_floor",
                default.probability_floor,
                Rule {
                    expects: "a number from 0 to 0.5",
                    accepts: |share| (0.0..=0.5).contains(share),
                },
            ),
            holdout_share: reader.value(
                "decisions.holdout_share",
                default.holdout_share,
                Rule {
                    expects: "a number from 0 to 0.5",
                    accepts: |share| (0.0..=0.5).contains(share),
                },
            ),
            exploration_share: reader.value(
                "decisions.exploration_share",
                default.exploration_share,
                Rule {
                    expects: "a number from 0 to 0.5",
                    accepts: |share| (0.0..=0.5).contains(share),
                },
            ),
        }
    }
}
