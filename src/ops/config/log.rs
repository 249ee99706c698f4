//! What is logged, and in which form.
//!
//! The subscriber is built from this in [`crate::ops::telemetry`].

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

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
    /// Levels by target in the syntax of `tracing_subscriber::filter::Targets`, such as `info,hermod::store=debug`.
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
                accepts: |filter| targets(filter).is_some(),
            }),
        }
    }
}

/// The levels that a filter says; none where a part of it is neither a level nor a part of the program with its level.
///
/// `Targets` alone takes an empty part for `error` and a blank for a part of a name, so that a slip would silence the log without a word.
pub fn targets(filter: &str) -> Option<Targets> {
    let is_name = |name: &str| {
        let is_part = |char: char| char.is_ascii_alphanumeric() || "_:-".contains(char);
        !name.is_empty() && name.chars().all(is_part)
    };
    let parts = filter.split(',').map(str::trim);
    let mut parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        parts.push("error");
    }
    let is_plain = parts.iter().all(|part| match part.split_once('=') {
        Some((name, level)) => is_name(name) && is_name(level),
        None => is_name(part),
    });
    is_plain.then(|| parts.join(",").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn slips_in_a_filter_are_refused_or_make_no_difference() {
        let shows = |filter: &str, target, level| {
            targets(filter).map(|targets| targets.would_enable(target, &level))
        };
        for filter in ["info", "info,", " info , ,hermod::store=debug"] {
            assert_eq!(
                shows(filter, "hermod::app", Level::INFO),
                Some(true),
                "{filter}"
            );
            assert_eq!(
                shows(filter, "hermod::app", Level::DEBUG),
                Some(false),
                "{filter}"
            );
        }
        let both = "info,hermod::store=debug";
        assert_eq!(shows(both, "hermod::store::sled", Level::DEBUG), Some(true));
        assert_eq!(shows("", "hermod::app", Level::ERROR), Some(true));
        assert_eq!(shows("", "hermod::app", Level::WARN), Some(false));
        for refused in [
            "hermod=",
            "=info",
            "hermod[span]=debug",
            "@@@",
            "hermod=loud",
            "a b=info",
        ] {
            assert!(targets(refused).is_none(), "{refused}");
        }
    }
}
