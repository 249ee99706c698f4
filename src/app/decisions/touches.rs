//! Touches made of decisions, and answers made of touches.
use crate::domain::cell::Lane;
use crate::domain::decide::{Allowed, Choice, Question};
use crate::domain::experiment::TrialOn;
use crate::domain::feedback::local_minute_of_week;
use crate::domain::recipient::{Answer, ConsentLevel, DoNotSend, Touch};
use crate::domain::snapshot::Snapshot;
use crate::domain::timing::TouchTiming;

use super::Asked;
use super::question::SendAnswer;
use super::resolve::Resolved;

/// What the record will remember of a choice.
pub fn touch_of(
    choice: &Choice,
    question: &Question<'_>,
    asked: &Asked<'_>,
    measurable: bool,
) -> Touch {
    let (snapshot, resolved, reckoned) = (asked.snapshot, asked.resolved, &asked.reckoned);
    let allowed: Allowed = question.allowed;
    let send_at_ms = choice.send_at.as_millisecond();
    // The holdout trains neither the choice of variants nor that of times.
    let teaches = choice.lane == Lane::Policy;
    Touch {
        decision: question.draws.fingerprint,
        experiment: snapshot.experiment.uid,
        answer: choice.answer(),
        decided_at_ms: question.now.as_millisecond(),
        send_at_ms,
        planned_at_ms: send_at_ms,
        occasion: resolved.occasion,
        request: resolved.request,
        events: 0,
        trial_counted: snapshot.experiment.settings.trial_on == TrialOn::Decision,
        measurable,
        exposure_recorded: teaches && allowed.timing == ConsentLevel::Individual,
        everyone_recorded: teaches
            && reckoned.teaches_everyone
            && allowed.timing >= ConsentLevel::Aggregate,
        sent_local_minute: local_minute_of_week(&reckoned.kept_in, choice.send_at),
        open: None,
        click: None,
        value: 0.0,
        replied_negative: false,
        basis: choice.basis(),
        timing: TouchTiming {
            interest: question.model.freshness.interest(),
            campaign_level: question.campaign_level,
            propensity: choice.prediction.as_ref().map_or(0.0, |p| p.propensity),
        },
        converted_at_ms: None,
        harmed_at_ms: None,
    }
}

/// The touch of an answer not to send: remembered under its request id only.
pub fn refusal(
    snapshot: &Snapshot,
    question: &Question<'_>,
    resolved: &Resolved,
    reason: DoNotSend,
) -> Touch {
    Touch {
        decision: question.draws.fingerprint,
        experiment: snapshot.experiment.uid,
        answer: Answer::DoNotSend(reason),
        occasion: resolved.occasion,
        request: resolved.request,
        ..Touch::counted(question.now.as_millisecond(), false)
    }
}

/// What is answered of a choice.
pub fn answer_of(choice: &Choice, touch: &Touch, full: bool) -> SendAnswer {
    SendAnswer {
        answer: touch.answer,
        variant: choice.variant,
        propensity: choice.propensity,
        holdout: choice.lane == Lane::Holdout,
        segment: choice.context.segment,
        basis: touch.basis,
        send_at: choice.send_at,
        time_propensity: touch.timing.propensity,
        prediction: choice.prediction.clone(),
        table: full.then(|| choice.table.clone()),
        would_have: None,
    }
}
