//! What the log keeps of a decision: everything it was made of, and what came out, so that it can be made again.
//!
//! Invariant: [`LoggedDecision::repeat`] runs the code that decides, on the inputs as they were kept; nothing is looked up elsewhere.
//! Where entries are kept, and for how long, is left to others.
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::domain::activity::ActivityProfile;
use crate::domain::civil::Zone;
use crate::domain::content_id::ContentId;
use crate::domain::decide::{Allowed, Choice, Question, Timing, Verdict, decide};
use crate::domain::draws::Draws;
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, FrequencyCap};
use crate::domain::name::{ExperimentUid, RecipientKey, VariantIndex};
use crate::domain::recipient::{Answer, Basis, DoNotSend, Recipient, Suppression, Touch};
use crate::domain::send_time::SendTimeModel;
use crate::domain::send_window::{QuietHours, SendWindow};
use crate::domain::snapshot::{Candidate, ChoiceLevel, Rule, Snapshot, Table};

mod compare;

pub use compare::{Comparison, compare, compare_table};

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

/// What a decision was made of. Larger things are named by their content and kept once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// When it was decided, nanoseconds since 1970.
    pub decided_at_ns: i128,
    /// Fingerprint of the occasion; 0 for none.
    pub occasion: u64,
    /// How many earlier answers of this occasion could no longer hold.
    pub attempt: u64,
    /// When the mail could leave.
    pub timing: LoggedTiming,
    /// IANA name of the zone reckoned in.
    pub zone: String,
    /// The segment answered for, before consent; the request's or the recipient's.
    pub segment: Option<String>,
    /// Variants to choose among; none for all that were live.
    pub eligible: Option<Vec<VariantIndex>>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// What the person allowed.
    pub allowed: Allowed,
    /// Why nothing could be sent.
    pub suppression: Option<Suppression>,
    /// Mails that the frequency cap counted.
    pub mails: Vec<CountedMail>,
    /// Hours of activity, where the time rested on them.
    pub activity: Option<ActivityProfile>,
    /// The experiment as configured.
    pub configured: ContentId,
    /// The table it was drawn from, before restricting it to eligible variants.
    pub table: Option<ContentId>,
    /// The send-time model, where the time was predicted.
    pub model: Option<ContentId>,
}

/// When the mail could leave; instants in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LoggedTiming {
    /// At the best instant of a window.
    Within {
        /// Its start.
        earliest_at_ns: i128,
        /// Its end.
        deadline_at_ns: i128,
        /// Daily periods without mail.
        quiet: Vec<QuietHours>,
        /// Days without mail, as year, month and day.
        blocked_days: Vec<(i16, i8, i8)>,
    },
    /// At a fixed instant.
    At(i128),
}

/// A touch as far as the frequency cap looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedMail {
    /// When it leaves or left, milliseconds since 1970.
    pub send_at_ms: i64,
    /// Whether it was an answer to send.
    pub sends: bool,
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

/// Why an entry cannot be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRepeatable {
    /// An instant beyond the calendar.
    #[error("an instant in the entry is outside of the calendar")]
    Instant,
    /// A zone that this program does not know.
    #[error("the zone {0} is not known to this program")]
    Zone(String),
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

    /// Whether one of this kind has counted.
    pub fn has(&self, kind: EventKind) -> bool {
        self.events & kind.bit() != 0
    }
}

// === impl LoggedTiming ===

impl LoggedTiming {
    fn of(timing: Timing<'_>) -> Self {
        match timing {
            Timing::At(at) => Self::At(at.as_nanosecond()),
            Timing::Within(window) => Self::Within {
                earliest_at_ns: window.earliest_at.as_nanosecond(),
                deadline_at_ns: window.deadline_at.as_nanosecond(),
                quiet: window.quiet.clone(),
                blocked_days: window
                    .blocked_days
                    .iter()
                    .map(|day| (day.year(), day.month(), day.day()))
                    .collect(),
            },
        }
    }

    fn window(&self) -> Result<Result<SendWindow, Timestamp>, NotRepeatable> {
        match self {
            Self::At(at_ns) => Ok(Err(instant(*at_ns)?)),
            Self::Within {
                earliest_at_ns,
                deadline_at_ns,
                quiet,
                blocked_days,
            } => Ok(Ok(SendWindow {
                earliest_at: instant(*earliest_at_ns)?,
                deadline_at: instant(*deadline_at_ns)?,
                quiet: quiet.clone(),
                blocked_days: blocked_days
                    .iter()
                    .map(|(year, month, day)| Date::new(*year, *month, *day))
                    .collect::<Result<_, _>>()
                    .map_err(|_| NotRepeatable::Instant)?,
            })),
        }
    }
}

fn instant(at_ns: i128) -> Result<Timestamp, NotRepeatable> {
    Timestamp::from_nanosecond(at_ns).map_err(|_| NotRepeatable::Instant)
}

// === impl Inputs ===

impl Inputs {
    /// What this question is made of, with the parts of the record that `decide` looks at.
    pub fn of(
        recipient: &Recipient,
        question: &Question<'_>,
        choice: Option<&Choice>,
        place: Place,
        ids: NamedGrounds,
    ) -> Self {
        let experiment = &question.snapshot.experiment;
        let segment = question
            .segment
            .or_else(|| experiment.first_segment_of(&recipient.segments));
        let counted = |touch: &Touch| CountedMail {
            send_at_ms: touch.send_at_ms,
            sends: touch.sends(),
        };
        let is_capped = question.frequency_cap.is_some() && !question.transactional;
        let rests_on_profile = choice
            .and_then(|choice| choice.prediction.as_ref())
            .is_some_and(|prediction| prediction.level.rests_on_profile());
        Self {
            decided_at_ns: question.now.as_nanosecond(),
            occasion: place.occasion,
            attempt: place.attempt,
            timing: LoggedTiming::of(question.timing),
            zone: question.zone.name().to_owned(),
            segment: segment.map(str::to_owned),
            eligible: question.eligible.map(<[VariantIndex]>::to_vec),
            frequency_cap: question.frequency_cap,
            transactional: question.transactional,
            allowed: question.allowed,
            suppression: recipient.suppression,
            mails: if is_capped {
                recipient.touches.iter().map(counted).collect()
            } else {
                Vec::new()
            },
            activity: rests_on_profile.then(|| recipient.activity.clone()),
            configured: ids.configured,
            table: ids.table,
            model: ids.model,
        }
    }

    /// The record as far as `decide` looks at it.
    fn recipient(&self) -> Recipient {
        let touch = |mail: &CountedMail| Touch::counted(mail.send_at_ms, mail.sends);
        Recipient {
            suppression: self.suppression,
            activity: self.activity.clone().unwrap_or_default(),
            touches: self.mails.iter().map(touch).collect(),
            ..Recipient::default()
        }
    }
}

/// Which of a recipient's answers it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Fingerprint of the occasion; 0 for none.
    pub occasion: u64,
    /// How many earlier answers of this occasion could no longer hold.
    pub attempt: u64,
}

/// The names of the larger things a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedGrounds {
    /// The experiment as configured.
    pub configured: ContentId,
    /// The table.
    pub table: Option<ContentId>,
    /// The send-time model.
    pub model: Option<ContentId>,
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
            want_candidates: false,
        };
        Ok(LoggedVerdict::of(&decide(&inputs.recipient(), &question)))
    }
}
