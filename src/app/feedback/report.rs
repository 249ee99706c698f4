//! What can be reported, and what can become of it.
use jiff::Timestamp;

use crate::app::AppError;
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight};

/// An event as reported, checked for shape.
#[derive(Clone, Debug)]
pub enum EventReport {
    /// Something that happened to a mail.
    Decision {
        /// The decision id.
        token: String,
        /// What happened.
        event: DecisionEvent,
    },
    /// A person was active elsewhere.
    Active(Activity),
}

/// A person was active elsewhere.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The caller's id of the person.
    pub recipient_id: String,
    /// When.
    pub at: Timestamp,
    /// How likely a person did it.
    pub weight: HumanWeight,
}

/// A later verdict on an open or click.
#[derive(Clone, Debug)]
pub struct Reclassification {
    /// The decision id.
    pub token: String,
    /// Open or click.
    pub kind: EventKind,
    /// The new probability that a person did it.
    pub weight: HumanWeight,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Counted, and durable.
    Counted,
    /// No further effect: it had counted.
    Duplicate,
    /// It replaced one with a lower human probability.
    Upgraded,
    /// Too late to be learned from.
    TooLate,
    /// Consent or an erasure forbids it.
    NotAllowed,
}

/// What became of one event, or why it was refused.
pub type EventResult = Result<ReportOutcome, AppError>;
