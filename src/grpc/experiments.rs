//! ExperimentService: experiments and variants, and what they show.
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream;
use tonic::{Request, Response, Status};

mod convert;
mod options;
mod settings;
mod shown;
mod update;
mod watch;

use crate::app::{AppError, ListRequest};
use crate::domain::experiment::{Experiment, ExperimentState, VariantState};
use crate::domain::name::{Slug, TenantId};

use super::check::Checks;
use super::model_card;
use super::results;
use super::status::status;
use super::wire::experiment_service_server::ExperimentService;
use super::{Services, tenant_of, wire};
pub use settings::objective;
use shown::experiment_wire;
pub use shown::{objective_wire, state_wire, variant_state_wire};
use watch::{ResultsStream, Watch};

const PAGE_DEFAULT: usize = 50;

type Changed = Result<Arc<Experiment>, AppError>;

fn named(name: &str) -> Result<Slug, AppError> {
    let mut checks = Checks::default();
    match checks.experiment("name", name) {
        Some(id) => Ok(id),
        None => Err(checks.into_error()),
    }
}

fn answer(changed: Changed) -> Result<Option<wire::Experiment>, Status> {
    changed
        .map(|experiment| Some(experiment_wire(&experiment)))
        .map_err(status)
}

impl Services {
    async fn move_variant(
        &self,
        tenant: TenantId,
        name: &str,
        variant_id: &str,
        to: VariantState,
        reason: &str,
    ) -> Result<Option<wire::Experiment>, Status> {
        let id = named(name).map_err(status)?;
        answer(
            self.app
                .move_variant(tenant, &id, variant_id, to, reason)
                .await,
        )
    }
}

#[tonic::async_trait]
impl ExperimentService for Services {
    type WatchResultsStream = ResultsStream;

    async fn create_experiment(
        &self,
        request: Request<wire::CreateExperimentRequest>,
    ) -> Result<Response<wire::CreateExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let new = convert::new_experiment(tenant, request.into_inner(), self.app.settings())
            .map_err(status)?;
        let experiment = answer(self.app.create_experiment(new).await)?;
        Ok(Response::new(wire::CreateExperimentResponse { experiment }))
    }

    async fn get_experiment(
        &self,
        request: Request<wire::GetExperimentRequest>,
    ) -> Result<Response<wire::GetExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let id = named(&request.into_inner().name).map_err(status)?;
        let experiment = answer(self.app.experiment(tenant, &id))?;
        Ok(Response::new(wire::GetExperimentResponse { experiment }))
    }

    async fn list_experiments(
        &self,
        request: Request<wire::ListExperimentsRequest>,
    ) -> Result<Response<wire::ListExperimentsResponse>, Status> {
        let tenant = tenant_of(&request);
        let request = list_request(tenant, request.into_inner()).map_err(status)?;
        let page = self.app.list_experiments(&request);
        let next_page_token = match page.experiments.last() {
            Some(last) if page.more => {
                URL_SAFE_NO_PAD.encode(format!("{}{}", state_letter(request.state), last.id))
            }
            _ => String::new(),
        };
        let experiments = page
            .experiments
            .iter()
            .map(|experiment| experiment_wire(experiment))
            .collect();
        Ok(Response::new(wire::ListExperimentsResponse {
            experiments,
            next_page_token,
        }))
    }

    async fn update_experiment(
        &self,
        request: Request<wire::UpdateExperimentRequest>,
    ) -> Result<Response<wire::UpdateExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let experiment = answer(update::update(&self.app, tenant, request.into_inner()).await)?;
        Ok(Response::new(wire::UpdateExperimentResponse { experiment }))
    }

    async fn delete_experiment(
        &self,
        request: Request<wire::DeleteExperimentRequest>,
    ) -> Result<Response<wire::DeleteExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::DeleteExperimentRequest { name, etag, force } = request.into_inner();
        let id = named(&name).map_err(status)?;
        let revision = convert::revision(&etag).map_err(status)?;
        self.app
            .delete_experiment(tenant, &id, revision, force)
            .await
            .map_err(status)?;
        Ok(Response::new(wire::DeleteExperimentResponse {}))
    }

    async fn start_experiment(
        &self,
        request: Request<wire::StartExperimentRequest>,
    ) -> Result<Response<wire::StartExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let id = named(&request.into_inner().name).map_err(status)?;
        let experiment = answer(self.app.start_experiment(tenant, &id).await)?;
        Ok(Response::new(wire::StartExperimentResponse { experiment }))
    }

    async fn pause_experiment(
        &self,
        request: Request<wire::PauseExperimentRequest>,
    ) -> Result<Response<wire::PauseExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let id = named(&request.into_inner().name).map_err(status)?;
        let experiment = answer(self.app.pause_experiment(tenant, &id).await)?;
        Ok(Response::new(wire::PauseExperimentResponse { experiment }))
    }

    async fn conclude_experiment(
        &self,
        request: Request<wire::ConcludeExperimentRequest>,
    ) -> Result<Response<wire::ConcludeExperimentResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::ConcludeExperimentRequest { name, winner } = request.into_inner();
        let id = named(&name).map_err(status)?;
        let winner = (!winner.is_empty()).then_some(winner.as_str());
        let experiment = answer(self.app.conclude_experiment(tenant, &id, winner).await)?;
        Ok(Response::new(wire::ConcludeExperimentResponse {
            experiment,
        }))
    }

    async fn add_variant(
        &self,
        request: Request<wire::AddVariantRequest>,
    ) -> Result<Response<wire::AddVariantResponse>, Status> {
        let tenant = tenant_of(&request);
        let (id, variant) = convert::added_variant(request.into_inner()).map_err(status)?;
        let experiment = answer(self.app.add_variant(tenant, &id, variant).await)?;
        Ok(Response::new(wire::AddVariantResponse { experiment }))
    }

    async fn pause_variant(
        &self,
        request: Request<wire::PauseVariantRequest>,
    ) -> Result<Response<wire::PauseVariantResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::PauseVariantRequest { name, variant_id } = request.into_inner();
        let experiment = self
            .move_variant(tenant, &name, &variant_id, VariantState::Paused, "")
            .await?;
        Ok(Response::new(wire::PauseVariantResponse { experiment }))
    }

    async fn resume_variant(
        &self,
        request: Request<wire::ResumeVariantRequest>,
    ) -> Result<Response<wire::ResumeVariantResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::ResumeVariantRequest { name, variant_id } = request.into_inner();
        let id = named(&name).map_err(status)?;
        let experiment = answer(self.app.resume_variant(tenant, &id, &variant_id).await)?;
        Ok(Response::new(wire::ResumeVariantResponse { experiment }))
    }

    async fn quarantine_variant(
        &self,
        request: Request<wire::QuarantineVariantRequest>,
    ) -> Result<Response<wire::QuarantineVariantResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::QuarantineVariantRequest {
            name,
            variant_id,
            quarantine_reason,
        } = request.into_inner();
        let mut checks = Checks::default();
        let reason = checks.text(
            "quarantine_reason",
            quarantine_reason,
            convert::TEXT_BYTES_MAX,
        );
        checks.finish().map_err(status)?;
        let experiment = self
            .move_variant(
                tenant,
                &name,
                &variant_id,
                VariantState::Quarantined,
                &reason,
            )
            .await?;
        Ok(Response::new(wire::QuarantineVariantResponse {
            experiment,
        }))
    }

    async fn retire_variant(
        &self,
        request: Request<wire::RetireVariantRequest>,
    ) -> Result<Response<wire::RetireVariantResponse>, Status> {
        let tenant = tenant_of(&request);
        let wire::RetireVariantRequest { name, variant_id } = request.into_inner();
        let experiment = self
            .move_variant(tenant, &name, &variant_id, VariantState::Retired, "")
            .await?;
        Ok(Response::new(wire::RetireVariantResponse { experiment }))
    }

    async fn get_results(
        &self,
        request: Request<wire::GetResultsRequest>,
    ) -> Result<Response<wire::GetResultsResponse>, Status> {
        let tenant = tenant_of(&request);
        let id = named(&request.into_inner().name).map_err(status)?;
        let results = self.app.results(tenant, &id).map_err(status)?;
        Ok(Response::new(wire::GetResultsResponse {
            results: Some(results::results(&results)),
        }))
    }

    async fn get_model_card(
        &self,
        request: Request<wire::GetModelCardRequest>,
    ) -> Result<Response<wire::GetModelCardResponse>, Status> {
        let tenant = tenant_of(&request);
        let id = named(&request.into_inner().name).map_err(status)?;
        let card = self.app.model_card(tenant, &id).map_err(status)?;
        let card = Some(model_card::model_card(&card));
        Ok(Response::new(wire::GetModelCardResponse { card }))
    }

    async fn watch_results(
        &self,
        request: Request<wire::WatchResultsRequest>,
    ) -> Result<Response<ResultsStream>, Status> {
        let tenant = tenant_of(&request);
        let watch = Watch::new(self, tenant, request.into_inner()).map_err(status)?;
        Ok(Response::new(Box::pin(stream::unfold(
            Some(watch),
            |watch| async move { watch?.next().await },
        ))))
    }
}

/// Checks a request for a page. The token carries the filter, so that it cannot be used with another.
fn list_request(
    tenant: TenantId,
    request: wire::ListExperimentsRequest,
) -> Result<ListRequest, AppError> {
    let wire::ListExperimentsRequest {
        page_size,
        page_token,
        state,
    } = request;
    let mut checks = Checks::default();
    if page_size < 0 {
        checks.wrong("page_size", "must not be negative; 0 takes the default");
    }
    let state = checks
        .known::<wire::ExperimentState>("state", state)
        .and_then(convert::state_of);
    let after = if page_token.is_empty() {
        None
    } else {
        page_after(&mut checks, &page_token, state)
    };
    checks.finish()?;
    let size = if page_size <= 0 {
        PAGE_DEFAULT
    } else {
        page_size as usize
    };
    Ok(ListRequest {
        tenant,
        after,
        state,
        size,
    })
}

fn page_after(checks: &mut Checks, token: &str, state: Option<ExperimentState>) -> Option<Slug> {
    let text = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let after = text
        .as_deref()
        .and_then(|text| text.strip_prefix(state_letter(state)))
        .and_then(|id| Slug::parse(id).ok());
    if after.is_none() {
        checks.wrong(
            "page_token",
            "is not from the answer before with the same state; start again without it",
        );
    }
    after
}

fn state_letter(state: Option<ExperimentState>) -> &'static str {
    match state {
        None => "*",
        Some(ExperimentState::Draft) => "d",
        Some(ExperimentState::Running) => "r",
        Some(ExperimentState::Paused) => "p",
        Some(ExperimentState::Concluded) => "c",
    }
}
