//! RecipientService: what is known of a person, and ending it.
use tonic::{Request, Response, Status};

mod convert;

use crate::app::{AppError, Kind};
use crate::domain::decision_log::{LoggedDecision, LoggedOutcome};

use super::check::{Checks, timestamp};
use super::status::status;
use super::wire::recipient_service_server::RecipientService;
use super::{Services, tenant_of, wire};

fn identified(recipient_id: String) -> Result<String, AppError> {
    let mut checks = Checks::default();
    let recipient_id = checks.identifier("recipient_id", recipient_id, true);
    checks.finish()?;
    Ok(recipient_id)
}

#[tonic::async_trait]
impl RecipientService for Services {
    async fn get_recipient(
        &self,
        request: Request<wire::GetRecipientRequest>,
    ) -> Result<Response<wire::GetRecipientResponse>, Status> {
        let tenant = tenant_of(&request);
        let recipient_id = identified(request.into_inner().recipient_id).map_err(status)?;
        let view = self
            .app
            .recipient(tenant, &recipient_id)
            .await
            .map_err(status)?;
        Ok(Response::new(wire::GetRecipientResponse {
            recipient: Some(convert::recipient(&view)),
        }))
    }

    async fn update_recipient(
        &self,
        request: Request<wire::UpdateRecipientRequest>,
    ) -> Result<Response<wire::UpdateRecipientResponse>, Status> {
        let tenant = tenant_of(&request);
        let (recipient_id, change) = convert::change(request.into_inner()).map_err(status)?;
        let view = self
            .app
            .update_recipient(tenant, &recipient_id, &change)
            .await
            .map_err(status)?;
        Ok(Response::new(wire::UpdateRecipientResponse {
            recipient: Some(convert::recipient(&view)),
        }))
    }

    async fn export_recipient(
        &self,
        request: Request<wire::ExportRecipientRequest>,
    ) -> Result<Response<wire::ExportRecipientResponse>, Status> {
        let tenant = tenant_of(&request);
        let recipient_id = identified(request.into_inner().recipient_id).map_err(status)?;
        let view = self
            .app
            .recipient(tenant, &recipient_id)
            .await
            .map_err(status)?;
        let logged = self.app.logged_of_recipient(tenant, &recipient_id).await;
        let logged = logged.map_err(status)?;
        let json = json(&view.recipient).map_err(status)?;
        Ok(Response::new(wire::ExportRecipientResponse {
            recipient: Some(convert::recipient(&view)),
            json,
            logged_decisions_json: logged_json(&logged).map_err(status)?,
        }))
    }

    async fn erase_recipient(
        &self,
        request: Request<wire::EraseRecipientRequest>,
    ) -> Result<Response<wire::EraseRecipientResponse>, Status> {
        let tenant = tenant_of(&request);
        let recipient_id = identified(request.into_inner().recipient_id).map_err(status)?;
        let receipt = self
            .app
            .erase_recipient(tenant, &recipient_id)
            .await
            .map_err(status)?;
        Ok(Response::new(wire::EraseRecipientResponse {
            existed: receipt.existed,
            touches_removed: i32::try_from(receipt.touches).unwrap_or(i32::MAX),
            amounts: receipt.amounts.into_iter().map(convert::amount).collect(),
            observations_removed: receipt.observations,
            erase_time: Some(timestamp(receipt.erased_at)),
            logged_decisions_removed: i32::try_from(receipt.logged_decisions).unwrap_or(i32::MAX),
        }))
    }
}

fn json<T: serde::Serialize>(record: &T) -> Result<String, AppError> {
    serde_json::to_string_pretty(record).map_err(|error| {
        AppError::new(
            Kind::Internal,
            "EXPORT_FAILED",
            format!("the record has no JSON form: {error}"),
        )
    })
}

/// An entry of the decision log with what became of it.
#[derive(serde::Serialize)]
struct LoggedEntry<'a> {
    decision: &'a LoggedDecision,
    outcome: Option<&'a LoggedOutcome>,
}

fn logged_json(logged: &[(LoggedDecision, Option<LoggedOutcome>)]) -> Result<String, AppError> {
    let entries: Vec<LoggedEntry<'_>> = logged
        .iter()
        .map(|(decision, outcome)| LoggedEntry {
            decision,
            outcome: outcome.as_ref(),
        })
        .collect();
    json(&entries)
}
