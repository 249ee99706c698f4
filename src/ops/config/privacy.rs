//! What may be learned about a recipient who has not said, and where the keys are.
//!
//! The keys themselves are never part of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::reader::{Reader, Rule};

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
    /// The keys file; without one it is `hermod.keys` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
}

// === impl PrivacyConfig ===

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self {
            default_consent: Consent::Individual,
            keys_file: None,
        }
    }
}

impl PrivacyConfig {
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
