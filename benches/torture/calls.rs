//! The three ways of a call: one by one, in a batch, on a stream. Each answer is handed over as soon as it is there.
//!
//! Invariant: what was handed over was acknowledged; an error says nothing about the rest.

use hermod::grpc::wire::decision_result::Result as Item;
use hermod::grpc::wire::decision_service_client::DecisionServiceClient;
use hermod::grpc::wire::feedback_service_client::FeedbackServiceClient;
use hermod::grpc::wire::{self, StreamDecideRequest, StreamEventsRequest};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How several items are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One call each.
    Unary,
    /// One call for all.
    Batch,
    /// One stream.
    Stream,
}

/// The three ways.
pub const WAYS: [Way; 3] = [Way::Unary, Way::Batch, Way::Stream];

/// Asks for decisions.
pub async fn decide(
    channel: Channel,
    way: Way,
    requests: Vec<wire::DecideRequest>,
    mut on: impl FnMut(usize, wire::Decision),
) -> Result<(), Status> {
    let mut client = DecisionServiceClient::new(channel);
    match way {
        Way::Unary => {
            for (at, request) in requests.into_iter().enumerate() {
                let answer = client.decide(request).await?.into_inner();
                on(at, answer.decision.unwrap_or_default());
            }
        }
        Way::Batch => {
            let request = wire::BatchDecideRequest { requests };
            let answer = client.batch_decide(request).await?.into_inner();
            for (at, result) in answer.results.into_iter().enumerate() {
                on(at, item(Some(result))?);
            }
        }
        Way::Stream => {
            let messages = requests.into_iter().enumerate();
            let messages: Vec<_> = messages
                .map(|(at, request)| StreamDecideRequest {
                    correlation_id: at.to_string(),
                    request: Some(request),
                })
                .collect();
            let stream = client.stream_decide(tokio_stream::iter(messages)).await?;
            let mut answers = stream.into_inner();
            while let Some(answer) = answers.next().await {
                let answer = answer?;
                on(place(&answer.correlation_id)?, item(answer.result)?);
            }
        }
    }
    Ok(())
}

/// Reports events.
pub async fn report(
    channel: Channel,
    way: Way,
    events: Vec<wire::Event>,
    mut on: impl FnMut(usize, wire::EventResult),
) -> Result<(), Status> {
    let mut client = FeedbackServiceClient::new(channel);
    match way {
        Way::Unary => {
            for (at, event) in events.into_iter().enumerate() {
                let request = wire::ReportEventsRequest {
                    events: vec![event],
                };
                let answer = client.report_events(request).await?.into_inner();
                answer.results.into_iter().for_each(|result| on(at, result));
            }
        }
        Way::Batch => {
            let request = wire::ReportEventsRequest { events };
            let answer = client.report_events(request).await?.into_inner();
            let results = answer.results.into_iter().enumerate();
            results.for_each(|(at, result)| on(at, result));
        }
        Way::Stream => {
            let messages = events.into_iter().enumerate();
            let messages: Vec<_> = messages
                .map(|(at, event)| StreamEventsRequest {
                    correlation_id: at.to_string(),
                    event: Some(event),
                })
                .collect();
            let stream = client.stream_events(tokio_stream::iter(messages)).await?;
            let mut answers = stream.into_inner();
            while let Some(answer) = answers.next().await {
                let answer = answer?;
                let result = answer.result.unwrap_or_default();
                if let Some(problem) = &result.problem {
                    passing(problem)?;
                }
                on(place(&answer.correlation_id)?, result);
            }
        }
    }
    Ok(())
}

/// A problem of one item that says to try again ends the call as its status would.
fn passing(problem: &wire::Problem) -> Result<(), Status> {
    let code = Code::from(problem.code);
    match code {
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted => {
            Err(Status::new(code, problem.message.clone()))
        }
        _ => Ok(()),
    }
}

fn item(result: Option<wire::DecisionResult>) -> Result<wire::Decision, Status> {
    match result.and_then(|result| result.result) {
        Some(Item::Decision(decision)) => Ok(decision),
        Some(Item::Problem(problem)) => Err(Status::new(Code::from(problem.code), problem.message)),
        None => Err(Status::internal("an item without a result")),
    }
}

fn place(correlation_id: &str) -> Result<usize, Status> {
    correlation_id
        .parse()
        .map_err(|_| Status::internal("a correlation id that was never sent"))
}
