//! DecisionService: one answer, many, or a stream of them.
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

mod answer;
mod planning;
mod question;
mod replayed;

pub use answer::{Counted, choice_level, time_level};

use crate::app::{AppError, take_turns};
use crate::domain::name::TenantId;

use super::check::{batch_size, correlation};
use super::status::{problem, status};
use super::wire::decision_service_server::DecisionService;
use super::{Services, tenant_of, wire};

type DecideStream = Pin<Box<dyn Stream<Item = Result<wire::StreamDecideResponse, Status>> + Send>>;

impl Services {
    async fn decide_one(
        &self,
        tenant: TenantId,
        request: wire::DecideRequest,
    ) -> Result<wire::Decision, AppError> {
        let request = question::decide(tenant, request)?;
        let decided = self.app.decide(&request).await?;
        Ok(answer::decision(&decided, &self.counted))
    }

    async fn decide_item(
        &self,
        tenant: TenantId,
        request: wire::DecideRequest,
    ) -> wire::DecisionResult {
        use wire::decision_result::Result as Item;
        let result = match self.decide_one(tenant, request).await {
            Ok(decision) => Item::Decision(decision),
            Err(error) => return refused(error),
        };
        wire::DecisionResult {
            result: Some(result),
        }
    }
}

fn refused(error: AppError) -> wire::DecisionResult {
    let problem = wire::decision_result::Result::Problem(problem(error));
    wire::DecisionResult {
        result: Some(problem),
    }
}

#[tonic::async_trait]
impl DecisionService for Services {
    type StreamDecideStream = DecideStream;

    async fn decide(
        &self,
        request: Request<wire::DecideRequest>,
    ) -> Result<Response<wire::DecideResponse>, Status> {
        let tenant = tenant_of(&request);
        let decision = self
            .decide_one(tenant, request.into_inner())
            .await
            .map_err(status)?;
        Ok(Response::new(wire::DecideResponse {
            decision: Some(decision),
        }))
    }

    async fn batch_decide(
        &self,
        request: Request<wire::BatchDecideRequest>,
    ) -> Result<Response<wire::BatchDecideResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::BatchDecideRequest { requests } = request.into_inner();
        batch_size("requests", requests.len()).map_err(status)?;
        let _taken_on = self.take_on(tenant, requests.len())?;
        let _turn = self.app.turn(requests.len()).await;
        let mut results = Vec::with_capacity(requests.len());
        for (at, request) in requests.into_iter().enumerate() {
            take_turns(at).await;
            results.push(self.decide_item(tenant, request).await);
        }
        Ok(Response::new(wire::BatchDecideResponse { results }))
    }

    async fn stream_decide(
        &self,
        request: Request<Streaming<wire::StreamDecideRequest>>,
    ) -> Result<Response<DecideStream>, Status> {
        let tenant = tenant_of(&request);
        let services = self.clone();
        let answers = request.into_inner().enumerate().then(move |(at, item)| {
            let services = services.clone();
            async move {
                take_turns(at).await;
                let wire::StreamDecideRequest {
                    correlation_id,
                    request,
                } = item?;
                let checked = correlation(&correlation_id);
                let result = match checked.and_then(|()| services.app.spend(tenant, 1)) {
                    Ok(()) => {
                        services
                            .decide_item(tenant, request.unwrap_or_default())
                            .await
                    }
                    Err(error) => refused(error),
                };
                Ok(wire::StreamDecideResponse {
                    correlation_id,
                    result: Some(result),
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn choose_variant(
        &self,
        request: Request<wire::ChooseVariantRequest>,
    ) -> Result<Response<wire::ChooseVariantResponse>, Status> {
        let tenant = tenant_of(&request);
        let request = question::choose_variant(tenant, request.into_inner(), self.app.now())
            .map_err(status)?;
        let decided = self.app.decide(&request).await.map_err(status)?;
        Ok(Response::new(wire::ChooseVariantResponse {
            decision: Some(answer::decision(&decided, &self.counted)),
        }))
    }

    async fn predict_send_time(
        &self,
        request: Request<wire::PredictSendTimeRequest>,
    ) -> Result<Response<wire::PredictSendTimeResponse>, Status> {
        let tenant = tenant_of(&request);
        let request = question::predict(tenant, request.into_inner()).map_err(status)?;
        let predicted = self.app.predict_send_time(&request).await.map_err(status)?;
        Ok(Response::new(answer::prediction(&predicted)))
    }

    async fn replay_decision(
        &self,
        request: Request<wire::ReplayDecisionRequest>,
    ) -> Result<Response<wire::ReplayDecisionResponse>, Status> {
        let tenant = tenant_of(&request);
        let decision_id = question::replay(request.into_inner()).map_err(status)?;
        let replayed = self
            .app
            .replay(tenant, &decision_id)
            .await
            .map_err(status)?;
        Ok(Response::new(replayed::response(replayed)))
    }

    async fn plan_blast(
        &self,
        request: Request<wire::PlanBlastRequest>,
    ) -> Result<Response<wire::PlanBlastResponse>, Status> {
        let tenant = tenant_of(&request);
        let request = planning::plan_request(tenant, request.into_inner()).map_err(status)?;
        // One plan at a time: it keeps a core busy, which decisions need.
        let turn = self.planning.clone().acquire_owned().await;
        let app = self.app.clone();
        let planned = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            app.plan_blast(&request)
        });
        let planned = planned
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let plan = planning::planned(&planned.map_err(status)?);
        Ok(Response::new(wire::PlanBlastResponse { plan: Some(plan) }))
    }
}
