//! Why an answer was given: how the variant was chosen, and the levels of statistics behind variant and time.
use serde::{Deserialize, Serialize};

use crate::domain::send_time::Level;
use crate::domain::snapshot::ChoiceLevel;

/// Why this variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Drawn by the policy.
    Policy,
    /// The recipient is in the holdout.
    Holdout,
    /// Only one was eligible.
    OnlyCandidate,
    /// Consent does not allow recording.
    NoConsent,
    /// The recipient's record could not be read, or no change can be written at present.
    Fallback,
    /// Answered before, within the attribution window.
    Sticky,
    /// The platform chose, in shadow mode.
    Shadow {
        /// Whether the policy would have chosen the same.
        agrees: bool,
    },
    /// The tenant keeps as many recipients as it may, and this would be one more.
    RecipientLimit,
}

/// Why a touch was answered so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// How the variant was chosen.
    pub reason: Reason,
    /// The level behind the variant.
    pub choice_level: ChoiceLevel,
    /// The level behind the time; none where the time was fixed.
    pub time_level: Option<Level>,
}
