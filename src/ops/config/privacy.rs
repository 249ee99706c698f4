//! What may be learned about a recipient who has not said, and where the keys are.
//!
//! The keys themselves are never part of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::app::RetentionSettings;

use super::period::Period;
use super::reader::{Reader, Rule};

const DAY_SECONDS: u64 = 86_400;

/// How much may be learned from a recipient's behaviour, from nothing to a profile of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// Nothing is read or written.
    None,
    /// Counts in the experiment's totals only.
    Aggregate,
    /// Counts in the totals and its segments.
    Segment,
    /// Counts everywhere, and a profile of activity hours is kept.
    Individual,
}

/// Settings of privacy. See `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrivacyConfig {
    /// The consent of recipients for whom none was stated.
    pub default_consent: Consent,
    /// How long a recipient in whose record nothing happens is remembered.
    pub recipient_retention: Period,
    /// The keys file; without one it is `hermod.keys` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
}

// === impl PrivacyConfig ===

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self {
            default_consent: Consent::Individual,
            recipient_retention: Period::from_secs(395 * DAY_SECONDS),
            keys_file: None,
        }
    }
}

impl PrivacyConfig {
    /// How long people are remembered, as the use cases want it.
    pub fn retention(&self) -> RetentionSettings {
        let kept_ms = self.recipient_retention.get().as_millis();
        RetentionSettings {
            recipient_kept_ms: i64::try_from(kept_ms).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            default_consent: reader.value(
                "privacy.default_consent",
                default.default_consent,
                Rule {
                    expects: "\"none\", \"aggregate\", \"segment\" or \"individual\"",
                    accepts: |_| true,
                },
            ),
            recipient_retention: reader.value(
                "privacy.recipient_retention",
                default.recipient_retention,
                Rule {
                    // Decision ids may bring a touch back for 60 days.
                    expects: "1440h to 87840h",
                    accepts: |retention: &Period| {
                        (60 * DAY_SECONDS..=3_660 * DAY_SECONDS)
                            .contains(&retention.get().as_secs())
                    },
                },
            ),
            keys_file: reader.value(
                "privacy.keys_file",
                default.keys_file,
                Rule {
                    expects: "the path of a file",
                    accepts: |path| {
                        path.as_ref()
                            .is_none_or(|path| !path.as_os_str().is_empty())
                    },
                },
            ),
        }
    }
}
