//! Who decides what a mail without an answer means.
//!
//! Invariant: a rule turns what was seen by a look into counts and a curve; policies and worlds are the same for all.
use serde::Serialize;

/// What silence is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Nothing is silent: every answer is known at once. The yardstick.
    Instant,
    /// hermod: the curve is learned from the campaign's own delays while it runs, from the published one on.
    Learned,
    /// The true curve, from a long history.
    Known,
    /// The published curve, never learned.
    Published,
    /// Silence is refusal.
    Naive,
    /// Mails younger than a day do not count; then silence is refusal.
    Discard,
    /// A fifth of the mails alike, four hours of waiting, and the rest to the highest rate.
    TestThenWinner,
    /// All variants alike.
    Uniform,
}

impl Rule {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 8] = [
        Self::Instant,
        Self::Learned,
        Self::Known,
        Self::Published,
        Self::Naive,
        Self::Discard,
        Self::TestThenWinner,
        Self::Uniform,
    ];

    /// Age from which on a mail counts, hours.
    pub(super) fn counts_from_hours(self) -> f64 {
        if self == Self::Discard { 24.0 } else { 0.0 }
    }
}
