//! What can be asked, and what is answered.
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::civil::Zone;
use crate::domain::decide::Reason;
use crate::domain::experiment::{Experiment, FrequencyCap};
use crate::domain::name::{Slug, TenantId, VariantIndex};
use crate::domain::recipient::{Answer, Basis, DoNotSend};
use crate::domain::send_time::{Goal, Prediction};
use crate::domain::send_window::QuietHours;
use crate::domain::snapshot::Table;

/// When a mail may be sent; what is left out falls back to the experiment's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    /// No earlier than this.
    pub earliest_at: Option<Timestamp>,
    /// No later than this.
    pub deadline_at: Option<Timestamp>,
    /// Local times of day without mail; empty falls back.
    pub quiet: Vec<QuietHours>,
    /// Local dates without mail; empty falls back.
    pub blocked_days: Vec<Date>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// Length of the window when there is no deadline, milliseconds.
    pub window_ms: Option<i64>,
}

/// Asks for a variant, and for a time unless that is fixed.
#[derive(Clone, Debug)]
pub struct DecideRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The experiment.
    pub experiment: Slug,
    /// The caller's id of the recipient.
    pub recipient_id: String,
    /// For retries; empty for none.
    pub request_id: String,
    /// Names one send of a flow; empty for none.
    pub occasion: String,
    /// The segment to answer for.
    pub segment: Option<Slug>,
    /// The recipient's zone.
    pub zone: Option<Zone>,
    /// When the mail may be sent.
    pub constraints: Constraints,
    /// When the mail leaves, if that is fixed: the variant only.
    pub send_at: Option<Timestamp>,
    /// Variants to choose among; empty for all.
    pub eligible: Vec<Slug>,
    /// What the platform sends by itself: needed in shadow mode, refused otherwise.
    pub platform: Option<PlatformChoice>,
    /// Record nothing.
    pub validate_only: bool,
    /// Answer with all candidates and hours.
    pub full: bool,
}

/// What the platform sends by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformChoice {
    /// The variant.
    pub variant: Slug,
    /// When; none for the earliest allowed time.
    pub send_at: Option<Timestamp>,
}

/// What hermod would have done, in shadow mode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WouldHave {
    /// The variant; none when it would not have sent.
    pub variant: Option<VariantIndex>,
    /// Why it would not have sent; none when it would, or when no variant could be chosen.
    pub refusal: Option<DoNotSend>,
    /// When it would have sent.
    pub send_at: Option<Timestamp>,
    /// Probability with which that variant was chosen.
    pub propensity: f64,
}

/// Asks for a time only.
#[derive(Clone, Debug)]
pub struct PredictRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The caller's id of the recipient.
    pub recipient_id: String,
    /// Whose constraints apply.
    pub experiment: Option<Slug>,
    /// The recipient's zone.
    pub zone: Option<Zone>,
    /// When the mail may be sent.
    pub constraints: Constraints,
    /// What to aim at.
    pub goal: Goal,
    /// Answer with all hours.
    pub full: bool,
}

/// Where a zone came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneSource {
    /// From the request.
    Request,
    /// Stored with the recipient.
    Recipient,
    /// Likelier than all others together, by the tenant's people and the recipient's hours.
    Inferred,
    /// The server's default.
    Default,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The decision id; empty where nothing was recorded.
    pub decision_id: String,
    /// The experiment decided for.
    pub experiment: Arc<Experiment>,
    /// Send, or do not.
    pub answer: Result<SendAnswer, DoNotSend>,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Whether an earlier answer is given again.
    pub repeated: bool,
    /// Version of the snapshot that answered.
    pub version: u64,
    /// The zone reckoned in.
    pub zone: Zone,
    /// Where it came from.
    pub zone_source: ZoneSource,
    /// Whether the mail is never delayed.
    pub transactional: bool,
}

/// An answer to send.
#[derive(Clone, Debug)]
pub struct SendAnswer {
    /// What the touch remembers.
    pub answer: Answer,
    /// The variant.
    pub variant: VariantIndex,
    /// Probability with which it was chosen.
    pub propensity: f64,
    /// Whether the recipient is in the holdout.
    pub holdout: bool,
    /// Position of the segment from 1; 0 for none.
    pub segment: u8,
    /// Why so.
    pub basis: Basis,
    /// When to send.
    pub send_at: Timestamp,
    /// Probability with which the hour was chosen; 0 where none was.
    pub time_propensity: f32,
    /// How the time was found; none for repeated answers and fixed times.
    pub prediction: Option<Prediction>,
    /// All candidates, if asked for.
    pub table: Option<Arc<Table>>,
    /// What hermod would have done; only of a fresh answer in shadow mode.
    pub would_have: Option<WouldHave>,
}

// === impl SendAnswer ===

impl SendAnswer {
    /// The same answer, said to be one that nothing remembers.
    pub(super) fn unremembered(mut self) -> Self {
        self.basis.reason = Reason::Fallback;
        self
    }
}

/// A predicted time.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// The time, or that none is allowed.
    pub answer: Result<(Timestamp, Option<Prediction>), DoNotSend>,
    /// Start of the window.
    pub earliest_at: Timestamp,
    /// The zone reckoned in.
    pub zone: Zone,
    /// Where it came from.
    pub zone_source: ZoneSource,
    /// Whether the mail is never delayed.
    pub transactional: bool,
    /// Whether the recipient is in the experiment's holdout, which gets the platform's own time.
    pub holdout: bool,
}
