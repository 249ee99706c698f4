//! Deciding: read the record, ask the domain, remember the touch; or predict a time and remember nothing.
//!
//! Invariant: the same recipient, experiment and occasion, or the same request id, get the same answer, and a retry racing with
//! its original gets it too, because the record's version decides between them.
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::cell::Lane;
use crate::domain::decide::{Allowed, Choice, Question, Reason, Timing, Verdict, decide};
use crate::domain::decision_log::Place;
use crate::domain::experiment::TrialOn;
use crate::domain::name::Slug;
use crate::domain::recipient::{Answer, Basis, ConsentLevel, DoNotSend, Recipient, Touch};
use crate::domain::send_time::Segments;
use crate::domain::snapshot::Snapshot;
use crate::domain::token::DecisionToken;

use super::decision_log::Entry;
use super::writes::{Address, Effects, TRIES_MAX};
use super::zones::{Reckoned, Whose};
use super::{App, AppError};

mod capacity;
mod predict;
mod question;
mod remember;
mod resolve;
mod shadow;
mod start;
mod touches;

pub use question::{
    Constraints, DecideRequest, Decided, PlatformChoice, PredictRequest, Predicted, SendAnswer,
    WouldHave, ZoneSource,
};
use remember::place;
use resolve::{Resolved, no_candidate, refuse_foreign_retry, resolve};
use start::{Standing, Start};
use touches::{answer_of, refusal, touch_of};

/// One try at a decision: what is asked, of whom, on what grounds.
struct Asked<'a> {
    request: &'a DecideRequest,
    address: Address,
    snapshot: &'a Arc<Snapshot>,
    resolved: &'a Resolved,
    reckoned: Reckoned,
    place: Place,
    now: Timestamp,
}

// === impl Asked ===

impl Asked<'_> {
    fn fresh(&self, answer: Result<SendAnswer, DoNotSend>, decision_id: String) -> Decided {
        Decided {
            decision_id,
            experiment: self.snapshot.experiment.clone(),
            answer,
            decided_at: self.now,
            repeated: false,
            version: self.snapshot.version,
            zone: self.reckoned.zone.clone(),
            zone_source: self.reckoned.source,
            transactional: self.resolved.transactional,
        }
    }

    fn entry<'a>(
        &self,
        recipient: &'a Recipient,
        question: &'a Question<'a>,
        verdict: &'a Verdict,
    ) -> Entry<'a> {
        Entry {
            address: self.address,
            recipient,
            question,
            place: self.place,
            verdict,
            platform: self.resolved.platform,
        }
    }
}

// === impl App ===

impl App {
    /// Which variant, and when; recorded unless asked otherwise.
    pub async fn decide(&self, request: &DecideRequest) -> Result<Decided, AppError> {
        let live = self
            .registry
            .by_name(request.tenant, &request.experiment)
            .ok_or_else(|| AppError::no_experiment(request.experiment.as_str()))?;
        let address = self.address(request.tenant, &request.recipient_id);
        for _ in 0..TRIES_MAX {
            let snapshot = live.snapshot();
            let now = self.now();
            let mut resolved = Resolved {
                campaign_level: live.campaign_level(),
                ..resolve(request, &snapshot, now)?
            };
            capacity::close_full_hours(&live, &snapshot.experiment, &mut resolved.window);
            let start = self.start(address, now).await?;
            if let Some(decided) = self
                .attempt(request, address, &snapshot, &resolved, start, now)
                .await?
            {
                return Ok(decided);
            }
        }
        Err(AppError::contended())
    }

    /// One try: `None` when the record changed in between.
    async fn attempt(
        &self,
        request: &DecideRequest,
        address: Address,
        snapshot: &Arc<Snapshot>,
        resolved: &Resolved,
        start: Start,
        now: Timestamp,
    ) -> Result<Option<Decided>, AppError> {
        let learned = self.tenants.of(address.tenant);
        let model = learned.model.load();
        let allowed = self.allowed(&start.recipient.consent);
        let whose = Whose {
            tenant: address.tenant,
            recipient: &start.recipient,
            allowed,
            model: &model,
            at: now,
        };
        let reckoned = self.reckoned(request.zone.as_ref(), whose);
        let guarded = reckoned.guarded(&resolved.window);
        let window = guarded.as_ref().unwrap_or(&resolved.window);
        let place = place(&snapshot.experiment, resolved.occasion, &start.recipient);
        let asked = Asked {
            request,
            address,
            snapshot,
            resolved,
            reckoned,
            place,
            now,
        };
        let question = Question {
            snapshot,
            model: &model,
            draws: self.seed.draws(
                snapshot.experiment.uid,
                address.recipient,
                place.occasion,
                place.attempt,
            ),
            now,
            timing: request.send_at.map_or(Timing::Within(window), Timing::At),
            zone: &asked.reckoned.zone,
            segment: request.segment.as_ref().map(Slug::as_str),
            eligible: resolved.eligible.as_deref(),
            frequency_cap: resolved.frequency_cap,
            transactional: resolved.transactional,
            allowed,
            campaign_level: resolved.campaign_level,
            want_candidates: request.full,
        };
        refuse_foreign_retry(&start.recipient, &snapshot.experiment, resolved.request)?;
        if let Some(touch) = shadow::earlier(&start.recipient, &question, resolved) {
            return Ok(Some(self.repeated(&asked, touch)));
        }
        self.answer(&asked, start, &question).await
    }

    /// Decides afresh and remembers it, unless nothing may be recorded: `None` when the record changed in between.
    async fn answer(
        &self,
        asked: &Asked<'_>,
        start: Start,
        question: &Question<'_>,
    ) -> Result<Option<Decided>, AppError> {
        let Asked {
            request,
            snapshot,
            resolved,
            ..
        } = asked;
        let is_consented = question.allowed.content > ConsentLevel::None;
        let recorded = start.is_recordable() && !request.validate_only && is_consented;
        let moved = asked.reckoned.moved(&start.recipient);
        let recipient = moved.as_ref().unwrap_or(&start.recipient);
        let verdict = decide(recipient, question);
        let mut effects = Effects::default();
        if recorded {
            let entry = asked.entry(recipient, question, &verdict);
            unless_refused(self.log_decision(&entry, &mut effects).await, ())?;
        }
        if let Some(platform) = resolved.platform {
            return self
                .answer_in_shadow(asked, start, question, &verdict, platform, effects)
                .await;
        }
        match verdict {
            Verdict::NoCandidate => Err(no_candidate(
                &snapshot.experiment,
                resolved.eligible.is_some(),
            )),
            Verdict::DoNotSend(reason) => {
                let touch = refusal(snapshot, question, resolved, reason);
                let is_remembered = if recorded && resolved.request != 0 {
                    unless_refused(self.remember(asked, start, touch, effects).await, true)?
                } else {
                    unless_refused(self.commit_log(asked.address, effects).await, ())?;
                    true
                };
                Ok(is_remembered.then(|| asked.fresh(Err(reason), String::new())))
            }
            Verdict::Send(choice) => {
                let effects = recorded.then_some(effects);
                self.answer_send(asked, start, question, *choice, effects)
                    .await
            }
        }
    }

    /// Answers a send and remembers it with its effects, if there are any.
    async fn answer_send(
        &self,
        asked: &Asked<'_>,
        start: Start,
        question: &Question<'_>,
        choice: Choice,
        effects: Option<Effects>,
    ) -> Result<Option<Decided>, AppError> {
        let snapshot = asked.snapshot;
        let learned = self.tenants.of(asked.address.tenant);
        let is_unreadable = start.standing == Standing::Unreadable;
        learned.fallbacks.count(is_unreadable);
        let choice = start.own(choice);
        let measurable = start.recipient.opens.are_measurable(question.now);
        let touch = touch_of(&choice, question, asked, measurable);
        let answer = answer_of(&choice, &touch, asked.request.full);
        let Some(effects) = effects else {
            return Ok(Some(asked.fresh(Ok(answer), String::new())));
        };
        let token = self.token_of(asked.address, snapshot, &touch);
        let is_remembered = match self.remember(asked, start, touch, effects).await {
            Err(error) if error.is_refusing() => {
                return Ok(Some(asked.fresh(Ok(answer.unremembered()), token)));
            }
            remembered => remembered?,
        };
        if is_remembered && choice.lane == Lane::Policy {
            self.count_choice(asked.address.tenant, &choice, &snapshot.experiment);
        }
        Ok(is_remembered.then(|| asked.fresh(Ok(answer), token)))
    }

    fn token_of(&self, address: Address, snapshot: &Snapshot, touch: &Touch) -> String {
        let Answer::Send {
            variant,
            context,
            lane,
            propensity,
        } = touch.answer
        else {
            return String::new();
        };
        let instant = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        self.keys.tokens.sign(&DecisionToken {
            tenant: address.tenant,
            experiment: touch.experiment,
            variant,
            context,
            lane,
            recipient: address.recipient,
            propensity,
            decided_at: instant(touch.decided_at_ms),
            send_at: instant(touch.planned_at_ms),
            occasion: touch.occasion,
            decision: touch.decision,
            trial_on_decision: snapshot.experiment.settings.trial_on == TrialOn::Decision,
            measurable: touch.measurable,
            exposure_recorded: touch.exposure_recorded,
        })
    }

    /// An earlier answer again: to the same request as it was, to another one as a sticky one.
    fn repeated(&self, asked: &Asked<'_>, touch: &Touch) -> Decided {
        let instant = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let is_same_request =
            touch.request == asked.resolved.request && asked.resolved.request != 0;
        let answer = match touch.answer {
            Answer::DoNotSend(reason) => Err(reason),
            answer @ Answer::Send {
                variant,
                context,
                lane,
                propensity,
            } => {
                let is_shadow = matches!(touch.basis.reason, Reason::Shadow { .. });
                let reason = if is_same_request || is_shadow {
                    touch.basis.reason
                } else {
                    Reason::Sticky
                };
                Ok(SendAnswer {
                    answer,
                    variant,
                    propensity,
                    holdout: lane == Lane::Holdout,
                    segment: context.segment,
                    basis: Basis {
                        reason,
                        ..touch.basis
                    },
                    send_at: instant(touch.planned_at_ms),
                    time_propensity: touch.timing.propensity,
                    prediction: None,
                    table: None,
                    would_have: None,
                })
            }
        };
        let token = self.token_of(asked.address, asked.snapshot, touch);
        Decided {
            decided_at: instant(touch.decided_at_ms),
            repeated: true,
            ..asked.fresh(answer, token)
        }
    }
}

/// A store that refuses changes for now does not leave a send without an answer: nothing is remembered, and the token is enough to
/// attribute events once it takes them again.
fn unless_refused<T>(result: Result<T, AppError>, otherwise: T) -> Result<T, AppError> {
    match result {
        Err(error) if error.is_refusing() => Ok(otherwise),
        result => result,
    }
}

/// The segments that consent to timing lets count.
pub(super) fn timing_segments(allowed: Allowed, recipient: &Recipient) -> Segments<'_> {
    if allowed.timing < ConsentLevel::Segment {
        return Segments::default();
    }
    Segments {
        asked: None,
        known: &recipient.segments,
    }
}
