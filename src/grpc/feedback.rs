//! FeedbackService: events in, one result each out, answered when durable.
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

mod report;

use crate::app::{AppError, EventReport, EventResult, ReportOutcome};
use crate::domain::event::EventKind;
use crate::domain::name::TenantId;

use super::check::{batch_size, correlation};
use super::status::{problem, status};
use super::wire::feedback_service_server::FeedbackService;
use super::{Services, tenant_of, wire};
use report::{event, verdict};

/// Events of a stream that share one wait for durability, if so many have come in.
const STREAM_CHUNK: usize = 1_024;

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
        let _taken_on = self.take_on(tenant, events.len())?;
        let results = self
            .report(tenant, events.into_iter().map(Ok).collect())
            .await
            .map_err(status)?;
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
        let _taken_on = self.take_on(tenant, reclassifications.len())?;
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
        events: Vec<Result<wire::Event, AppError>>,
    ) -> Result<Vec<wire::EventResult>, AppError> {
        let reports: Vec<_> = events
            .into_iter()
            .map(|item| item.and_then(event))
            .collect();
        let notes: Vec<(f64, &str)> = reports
            .iter()
            .map(|report| (weight_of(report), kind_word(report)))
            .collect();
        let outcomes = self.app.report(tenant, reports).await?;
        let counted = outcomes
            .into_iter()
            .zip(notes)
            .map(|(outcome, (weight, kind))| {
                let word = outcome_word(&outcome);
                metrics::counter!("hermod_events_total", "kind" => kind, "result" => word)
                    .increment(1);
                result(outcome, weight)
            });
        Ok(counted.collect())
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
                    let allowed =
                        correlation(&correlation_id).and_then(|()| self.app.spend(tenant, 1));
                    events.push(allowed.map(|()| event.unwrap_or_default()));
                    ids.push(correlation_id);
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

fn kind_word(report: &Result<EventReport, AppError>) -> &'static str {
    match report {
        Ok(EventReport::Decision { event, .. }) => event.kind.word(),
        Ok(EventReport::Active(_)) => "active",
        Err(_) => "invalid",
    }
}

fn outcome_word(outcome: &EventResult) -> &'static str {
    match outcome {
        Ok(ReportOutcome::Counted) => "counted",
        Ok(ReportOutcome::Duplicate) => "duplicate",
        Ok(ReportOutcome::Upgraded) => "upgraded",
        Ok(ReportOutcome::TooLate) => "too_late",
        Ok(ReportOutcome::NotAllowed) => "not_allowed",
        Err(_) => "refused",
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
