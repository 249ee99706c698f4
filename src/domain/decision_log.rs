//! What the log keeps of a decision: everything it was made of, and what came out, so that it can be made again.
//!
//! Invariant: [`LoggedDecision::repeat`] runs the code that decides, on the inputs as they were kept; nothing is looked up elsewhere.
//! Where entries are kept, and for how long, is left to others.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::civil::Zone;
use crate::domain::decide::{Question, Timing, Verdict, decide};
use crate::domain::draws::Draws;
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Utility};
use crate::domain::name::{ExperimentUid, RecipientKey, VariantIndex};
use crate::domain::recipient::{Answer, Basis, DoNotSend, Touch};
use crate::domain::send_time::SendTimeModel;
use crate::domain::snapshot::{Candidate, ChoiceLevel, Rule, Snapshot, Table};
use crate::domain::timing::CampaignLevel;

mod compare;
mod inputs;

pub use compare::{Comparison, compare, compare_table};
pub use inputs::{CountedMail, Inputs, LoggedTiming, NamedGrounds, NotRepeatable, Place};

use inputs::instant;

/// One decision as it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedDecision {
    /// The recipient's keyed hash; first, so that a person's entries are found without reading them in full.
    pub recipient: RecipientKey,
    /// Version of the program that decided.
    pub code: String,
    /// The experiment's number.
    pub experiment: ExperimentUid,
    /// Counts refreshes of the experiment in the process that decided.
    pub snapshot_version: u64,
    /// What the decision was made of.
    pub inputs: Inputs,
    /// What came out.
    pub outcome: LoggedVerdict,
    /// What the platform sent instead, in shadow mode.
    pub platform: Option<PlatformSend>,
}

/// What came out of a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LoggedVerdict {
    /// Send.
    Send {
        /// Variant, context, lane and propensity.
        answer: Answer,
        /// Reason and levels.
        basis: Basis,
        /// When to send, nanoseconds since 1970.
        send_at_ns: i128,
    },
    /// Do not send.
    DoNotSend(DoNotSend),
    /// No variant could be chosen; never logged, but a repetition may come to it.
    NoCandidate,
}

/// What a platform sent by itself, in shadow mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformSend {
    /// The variant.
    pub variant: VariantIndex,
    /// When, milliseconds since 1970.
    pub send_at_ms: i64,
}

/// A table as it is kept: what it was made of, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedTable {
    /// How probabilities were made of posteriors.
    pub rule: Rule,
    /// The candidates with their posteriors.
    pub candidates: Vec<Candidate>,
    /// The level that answered.
    pub level: ChoiceLevel,
    /// Probabilities of being chosen, in the order of the candidates.
    pub probabilities: Vec<f64>,
}

/// What became of a decision, as far as events have told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedOutcome {
    /// The recipient's keyed hash; first, as in [`LoggedDecision`].
    pub recipient: RecipientKey,
    /// When the mail left, as far as is known, milliseconds since 1970.
    pub send_at_ms: i64,
    /// Bits of the [`EventKind`]s counted.
    pub events: u32,
    /// Human weight of the open, 0 to 1.
    pub open: f64,
    /// Human weight of the click, 0 to 1.
    pub click: f64,
    /// Value of the conversion.
    pub value: f64,
    /// Whether a negative reply came.
    pub replied_negative: bool,
}

/// The larger things that an entry names, found again.
#[derive(Clone, Debug)]
pub struct Grounds {
    /// The experiment as configured.
    pub experiment: Arc<Experiment>,
    /// The table, made again of its candidates.
    pub table: Option<Table>,
    /// The send-time model.
    pub model: SendTimeModel,
}

// === impl LoggedTable ===

impl LoggedTable {
    /// A table as it is kept.
    pub fn of(table: &Table) -> Self {
        Self {
            rule: table.rule.as_ref().clone(),
            candidates: table.candidates.clone(),
            level: table.level,
            probabilities: table.allocation.probabilities().to_vec(),
        }
    }

    /// The table made again of its parts.
    pub fn remade(&self) -> Option<Table> {
        Table::of(
            &Arc::new(self.rule.clone()),
            self.candidates.clone(),
            self.level,
        )
    }
}

// === impl LoggedOutcome ===

impl LoggedOutcome {
    /// The outcome as a touch remembers it.
    pub fn of(touch: &Touch, recipient: RecipientKey) -> Self {
        Self {
            recipient,
            send_at_ms: touch.send_at_ms,
            events: touch.events,
            open: touch.open.map_or(0.0, |open| open.weight.get()),
            click: touch.click.map_or(0.0, |click| click.weight.get()),
            value: touch.value,
            replied_negative: touch.replied_negative,
        }
    }

    /// What it is worth under an objective; events of machines count with their weight.
    pub fn reward(&self, objective: Objective, utility: &Utility) -> f64 {
        let once = |kind: EventKind| f64::from(u8::from(self.has(kind)));
        match objective {
            Objective::Click => self.click,
            Objective::Open => self.open,
            Objective::Conversion => once(EventKind::Converted),
            Objective::Value => self.value,
            Objective::Utility => {
                utility.open_value * self.open
                    + utility.click_value * self.click
                    + utility.conversion_value * once(EventKind::Converted)
                    - utility.unsubscribe_cost * once(EventKind::Unsubscribed)
                    - utility.complaint_cost * once(EventKind::Complained)
            }
        }
    }

    /// Whether one of this kind has counted.
    pub fn has(&self, kind: EventKind) -> bool {
        self.events & kind.bit() != 0
    }
}

// === impl LoggedVerdict ===

impl LoggedVerdict {
    /// A verdict as it is kept.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Send(choice) => Self::Send {
                answer: choice.answer(),
                basis: choice.basis(),
                send_at_ns: choice.send_at.as_nanosecond(),
            },
            Verdict::DoNotSend(reason) => Self::DoNotSend(*reason),
            Verdict::NoCandidate => Self::NoCandidate,
        }
    }
}

// === impl LoggedDecision ===

impl LoggedDecision {
    /// Decides again on the inputs as they were kept.
    ///
    /// # Errors
    /// An instant or zone in the entry means nothing to this program.
    pub fn repeat(&self, grounds: &Grounds, draws: Draws) -> Result<LoggedVerdict, NotRepeatable> {
        let inputs = &self.inputs;
        let now = instant(inputs.decided_at_ns)?;
        let zone =
            Zone::parse(&inputs.zone).map_err(|_| NotRepeatable::Zone(inputs.zone.clone()))?;
        let window = inputs.timing.window()?;
        let snapshot = Snapshot::of_one_table(
            grounds.experiment.clone(),
            grounds.table.clone(),
            self.snapshot_version,
            now,
        );
        let question = Question {
            snapshot: &snapshot,
            model: &grounds.model,
            draws,
            now,
            timing: match &window {
                Ok(window) => Timing::Within(window),
                Err(at) => Timing::At(*at),
            },
            zone: &zone,
            segment: inputs.segment.as_deref(),
            eligible: inputs.eligible.as_deref(),
            frequency_cap: inputs.frequency_cap,
            transactional: inputs.transactional,
            allowed: inputs.allowed,
            // Scales the value of all hours alike, so it decides nothing.
            campaign_level: CampaignLevel::default(),
            want_candidates: false,
        };
        Ok(LoggedVerdict::of(&decide(&inputs.recipient(), &question)))
    }
}
