//! FeedbackService: events in, one result each out, answered when durable.
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tonic::{Request, Response, Status, Streaming};

use crate::app::{Activity, AppError, EventReport, EventResult, Reclassification, ReportOutcome};
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use crate::domain::human::{Evidence, NetworkKind, human_weight};
use crate::domain::name::TenantId;

use super::check::{Checks, DurationLimits, batch_size};
use super::status::{problem, status};
use super::wire::feedback_service_server::FeedbackService;
use super::{Services, tenant_of, wire};

/// No event is older: 2000-01-01.
const OLDEST_SECOND: i64 = 946_684_800;
/// Events of a stream that share one wait for durability, if so many have come in.
const STREAM_CHUNK: usize = 1_024;
const VALUE_MAX: f64 = 1e12;
const USER_AGENT_BYTES_MAX: usize = 1_024;

type EventStream = Pin<Box<dyn Stream<Item = Result<wire::StreamEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl FeedbackService for Services {
    type StreamEventsStream = EventStream;

    async fn report_events(
        &self,
        request: Request<wire::ReportEventsRequest>,
    ) -> Result<Response<wire::ReportEventsResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::ReportEventsRequest { events } = request.into_inner();
        batch_size("events", events.len()).map_err(status)?;
        let results = self.report(tenant, events).await.map_err(status)?;
        Ok(Response::new(wire::ReportEventsResponse { results }))
    }

    async fn stream_events(
        &self,
        request: Request<Streaming<wire::StreamEventsRequest>>,
    ) -> Result<Response<EventStream>, Status> {
        let tenant = tenant_of(&request);
        let services = self.clone();
        let chunks = request.into_inner().ready_chunks(STREAM_CHUNK);
        let results = chunks.then(move |chunk| {
            let services = services.clone();
            async move { stream::iter(services.report_chunk(tenant, chunk).await) }
        });
        Ok(Response::new(Box::pin(results.flatten())))
    }

    async fn reclassify_events(
        &self,
        request: Request<wire::ReclassifyEventsRequest>,
    ) -> Result<Response<wire::ReclassifyEventsResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::ReclassifyEventsRequest { reclassifications } = request.into_inner();
        batch_size("reclassifications", reclassifications.len()).map_err(status)?;
        let verdicts: Vec<_> = reclassifications.into_iter().map(verdict).collect();
        let weights: Vec<f64> = verdicts
            .iter()
            .map(|verdict| verdict.as_ref().map_or(0.0, |verdict| verdict.weight.get()))
            .collect();
        let outcomes = self
            .app
            .reclassify(tenant, verdicts)
            .await
            .map_err(status)?;
        let results = outcomes
            .into_iter()
            .zip(weights)
            .map(|(outcome, weight)| result(outcome, weight))
            .collect();
        Ok(Response::new(wire::ReclassifyEventsResponse { results }))
    }
}

impl Services {
    async fn report(
        &self,
        tenant: TenantId,
        events: Vec<wire::Event>,
    ) -> Result<Vec<wire::EventResult>, AppError> {
        let reports: Vec<_> = events.into_iter().map(event).collect();
        let weights: Vec<f64> = reports.iter().map(weight_of).collect();
        let outcomes = self.app.report(tenant, reports).await?;
        Ok(outcomes
            .into_iter()
            .zip(weights)
            .map(|(outcome, weight)| result(outcome, weight))
            .collect())
    }

    /// Reports what had come in together; an error of the connection comes after the results before it.
    async fn report_chunk(
        &self,
        tenant: TenantId,
        chunk: Vec<Result<wire::StreamEventsRequest, Status>>,
    ) -> Vec<Result<wire::StreamEventsResponse, Status>> {
        let mut ids = Vec::with_capacity(chunk.len());
        let mut events = Vec::with_capacity(chunk.len());
        let mut broken = None;
        for item in chunk {
            match item {
                Ok(wire::StreamEventsRequest {
                    correlation_id,
                    event,
                }) => {
                    ids.push(correlation_id);
                    events.push(event.unwrap_or_default());
                }
                Err(error) => broken = Some(error),
            }
        }
        let mut answers: Vec<Result<wire::StreamEventsResponse, Status>> =
            match self.report(tenant, events).await {
                Ok(results) => ids
                    .into_iter()
                    .zip(results)
                    .map(|(correlation_id, result)| {
                        Ok(wire::StreamEventsResponse {
                            correlation_id,
                            result: Some(result),
                        })
                    })
                    .collect(),
                Err(error) => vec![Err(status(error))],
            };
        answers.extend(broken.map(Err));
        answers
    }
}

fn weight_of(report: &Result<EventReport, AppError>) -> f64 {
    match report {
        Ok(EventReport::Decision { event, .. })
            if matches!(event.kind, EventKind::Opened | EventKind::Clicked) =>
        {
            event.weight.get()
        }
        Ok(EventReport::Active(activity)) => activity.weight.get(),
        _ => 0.0,
    }
}

fn result(outcome: EventResult, human_probability: f64) -> wire::EventResult {
    use wire::EventOutcome as Wire;
    let outcome = match outcome {
        Err(error) => {
            return wire::EventResult {
                outcome: Wire::Refused.into(),
                human_probability: 0.0,
                problem: Some(problem(error)),
            };
        }
        Ok(ReportOutcome::Counted) => Wire::Counted,
        Ok(ReportOutcome::Duplicate) => Wire::Duplicate,
        Ok(ReportOutcome::Upgraded) => Wire::Upgraded,
        Ok(ReportOutcome::TooLate) => Wire::TooLate,
        Ok(ReportOutcome::NotAllowed) => Wire::NotAllowed,
    };
    wire::EventResult {
        outcome: outcome.into(),
        human_probability,
        problem: None,
    }
}

fn event(event: wire::Event) -> Result<EventReport, AppError> {
    let wire::Event {
        kind,
        event_time,
        decision_id,
        recipient_id,
        human_probability,
        evidence,
        value,
        sentiment,
        permanent,
    } = event;
    let mut checks = Checks::default();
    let kind = checks.known::<wire::EventKind>("kind", kind);
    if kind == Some(wire::EventKind::Unspecified) {
        checks.wrong("kind", "is required");
    }
    let at = instant(&mut checks, event_time);
    if human_probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        checks.wrong("human_probability", "must be a number from 0 to 1");
    }
    if !(0.0..=VALUE_MAX).contains(&value) {
        checks.wrong("value", format!("must be a number from 0 to {VALUE_MAX}"));
    }
    let evidence = evidence
        .map(|wire| self::evidence(&mut checks, wire))
        .unwrap_or_default();
    let sentiment = checks.known::<wire::Sentiment>("sentiment", sentiment);
    let is_active = kind == Some(wire::EventKind::Active);
    let recipient_id = checks.identifier("recipient_id", recipient_id, is_active);
    if decision_id.is_empty() && !is_active {
        checks.wrong(
            "decision_id",
            "is required; pass the decision_id of the decision unchanged",
        );
    }
    checks.finish()?;
    let weight = |kind| {
        human_probability.map_or_else(|| human_weight(kind, &evidence).0, HumanWeight::nearest)
    };
    let Some(kind) = kind.and_then(event_kind) else {
        return Ok(EventReport::Active(Activity {
            recipient_id,
            at,
            weight: weight(EventKind::Clicked),
        }));
    };
    let sentiment = match sentiment {
        Some(wire::Sentiment::Negative) => Sentiment::Negative,
        Some(wire::Sentiment::Positive) => Sentiment::Positive,
        _ => Sentiment::Neutral,
    };
    let event = DecisionEvent {
        kind,
        at,
        weight: weight(kind),
        value,
        sentiment,
        permanent,
    };
    Ok(EventReport::Decision {
        token: decision_id,
        event,
    })
}

fn instant(checks: &mut Checks, at: Option<prost_types::Timestamp>) -> Timestamp {
    if at.is_none() {
        checks.wrong("event_time", "is required: when it happened");
    }
    let at = checks.instant("event_time", at);
    if at.is_some_and(|at| at.as_second() < OLDEST_SECOND) {
        checks.wrong(
            "event_time",
            "is before the year 2000; give the time at which it happened",
        );
    }
    at.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The kind of an event that belongs to a decision; none for activity without one.
fn event_kind(kind: wire::EventKind) -> Option<EventKind> {
    match kind {
        wire::EventKind::Unspecified | wire::EventKind::Active => None,
        wire::EventKind::Sent => Some(EventKind::Sent),
        wire::EventKind::Delivered => Some(EventKind::Delivered),
        wire::EventKind::Bounced => Some(EventKind::Bounced),
        wire::EventKind::Opened => Some(EventKind::Opened),
        wire::EventKind::Clicked => Some(EventKind::Clicked),
        wire::EventKind::Converted => Some(EventKind::Converted),
        wire::EventKind::Unsubscribed => Some(EventKind::Unsubscribed),
        wire::EventKind::Complained => Some(EventKind::Complained),
        wire::EventKind::Replied => Some(EventKind::Replied),
    }
}

fn evidence(checks: &mut Checks, wire: wire::Evidence) -> Evidence {
    let wire::Evidence {
        user_agent,
        network,
        provider_machine_flag,
        since_delivery,
        links_within_10_seconds,
    } = wire;
    let network = match checks.known::<wire::NetworkKind>("evidence.network", network) {
        Some(wire::NetworkKind::Residential) => NetworkKind::Residential,
        Some(wire::NetworkKind::Corporate) => NetworkKind::Corporate,
        Some(wire::NetworkKind::ImageProxy) => NetworkKind::ImageProxy,
        Some(wire::NetworkKind::PrivacyProxy) => NetworkKind::PrivacyProxy,
        Some(wire::NetworkKind::Hosting) => NetworkKind::Hosting,
        Some(wire::NetworkKind::Unspecified) | None => NetworkKind::Unknown,
    };
    let links = u32::try_from(links_within_10_seconds).unwrap_or_else(|_| {
        checks.wrong("evidence.links_within_10_seconds", "must not be negative");
        0
    });
    let limits = DurationLimits {
        min: SignedDuration::ZERO,
        max: SignedDuration::from_hours(366 * 24),
    };
    Evidence {
        user_agent: checks.text("evidence.user_agent", user_agent, USER_AGENT_BYTES_MAX),
        network,
        provider_machine_flag,
        since_delivery: checks.duration("evidence.since_delivery", since_delivery, limits),
        links_within_10_seconds: links,
    }
}

fn verdict(wire: wire::Reclassification) -> Result<Reclassification, AppError> {
    let wire::Reclassification {
        decision_id,
        kind,
        human_probability,
    } = wire;
    let mut checks = Checks::default();
    if decision_id.is_empty() {
        checks.wrong(
            "decision_id",
            "is required; pass the decision_id of the decision unchanged",
        );
    }
    let kind = match checks.known::<wire::EventKind>("kind", kind) {
        Some(wire::EventKind::Opened) => EventKind::Opened,
        Some(wire::EventKind::Clicked) => EventKind::Clicked,
        Some(_) => {
            checks.wrong("kind", "must be OPENED or CLICKED");
            EventKind::Opened
        }
        None => EventKind::Opened,
    };
    let weight = human_probability
        .filter(|p| (0.0..=1.0).contains(p))
        .map(HumanWeight::nearest)
        .unwrap_or_else(|| {
            checks.wrong(
                "human_probability",
                "is required: a number from 0 to 1; 0 takes the event out",
            );
            HumanWeight::NONE
        });
    checks.finish()?;
    Ok(Reclassification {
        token: decision_id,
        kind,
        weight,
    })
}
