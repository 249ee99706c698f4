//! Shadow mode: the platform's own choice is answered and remembered, and beside it what hermod would have done.
//!
//! Invariant: the answer is exactly what the platform said; only what is learned and logged differs from a platform alone.
use jiff::Timestamp;

use crate::app::App;
use crate::app::AppError;
use crate::app::writes::Effects;
use crate::domain::basis::Basis;
use crate::domain::cell::Lane;
use crate::domain::decide::{
    Choice, Question, Reason, Verdict, context_at, earlier_answer, probability_of,
};
use crate::domain::decision_log::PlatformSend;
use crate::domain::experiment::TrialOn;
use crate::domain::feedback::local_minute_of_week;
use crate::domain::name::VariantIndex;
use crate::domain::recipient::{Answer, ConsentLevel, Recipient, Touch};
use crate::domain::snapshot::ChoiceLevel;

use super::question::{Decided, SendAnswer, WouldHave};
use super::resolve::Resolved;
use super::{Asked, Start};
use crate::domain::timing::TouchTiming;

/// The earlier answer that holds again. In shadow mode it must be the variant that the platform says it sends.
pub fn earlier<'a>(
    recipient: &'a Recipient,
    question: &Question<'_>,
    resolved: &Resolved,
) -> Option<&'a Touch> {
    let Some(platform) = resolved.platform else {
        return earlier_answer(recipient, question, resolved.request, resolved.occasion);
    };
    let experiment = &question.snapshot.experiment;
    let is_same = |touch: &&Touch| matches!(touch.answer, Answer::Send { variant, .. } if variant == platform.variant);
    let of_request = recipient.touch_of_request(resolved.request);
    of_request
        .filter(|touch| touch.experiment == experiment.uid)
        .or_else(|| {
            recipient
                .sticky_touch(experiment, resolved.occasion, question.now)
                .filter(is_same)
        })
}

impl App {
    /// Answers and remembers what the platform does; `None` when the record changed in between.
    pub(super) async fn answer_in_shadow(
        &self,
        asked: &Asked<'_>,
        start: Start,
        question: &Question<'_>,
        verdict: &Verdict,
        platform: PlatformSend,
        effects: Effects,
    ) -> Result<Option<Decided>, AppError> {
        let would_have = would_have(verdict);
        let touch = touch(asked, &start.recipient, question, &would_have, platform);
        let is_consented = question.allowed.content > ConsentLevel::None;
        let answer = answer_of(&touch, verdict, asked.request.full, would_have);
        if !start.is_recordable() || asked.request.validate_only || !is_consented {
            return Ok(Some(asked.fresh(Ok(answer), String::new())));
        }
        let token = self.token_of(asked.address, asked.snapshot, &touch);
        let remembered = self.remember(asked, start, touch, effects).await;
        let is_remembered = super::unless_refused(remembered, true)?;
        Ok(is_remembered.then(|| asked.fresh(Ok(answer), token)))
    }
}

fn would_have(verdict: &Verdict) -> WouldHave {
    match verdict {
        Verdict::Send(choice) => WouldHave {
            variant: Some(choice.variant),
            refusal: None,
            send_at: Some(choice.send_at),
            propensity: choice.propensity,
        },
        Verdict::DoNotSend(reason) => WouldHave {
            variant: None,
            refusal: Some(*reason),
            send_at: None,
            propensity: 0.0,
        },
        Verdict::NoCandidate => WouldHave {
            variant: None,
            refusal: None,
            send_at: None,
            propensity: 0.0,
        },
    }
}

/// The touch of the platform's mail; its propensity is the probability with which hermod would have chosen the same variant.
fn touch(
    asked: &Asked<'_>,
    recipient: &Recipient,
    question: &Question<'_>,
    would_have: &WouldHave,
    platform: PlatformSend,
) -> Touch {
    let send_at = Timestamp::from_millisecond(platform.send_at_ms).unwrap_or(question.now);
    let context = context_at(recipient, question, send_at);
    let level = question
        .snapshot
        .table(context)
        .map_or(ChoiceLevel::Default, |table| table.level);
    let settings = &asked.snapshot.experiment.settings;
    Touch {
        decision: question.draws.fingerprint,
        experiment: asked.snapshot.experiment.uid,
        answer: Answer::Send {
            variant: platform.variant,
            context,
            lane: Lane::Policy,
            propensity: probability_of(question, context, platform.variant),
        },
        decided_at_ms: question.now.as_millisecond(),
        planned_at_ms: platform.send_at_ms,
        occasion: asked.resolved.occasion,
        request: asked.resolved.request,
        trial_counted: settings.trial_on == TrialOn::Decision,
        measurable: true,
        exposure_recorded: question.allowed.timing == ConsentLevel::Individual,
        everyone_recorded: asked.reckoned.teaches_everyone
            && question.allowed.timing >= ConsentLevel::Aggregate,
        sent_local_minute: local_minute_of_week(&asked.reckoned.kept_in, send_at),
        basis: Basis {
            reason: Reason::Shadow {
                agrees: would_have.variant == Some(platform.variant),
            },
            choice_level: level,
            time_level: None,
        },
        timing: TouchTiming {
            interest: question.model.freshness.interest(),
            campaign_level: question.campaign_level,
            propensity: 0.0,
        },
        ..Touch::counted(platform.send_at_ms, true)
    }
}

fn answer_of(touch: &Touch, verdict: &Verdict, full: bool, would_have: WouldHave) -> SendAnswer {
    let (variant, segment, propensity) = match touch.answer {
        Answer::Send {
            variant,
            context,
            propensity,
            ..
        } => (variant, context.segment, propensity),
        Answer::DoNotSend(_) => (VariantIndex(0), 0, 0.0),
    };
    let choice: Option<&Choice> = match verdict {
        Verdict::Send(choice) => Some(choice),
        _ => None,
    };
    SendAnswer {
        answer: touch.answer,
        variant,
        propensity,
        holdout: false,
        segment,
        basis: touch.basis,
        send_at: Timestamp::from_millisecond(touch.planned_at_ms).unwrap_or(Timestamp::UNIX_EPOCH),
        time_propensity: 0.0,
        prediction: None,
        table: choice.filter(|_| full).map(|choice| choice.table.clone()),
        would_have: Some(would_have),
    }
}
