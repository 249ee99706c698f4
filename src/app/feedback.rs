//! Taking events: find the touch, apply the event, commit what it adds; then wait once until all of it is on disk.
//!
//! Invariant: an event that is answered as counted is durable and counted once, however often and in whatever order it is reported.
use jiff::{SignedDuration, Timestamp};

use crate::domain::active_hours::Marked;
use crate::domain::contribution::Change as TouchChange;
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight};
use crate::domain::experiment::Experiment;
use crate::domain::feedback::{
    self, EventOutcome, Rules, TouchState, touch_from_token, touch_state,
};
use crate::domain::hour_activity::{HourActivity, HourDelta, SETTLED_DAY};
use crate::domain::name::TenantId;
use crate::domain::recipient::{ConsentLevel, Recipient, Touch};
use crate::domain::send_time::Individuality;
use crate::domain::token::DecisionToken;
use crate::store::Ticket;

use super::writes::{Address, Effects, TRIES_MAX};
use super::{App, AppError, Kind};

/// Events may be this far ahead of the clock: clocks differ.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// An event as reported, checked for shape.
#[derive(Clone, Debug)]
pub enum EventReport {
    /// Something that happened to a mail.
    Decision {
        /// The decision id.
        token: String,
        /// What happened.
        event: DecisionEvent,
    },
    /// A person was active elsewhere.
    Active(Activity),
}

/// A person was active elsewhere.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The caller's id of the person.
    pub recipient_id: String,
    /// When.
    pub at: Timestamp,
    /// How likely a person did it.
    pub weight: HumanWeight,
}

/// A later verdict on an open or click.
#[derive(Clone, Debug)]
pub struct Reclassification {
    /// The decision id.
    pub token: String,
    /// Open or click.
    pub kind: EventKind,
    /// The new probability that a person did it.
    pub weight: HumanWeight,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Counted, and durable.
    Counted,
    /// No further effect: it had counted.
    Duplicate,
    /// It replaced one with a lower human probability.
    Upgraded,
    /// Too late to be learned from.
    TooLate,
    /// Consent or an erasure forbids it.
    NotAllowed,
}

/// What became of one event, or why it was refused.
pub type EventResult = Result<ReportOutcome, AppError>;

/// An outcome with the ticket of its commit, if there was one.
type Step = (ReportOutcome, Option<Ticket>);

// === impl App ===

impl App {
    /// Takes events one by one, each with its own result, and answers when all that counted is durable.
    ///
    /// Errors only when the store cannot make them durable; then all may be reported again.
    pub async fn report(
        &self,
        tenant: TenantId,
        reports: Vec<Result<EventReport, AppError>>,
    ) -> Result<Vec<EventResult>, AppError> {
        let mut results = Vec::with_capacity(reports.len());
        let mut newest = None;
        for report in reports {
            let step = match report {
                Ok(EventReport::Decision { token, event }) => {
                    self.report_decision(tenant, &token, event).await
                }
                Ok(EventReport::Active(activity)) => self.report_activity(tenant, &activity).await,
                Err(error) => Err(error),
            };
            settle(step, &mut results, &mut newest)?;
        }
        self.make_durable(newest).await?;
        Ok(results)
    }

    /// Puts later verdicts in the place of earlier ones, each with its own result.
    pub async fn reclassify(
        &self,
        tenant: TenantId,
        verdicts: Vec<Result<Reclassification, AppError>>,
    ) -> Result<Vec<EventResult>, AppError> {
        let mut results = Vec::with_capacity(verdicts.len());
        let mut newest = None;
        for verdict in verdicts {
            let step = match verdict {
                Ok(verdict) => self.reclassify_one(tenant, &verdict).await,
                Err(error) => Err(error),
            };
            settle(step, &mut results, &mut newest)?;
        }
        self.make_durable(newest).await?;
        Ok(results)
    }

    async fn make_durable(&self, newest: Option<Ticket>) -> Result<(), AppError> {
        match newest {
            Some(ticket) => Ok(self.engine.durable(ticket).await?),
            None => Ok(()),
        }
    }

    async fn report_decision(
        &self,
        tenant: TenantId,
        token: &str,
        event: DecisionEvent,
    ) -> Result<Step, AppError> {
        let token = self.verified(tenant, token)?;
        let now = self.now();
        if event.at > now.checked_add(AHEAD_MAX).unwrap_or(Timestamp::MAX) {
            return Err(AppError::invalid_field(
                "EVENT_IN_FUTURE",
                "event_time",
                "is more than 24 hours ahead of the server's clock; report events once they have happened",
            ));
        }
        let experiment = self
            .registry
            .by_uid(tenant, token.experiment)
            .map(|live| live.experiment());
        let Some(experiment) = experiment else {
            return Err(AppError::new(
                Kind::NotFound,
                "EXPERIMENT_NOT_FOUND",
                "the experiment of this decision was deleted; drop the event",
            ));
        };
        let address = Address {
            tenant,
            recipient: token.recipient,
        };
        self.change_touch(
            address,
            &token,
            &experiment,
            |recipient, touch, rules, effects| {
                let outcome = feedback::apply(touch, &event, rules);
                if let Some(suppression) =
                    feedback::suppression(&event).filter(|_| outcome == EventOutcome::Counted)
                {
                    recipient.suppression = Some(suppression);
                }
                if matches!(outcome, EventOutcome::Counted | EventOutcome::TooLate)
                    && !(outcome == EventOutcome::TooLate && touch.has(event.kind))
                {
                    effects.count_event(touch, event.kind, event.at);
                }
                if outcome == EventOutcome::TooLate {
                    touch.events |= event.kind.bit();
                }
                outcome
            },
        )
        .await
    }

    async fn reclassify_one(
        &self,
        tenant: TenantId,
        verdict: &Reclassification,
    ) -> Result<Step, AppError> {
        let token = self.verified(tenant, &verdict.token)?;
        let Some(live) = self.registry.by_uid(tenant, token.experiment) else {
            return Err(AppError::new(
                Kind::NotFound,
                "EXPERIMENT_NOT_FOUND",
                "the experiment of this decision was deleted; drop the verdict",
            ));
        };
        let address = Address {
            tenant,
            recipient: token.recipient,
        };
        let mut missing = false;
        let step = self
            .change_touch(address, &token, &live.experiment(), |_, touch, _, _| {
                feedback::reclassify(touch, verdict.kind, verdict.weight).unwrap_or_else(|| {
                    missing = true;
                    EventOutcome::Duplicate
                })
            })
            .await?;
        if missing {
            let message = format!(
                "no {} event has counted for this decision; report it with its human_probability instead",
                verdict.kind.word()
            );
            return Err(AppError::new(Kind::NotFound, "EVENT_NOT_FOUND", message));
        }
        Ok(step)
    }

    fn verified(&self, tenant: TenantId, text: &str) -> Result<DecisionToken, AppError> {
        let refused = |description: String| {
            AppError::invalid_field("DECISION_ID_INVALID", "decision_id", description)
        };
        let token = self
            .keys
            .tokens
            .verify(text)
            .map_err(|error| refused(error.to_string()))?;
        if token.tenant != tenant {
            return Err(refused("was made for another tenant".to_owned()));
        }
        Ok(token)
    }

    /// Loads the record, makes the touch again if its commit was lost, applies a change, and commits the difference it makes.
    async fn change_touch(
        &self,
        address: Address,
        token: &DecisionToken,
        experiment: &Experiment,
        mut apply: impl FnMut(&mut Recipient, &mut Touch, &Rules<'_>, &mut Effects) -> EventOutcome,
    ) -> Result<Step, AppError> {
        for _ in 0..TRIES_MAX {
            let now = self.now();
            let loaded = self.read_recipient(address).await?;
            let mut recipient = loaded.recipient.unwrap_or_else(|| Recipient::new(now));
            let state = touch_state(&recipient, token, now);
            if let Some(outcome) = gone(state) {
                return Ok((outcome, None));
            }
            if self.allowed(&recipient.consent).content == ConsentLevel::None {
                return Ok((ReportOutcome::NotAllowed, None));
            }
            let zone = recipient.zone_or(&self.settings.default_zone);
            let settings = &experiment.settings;
            let rules = Rules {
                trial_on: settings.trial_on,
                attribution_window_ms: settings.attribution_window_ms,
                zone: &zone,
                now,
            };
            let mut effects = Effects::default();
            if state == TouchState::Lost {
                let touch = touch_from_token(token, &zone);
                self.add_change(
                    &mut recipient,
                    &mut effects,
                    TouchChange {
                        before: None,
                        after: Some(&touch),
                    },
                    experiment,
                    now,
                );
                effects.count_decision(&touch);
                recipient.remember(touch, now);
            }
            let Some(before) = recipient.touch_mut(token.decision).cloned() else {
                return Ok((ReportOutcome::TooLate, None));
            };
            let mut after = before.clone();
            let outcome = match apply(&mut recipient, &mut after, &rules, &mut effects) {
                EventOutcome::BeforeDecision => {
                    return Err(AppError::invalid_field(
                        "EVENT_BEFORE_DECISION",
                        "event_time",
                        "is before the decision it belongs to; check the clock of whoever reports it",
                    ));
                }
                EventOutcome::Erased => ReportOutcome::NotAllowed,
                EventOutcome::Counted => ReportOutcome::Counted,
                EventOutcome::Duplicate => ReportOutcome::Duplicate,
                EventOutcome::Upgraded => ReportOutcome::Upgraded,
                EventOutcome::TooLate => ReportOutcome::TooLate,
            };
            if before == after && state == TouchState::Present {
                return Ok((outcome, None));
            }
            let after = self.within_consent(&recipient, after);
            self.add_change(
                &mut recipient,
                &mut effects,
                TouchChange {
                    before: Some(&before),
                    after: Some(&after),
                },
                experiment,
                now,
            );
            if let Some(slot) = recipient.touch_mut(token.decision) {
                *slot = after;
            }
            recipient.mark_changed(now);
            if let Some(ticket) = self
                .commit(address, &recipient, loaded.version, &effects)
                .await?
            {
                return Ok((outcome, Some(ticket)));
            }
        }
        Err(AppError::contended())
    }

    /// A consent withdrawn since the decision takes the touch out of the hours it was in.
    fn within_consent(&self, recipient: &Recipient, touch: Touch) -> Touch {
        let timing = self.allowed(&recipient.consent).timing;
        Touch {
            exposure_recorded: touch.exposure_recorded && timing == ConsentLevel::Individual,
            everyone_recorded: touch.everyone_recorded && timing >= ConsentLevel::Aggregate,
            ..touch
        }
    }

    fn add_change(
        &self,
        recipient: &mut Recipient,
        effects: &mut Effects,
        change: TouchChange<'_>,
        experiment: &Experiment,
        now: Timestamp,
    ) {
        let freshness = self.model.load().freshness;
        effects.of_touch(change, Some(experiment), &freshness, now);
        change.apply_to_profile(&mut recipient.activity, &freshness);
    }

    /// Activity without a mail: once per person and hour.
    async fn report_activity(
        &self,
        tenant: TenantId,
        activity: &Activity,
    ) -> Result<Step, AppError> {
        let address = self.address(tenant, &activity.recipient_id);
        for _ in 0..TRIES_MAX {
            let now = self.now();
            if activity.at > now.checked_add(AHEAD_MAX).unwrap_or(Timestamp::MAX) {
                return Err(AppError::invalid_field(
                    "EVENT_IN_FUTURE",
                    "event_time",
                    "is more than 24 hours ahead of the server's clock; report events once they have happened",
                ));
            }
            let loaded = self.read_recipient(address).await?;
            let mut recipient = loaded.recipient.unwrap_or_else(|| Recipient::new(now));
            let timing = self.allowed(&recipient.consent).timing;
            if timing == ConsentLevel::None
                || recipient.erased_at_ms >= activity.at.as_millisecond()
            {
                return Ok((ReportOutcome::NotAllowed, None));
            }
            match recipient.active_hours.mark(activity.at) {
                Marked::New => {}
                Marked::Again => return Ok((ReportOutcome::Duplicate, None)),
                Marked::TooOld => return Ok((ReportOutcome::TooLate, None)),
            }
            let effects = self.activity_effects(&mut recipient, activity, timing);
            recipient.mark_changed(now);
            if let Some(ticket) = self
                .commit(address, &recipient, loaded.version, &effects)
                .await?
            {
                return Ok((ReportOutcome::Counted, Some(ticket)));
            }
        }
        Err(AppError::contended())
    }

    fn activity_effects(
        &self,
        recipient: &mut Recipient,
        activity: &Activity,
        timing: ConsentLevel,
    ) -> Effects {
        let local = recipient
            .zone_or(&self.settings.default_zone)
            .local_hour(activity.at);
        let weight = activity.weight.get();
        let mut individuality = None;
        if timing == ConsentLevel::Individual {
            let model = self.model.load();
            let mut part = Individuality::default();
            part.observe(
                &recipient.activity.read(activity.at),
                local,
                &model.everyone,
                &model.parameters,
            );
            individuality = (part != Individuality::default()).then_some(part);
            recipient
                .activity
                .record_activity(activity.at, local, weight);
        }
        let part = HourActivity {
            as_of_ms: activity.at.as_millisecond(),
            active: weight,
            ..HourActivity::default()
        };
        Effects {
            hours: vec![HourDelta {
                day: SETTLED_DAY,
                hour: local.hour_of_week(),
                part,
            }],
            individuality,
            ..Effects::default()
        }
    }
}

/// Whether a touch is gone for good, and what its events come to then.
fn gone(state: TouchState) -> Option<ReportOutcome> {
    match state {
        TouchState::Present | TouchState::Lost => None,
        TouchState::Forgotten => Some(ReportOutcome::TooLate),
        TouchState::Erased => Some(ReportOutcome::NotAllowed),
    }
}

/// Keeps one result; only a store that cannot serve fails the whole call.
fn settle(
    step: Result<Step, AppError>,
    results: &mut Vec<EventResult>,
    newest: &mut Option<Ticket>,
) -> Result<(), AppError> {
    match step {
        Ok((outcome, ticket)) => {
            *newest = (*newest).max(ticket);
            results.push(Ok(outcome));
        }
        Err(error) if error.kind == Kind::Unavailable => return Err(error),
        Err(error) => results.push(Err(error)),
    }
    Ok(())
}
