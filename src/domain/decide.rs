//! One decision: which variant and when for one recipient, from a snapshot, the record and the draws; or do not send, with its reason.
//!
//! Invariant: the same inputs give the same verdict. Reading the record and remembering the touch are left to others.
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::domain::basis::Reason;
use crate::domain::cell::{Context, Lane};
use crate::domain::civil::Zone;
use crate::domain::draws::{Draws, unit_interval};
use crate::domain::experiment::FrequencyCap;
use crate::domain::name::VariantIndex;
use crate::domain::recipient::{
    Answer, Basis, ConsentLevel, DoNotSend, Recipient, Suppression, Touch,
};
use crate::domain::send_time::{Prediction, SendTimeModel};
use crate::domain::send_window::SendWindow;
use crate::domain::snapshot::{ChoiceLevel, Snapshot, Table};
use crate::domain::timing::CampaignLevel;

mod when;

pub use when::platform_time;
use when::when;

/// Everything a decision depends on, besides the recipient's record.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The experiment and its tables.
    pub snapshot: &'a Snapshot,
    /// What is learned of times.
    pub model: &'a SendTimeModel,
    /// The randomness of this decision.
    pub draws: Draws,
    /// Now.
    pub now: Timestamp,
    /// When the mail may leave, or leaves.
    pub timing: Timing<'a>,
    /// The recipient's zone.
    pub zone: &'a Zone,
    /// The segment asked for; none takes the recipient's.
    pub segment: Option<&'a str>,
    /// Variants to choose among; none takes all live ones.
    pub eligible: Option<&'a [VariantIndex]>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// What the person allows.
    pub allowed: Allowed,
    /// How often the campaign is opened over how often the tenant's are.
    pub campaign_level: CampaignLevel,
    /// Whether to list the hours of the window.
    pub want_candidates: bool,
}

/// When the mail may leave, or leaves.
#[derive(Clone, Copy, Debug)]
pub enum Timing<'a> {
    /// At the best instant of this window.
    Within(&'a SendWindow),
    /// At this instant, which is fixed.
    At(Timestamp),
}

/// What a person allows, defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Use of opens and activity to learn when to send.
    pub timing: ConsentLevel,
    /// Use of responses to learn which variant works.
    pub content: ConsentLevel,
}

/// A choice of variant and time.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The variant.
    pub variant: VariantIndex,
    /// Segment and daypart it counts in.
    pub context: Context,
    /// Policy or holdout.
    pub lane: Lane,
    /// Probability with which it was chosen.
    pub propensity: f64,
    /// Why.
    pub reason: Reason,
    /// The level behind it.
    pub level: ChoiceLevel,
    /// The table it was drawn from.
    pub table: Arc<Table>,
    /// When to send.
    pub send_at: Timestamp,
    /// How that was found; none where the time was fixed.
    pub prediction: Option<Prediction>,
}

/// What is decided.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Send.
    Send(Box<Choice>),
    /// Do not send.
    DoNotSend(DoNotSend),
    /// No variant may be chosen.
    NoCandidate,
}

// === impl Choice ===

impl Choice {
    /// What the touch remembers of it.
    pub fn answer(&self) -> Answer {
        Answer::Send {
            variant: self.variant,
            context: self.context,
            lane: self.lane,
            propensity: self.propensity,
        }
    }

    /// Why this variant and this time.
    pub fn basis(&self) -> Basis {
        Basis {
            reason: self.reason,
            choice_level: self.level,
            time_level: self.prediction.as_ref().map(|p| p.level),
        }
    }
}

/// The earlier answer that this question gets again: the one to the same request, or a sticky one whose variant may still be chosen.
pub fn earlier_answer<'a>(
    recipient: &'a Recipient,
    question: &Question<'_>,
    request: u64,
    occasion: u64,
) -> Option<&'a Touch> {
    let experiment = &question.snapshot.experiment;
    let still_holds = |touch: &&Touch| match touch.answer {
        Answer::Send { variant, .. } => may_be_chosen(question, variant),
        Answer::DoNotSend(_) => false,
    };
    recipient
        .touch_of_request(request)
        .filter(|touch| touch.experiment == experiment.uid)
        .or_else(|| {
            recipient
                .sticky_touch(experiment, occasion, question.now)
                .filter(still_holds)
        })
}

fn may_be_chosen(question: &Question<'_>, variant: VariantIndex) -> bool {
    let live = question
        .snapshot
        .everyone()
        .is_some_and(|table| table.position(variant).is_some());
    live && question
        .eligible
        .is_none_or(|eligible| eligible.contains(&variant))
}

/// Decides afresh.
pub fn decide(recipient: &Recipient, question: &Question<'_>) -> Verdict {
    if recipient
        .suppression
        .is_some_and(|suppression| stops(suppression, question.transactional))
    {
        return Verdict::DoNotSend(DoNotSend::Suppressed);
    }
    let holdout_share = question.snapshot.experiment.settings.holdout_share;
    // In shadow mode nobody is treated, so nobody is held out.
    let holdout = !question.snapshot.experiment.settings.shadow
        && is_in_holdout(question.draws, question.allowed, holdout_share);
    let (send_at, prediction) = match when(recipient, question, holdout) {
        Ok(time) => time,
        Err(reason) => return Verdict::DoNotSend(reason),
    };
    match which(recipient, question, holdout, send_at) {
        Some(choice) => Verdict::Send(Box::new(Choice {
            prediction,
            ..choice
        })),
        None => Verdict::NoCandidate,
    }
}

/// A receipt still goes to somebody who unsubscribed from the news, but never to a dead address.
fn stops(suppression: Suppression, transactional: bool) -> bool {
    !transactional || matches!(suppression, Suppression::Bounced | Suppression::Manual)
}

/// Whether a recipient is in an experiment's holdout: for every occasion and for both decisions, variant and time, the same people.
pub fn is_in_holdout(draws: Draws, allowed: Allowed, holdout_share: f64) -> bool {
    allowed.content > ConsentLevel::None && unit_interval(draws.holdout) < holdout_share
}

/// Segment and daypart that a mail counts in which leaves then, as far as consent goes.
pub fn context_at(recipient: &Recipient, question: &Question<'_>, send_at: Timestamp) -> Context {
    let experiment = &question.snapshot.experiment;
    let segment = match question.allowed.content {
        ConsentLevel::None | ConsentLevel::Aggregate => None,
        _ => question
            .segment
            .or_else(|| experiment.first_segment_of(&recipient.segments)),
    };
    match question.allowed.content {
        ConsentLevel::None => Context::default(),
        _ => experiment.context(segment, question.zone.local_hour(send_at).hour),
    }
}

/// The probability with which a variant would have been chosen for a mail that leaves then; 0 for one that is no candidate.
pub fn probability_of(question: &Question<'_>, context: Context, variant: VariantIndex) -> f64 {
    let Some(table) = question.snapshot.table(context) else {
        return 0.0;
    };
    let of = |table: &Table| {
        let position = table.position(variant);
        position.map_or(0.0, |position| table.allocation.propensity(position))
    };
    match question.eligible {
        None => of(table),
        Some(eligible) => question
            .snapshot
            .restricted(table, eligible)
            .map_or(0.0, |table| of(&table)),
    }
}

fn which(
    recipient: &Recipient,
    question: &Question<'_>,
    holdout: bool,
    send_at: Timestamp,
) -> Option<Choice> {
    let context = context_at(recipient, question, send_at);
    let table = match question.allowed.content {
        ConsentLevel::None => question.snapshot.everyone()?,
        _ => question.snapshot.table(context)?,
    };
    let table = match question.eligible {
        Some(eligible) => Arc::new(question.snapshot.restricted(table, eligible)?),
        None => table.clone(),
    };
    let count = table.candidates.len();
    let (position, propensity) = if holdout {
        // A newcomer on probation is not for the holdout: its share would escape the cap.
        let settled = table.settled.len() as u128;
        let at = ((u128::from(question.draws.variant) * settled) >> 64) as usize;
        (table.settled.get(at).copied()?, 1.0 / settled as f64)
    } else {
        let position = table.allocation.draw(question.draws.variant);
        (position, table.allocation.propensity(position))
    };
    let reason = match question.allowed.content {
        ConsentLevel::None => Reason::NoConsent,
        _ if holdout => Reason::Holdout,
        _ if count == 1 => Reason::OnlyCandidate,
        _ => Reason::Policy,
    };
    let lane = if holdout { Lane::Holdout } else { Lane::Policy };
    let variant = table.candidates.get(position)?.variant;
    Some(Choice {
        variant,
        context,
        lane,
        propensity,
        reason,
        level: table.level,
        table,
        send_at,
        prediction: None,
    })
}

#[cfg(test)]
mod tests;
