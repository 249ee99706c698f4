//! Alerts: what people should know of an experiment without asking, each raised once per occurrence.
//!
//! Invariant: an alert says with numbers what was seen; whether it is new is decided in `oversight`, keeping it is left to others.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::guardrail::Measure;
use crate::domain::name::{Slug, VariantIndex};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertKind {
    /// A guardrail quarantined a variant.
    VariantQuarantined,
    /// A guardrail is more likely broken than not.
    GuardrailWarning,
    /// The last variant that could be chosen was quarantined.
    NoVariantLeft,
    /// Variants do not get the shares that were decided.
    SampleRatio,
    /// The stopping rule is met.
    SafeToConclude,
    /// A variant passed its probation.
    ProbationPassed,
    /// Many decisions are answered as for somebody unknown, because records cannot be read.
    FallbackShare,
    /// A rate of a flow, or the level of all its variants, became another one.
    RateChanged,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Should be looked at.
    Warning,
    /// Something was stopped, or must be.
    Critical,
}

/// What holds or not, and is alerted about when it begins to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about.
    pub kind: AlertKind,
    /// The variant, if it is about one.
    pub variant: Option<VariantIndex>,
    /// The guardrail, if it is about one.
    pub measure: Option<Measure>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// The experiment; none for one about the whole tenant.
    pub experiment: Option<Slug>,
    /// The variant, if it is about one.
    pub variant: Option<Slug>,
    /// What was seen and what to do, for people.
    pub text: String,
    /// The numbers behind it, by name.
    pub numbers: Vec<(String, f64)>,
    /// When it was raised.
    pub raised_at: Timestamp,
}

// === impl AlertKind ===

impl AlertKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::VariantQuarantined,
        Self::GuardrailWarning,
        Self::NoVariantLeft,
        Self::SampleRatio,
        Self::SafeToConclude,
        Self::ProbationPassed,
        Self::FallbackShare,
        Self::RateChanged,
    ];

    /// Its word, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VariantQuarantined => "variant_quarantined",
            Self::GuardrailWarning => "guardrail_warning",
            Self::NoVariantLeft => "no_variant_left",
            Self::SampleRatio => "sample_ratio",
            Self::SafeToConclude => "safe_to_conclude",
            Self::ProbationPassed => "probation_passed",
            Self::FallbackShare => "fallback_share",
            Self::RateChanged => "rate_changed",
        }
    }

    /// How urgent alerts of this kind are.
    pub const fn severity(self) -> Severity {
        match self {
            Self::VariantQuarantined | Self::NoVariantLeft => Severity::Critical,
            Self::GuardrailWarning
            | Self::SampleRatio
            | Self::FallbackShare
            | Self::RateChanged => Severity::Warning,
            Self::SafeToConclude | Self::ProbationPassed => Severity::Notice,
        }
    }
}

// === impl Severity ===

impl Severity {
    /// Its word, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

// === impl Condition ===

impl Condition {
    /// A condition of a whole experiment.
    pub const fn of(kind: AlertKind) -> Self {
        Self {
            kind,
            variant: None,
            measure: None,
        }
    }

    /// A guardrail of a variant that is more likely broken than not.
    pub const fn warning(variant: VariantIndex, measure: Measure) -> Self {
        Self {
            kind: AlertKind::GuardrailWarning,
            variant: Some(variant),
            measure: Some(measure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_something_is_critical_and_words_are_unique() {
        assert_eq!(AlertKind::VariantQuarantined.severity(), Severity::Critical);
        assert_eq!(AlertKind::SafeToConclude.severity(), Severity::Notice);
        let mut words: Vec<&str> = AlertKind::ALL.map(AlertKind::as_str).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), AlertKind::ALL.len());
    }
}
