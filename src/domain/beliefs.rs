//! What is believed before an experiment's own data: for each kind of response, its rate and how late it arrives.
//!
//! Learning either from a tenant's earlier mails is left to others.
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::Objective;
use crate::domain::posterior::Prior;

/// What is believed of one kind of response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// Prior of every variant's rate.
    pub prior: Prior,
    /// How fast responses arrive.
    pub curve: DelayCurve,
}

/// What is believed of each kind of response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beliefs {
    /// Opens.
    pub open: Belief,
    /// Clicks.
    pub click: Belief,
    /// Conversions.
    pub conversion: Belief,
}

// === impl Beliefs ===

impl Beliefs {
    /// The same of every kind of response: for worlds that have only one.
    pub fn alike(belief: Belief) -> Self {
        Self {
            open: belief,
            click: belief,
            conversion: belief,
        }
    }

    /// What is believed of the responses that an objective counts.
    pub fn of(&self, objective: Objective) -> &Belief {
        match objective.counted() {
            Objective::Open => &self.open,
            Objective::Conversion => &self.conversion,
            _ => &self.click,
        }
    }
}

/// The curve that is used before a tenant's own is learned.
pub fn default_curve(objective: Objective) -> DelayCurve {
    match objective.counted() {
        Objective::Open => DelayCurve::default_open(),
        Objective::Conversion => DelayCurve::default_conversion(),
        _ => DelayCurve::default_click(),
    }
}
