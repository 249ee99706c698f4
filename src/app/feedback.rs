//! Taking events: find the touch, apply the event, commit what it adds; then wait once until all of it is on disk.
//!
//! Invariant: an event that is answered as counted is durable and counted once, however often and in whatever order it is reported.
use jiff::{SignedDuration, Timestamp};

use crate::domain::event::DecisionEvent;
use crate::domain::feedback::{self, EventOutcome};
use crate::domain::name::TenantId;
use crate::domain::token::DecisionToken;
use crate::store::Ticket;

use super::turns::take_turns;
use super::writes::Address;
use super::{App, AppError, Kind};

mod activity;
mod report;
mod touch;

pub use report::{Activity, EventReport, EventResult, Reclassification, ReportOutcome};

/// Events may be this far ahead of the clock: clocks differ.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

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
        let turn = self.turn(reports.len()).await;
        let mut results = Vec::with_capacity(reports.len());
        let mut newest = None;
        for (at, report) in reports.into_iter().enumerate() {
            take_turns(at).await;
            let step = match report {
                Ok(EventReport::Decision { token, event }) => {
                    self.report_decision(tenant, &token, event).await
                }
                Ok(EventReport::Active(activity)) => self.report_activity(tenant, &activity).await,
                Err(error) => Err(error),
            };
            settle(step, &mut results, &mut newest)?;
        }
        drop(turn);
        self.make_durable(&results, newest).await?;
        Ok(results)
    }

    /// Puts later verdicts in the place of earlier ones, each with its own result.
    pub async fn reclassify(
        &self,
        tenant: TenantId,
        verdicts: Vec<Result<Reclassification, AppError>>,
    ) -> Result<Vec<EventResult>, AppError> {
        let turn = self.turn(verdicts.len()).await;
        let mut results = Vec::with_capacity(verdicts.len());
        let mut newest = None;
        for (at, verdict) in verdicts.into_iter().enumerate() {
            take_turns(at).await;
            let step = match verdict {
                Ok(verdict) => self.reclassify_one(tenant, &verdict).await,
                Err(error) => Err(error),
            };
            settle(step, &mut results, &mut newest)?;
        }
        drop(turn);
        self.make_durable(&results, newest).await?;
        Ok(results)
    }

    /// Waits until the results would survive a power cut. A duplicate rests on a commit of somebody else's, perhaps of a moment ago, which
    /// must not be lost either once its caller was told that the event had counted.
    async fn make_durable(
        &self,
        results: &[EventResult],
        newest: Option<Ticket>,
    ) -> Result<(), AppError> {
        let rests_on_others = |result: &EventResult| matches!(result, Ok(ReportOutcome::Duplicate));
        match newest {
            _ if results.iter().any(rests_on_others) => self.flush().await,
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
        not_in_future(event.at, now)?;
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
        let step = self
            .change_touch(
                address,
                &token,
                &experiment,
                |recipient, touch, rules, effects| {
                    let charted = touch.is_charted(event.kind);
                    let outcome = feedback::apply(touch, &event, rules);
                    if let Some(suppression) =
                        feedback::suppression(&event).filter(|_| outcome == EventOutcome::Counted)
                    {
                        recipient.suppression = Some(suppression);
                    }
                    if outcome == EventOutcome::TooLate {
                        touch.events |= event.kind.late_bit();
                    }
                    let is_first = !charted && outcome == EventOutcome::TooLate;
                    if is_first || outcome == EventOutcome::Counted {
                        effects.count_event(touch, &event, i64::from(!charted));
                    }
                    outcome
                },
            )
            .await?;
        if step.1.is_some() {
            self.heed(tenant, token.experiment, token.variant, &event)
                .await;
        }
        Ok(step)
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

    pub(super) fn verified(&self, tenant: TenantId, text: &str) -> Result<DecisionToken, AppError> {
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
        Err(error) if error.is_refusing() => return Err(error),
        Err(error) => results.push(Err(error)),
    }
    Ok(())
}

/// Refuses events that have not happened yet.
fn not_in_future(at: Timestamp, now: Timestamp) -> Result<(), AppError> {
    if at <= now.checked_add(AHEAD_MAX).unwrap_or(Timestamp::MAX) {
        return Ok(());
    }
    let description =
        "is more than 24 hours ahead of the server's clock; report events once they have happened";
    Err(AppError::invalid_field(
        "EVENT_IN_FUTURE",
        "event_time",
        description,
    ))
}
