//! Services of the same shape that do nothing: what gRPC itself costs.
//!
//! Each request is read and decoded, and the answer has the fields and sizes of a real one; nothing is looked up, decided or kept.

mod serve;

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::wire;
use crate::grpc::wire::decision_service_server::DecisionService;
use crate::grpc::wire::feedback_service_server::FeedbackService;

pub use serve::{Runtime, serve};

/// Answers everything with the same.
#[derive(Clone, Debug)]
pub struct Noop {
    decision: wire::Decision,
    time: wire::PredictSendTimeResponse,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl Noop ===

impl Default for Noop {
    fn default() -> Self {
        let at = prost_types::Timestamp {
            seconds: 1_800_000_000,
            nanos: 0,
        };
        let explained = wire::SendTimeExplanation {
            level: wire::EvidenceLevel::Recipient.into(),
            value: 0.25,
            effective_observations: 12.5,
            local_hour: 9,
            local_weekday: 2,
            time_zone: "Europe/Berlin".to_owned(),
            time_zone_source: wire::TimeZoneSource::Recipient.into(),
            relative_activity_low: 0.75,
            relative_activity: 1.5,
            relative_activity_high: 2.5,
            send_time_propensity: 0.95,
            ..wire::SendTimeExplanation::default()
        };
        let decision = wire::Decision {
            // As long as a real one.
            decision_id: "x".repeat(128),
            send: true,
            experiment: "experiments/bench-42".to_owned(),
            variant: "subject-12".to_owned(),
            reason: wire::DecisionReason::Policy.into(),
            propensity: 0.125,
            variant_level: wire::EvidenceLevel::Segment.into(),
            segment: "segment-3".to_owned(),
            send_time: Some(at),
            send_time_explanation: Some(explained.clone()),
            decide_time: Some(at),
            allocation_version: 7,
            explanation: "x".repeat(160),
            ..wire::Decision::default()
        };
        let time = wire::PredictSendTimeResponse {
            send: true,
            send_time: Some(at),
            explanation: Some(explained),
            ..wire::PredictSendTimeResponse::default()
        };
        Self { decision, time }
    }
}

impl Noop {
    fn result(&self) -> wire::DecisionResult {
        let decision = wire::decision_result::Result::Decision(self.decision.clone());
        wire::DecisionResult {
            result: Some(decision),
        }
    }
}

fn nothing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server measures transport only"))
}

#[tonic::async_trait]
impl DecisionService for Noop {
    type StreamDecideStream = Answers<wire::StreamDecideResponse>;

    async fn decide(
        &self,
        _: Request<wire::DecideRequest>,
    ) -> Result<Response<wire::DecideResponse>, Status> {
        Ok(Response::new(wire::DecideResponse {
            decision: Some(self.decision.clone()),
        }))
    }

    async fn batch_decide(
        &self,
        request: Request<wire::BatchDecideRequest>,
    ) -> Result<Response<wire::BatchDecideResponse>, Status> {
        let requests = request.into_inner().requests;
        let results = requests.iter().map(|_| self.result()).collect();
        Ok(Response::new(wire::BatchDecideResponse { results }))
    }

    async fn stream_decide(
        &self,
        request: Request<Streaming<wire::StreamDecideRequest>>,
    ) -> Result<Response<Self::StreamDecideStream>, Status> {
        let noop = self.clone();
        let answers = request.into_inner().map(move |item| {
            Ok(wire::StreamDecideResponse {
                correlation_id: item?.correlation_id,
                result: Some(noop.result()),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn choose_variant(
        &self,
        _: Request<wire::ChooseVariantRequest>,
    ) -> Result<Response<wire::ChooseVariantResponse>, Status> {
        Ok(Response::new(wire::ChooseVariantResponse {
            decision: Some(self.decision.clone()),
        }))
    }

    async fn predict_send_time(
        &self,
        _: Request<wire::PredictSendTimeRequest>,
    ) -> Result<Response<wire::PredictSendTimeResponse>, Status> {
        Ok(Response::new(self.time.clone()))
    }

    async fn replay_decision(
        &self,
        _: Request<wire::ReplayDecisionRequest>,
    ) -> Result<Response<wire::ReplayDecisionResponse>, Status> {
        nothing()
    }

    async fn plan_blast(
        &self,
        _: Request<wire::PlanBlastRequest>,
    ) -> Result<Response<wire::PlanBlastResponse>, Status> {
        nothing()
    }
}

#[tonic::async_trait]
impl FeedbackService for Noop {
    type StreamEventsStream = Answers<wire::StreamEventsResponse>;

    async fn report_events(
        &self,
        request: Request<wire::ReportEventsRequest>,
    ) -> Result<Response<wire::ReportEventsResponse>, Status> {
        let events = request.into_inner().events;
        let counted = |_: &wire::Event| wire::EventResult {
            outcome: wire::EventOutcome::Counted.into(),
            ..wire::EventResult::default()
        };
        let results = events.iter().map(counted).collect();
        Ok(Response::new(wire::ReportEventsResponse { results }))
    }

    async fn stream_events(
        &self,
        _: Request<Streaming<wire::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        nothing()
    }

    async fn reclassify_events(
        &self,
        _: Request<wire::ReclassifyEventsRequest>,
    ) -> Result<Response<wire::ReclassifyEventsResponse>, Status> {
        nothing()
    }
}
