//! The wire: thin handlers that check, convert, call the use cases and map errors.
//!
//! Wire types never go below this layer, and conversions name every field, so that a new one is decided on before it compiles.
mod caller;
mod check;
mod constraints;
mod decisions;
mod experiments;
mod feedback;
mod model_card;
mod operations;
mod recipients;
mod results;
mod status;
pub mod wire;

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tonic::Status;

use crate::app::{App, TakenOn};
use crate::domain::name::TenantId;

pub use caller::Caller;
pub use status::status;

use caller::tenant_of;
use wire::decision_service_server::DecisionServiceServer;
use wire::experiment_service_server::ExperimentServiceServer;
use wire::feedback_service_server::FeedbackServiceServer;
use wire::operations_service_server::OperationsServiceServer;
use wire::recipient_service_server::RecipientServiceServer;

/// The services over one set of use cases.
#[derive(Clone)]
pub struct Services {
    app: Arc<App>,
    stopping: watch::Receiver<bool>,
    planning: Arc<Semaphore>,
    counted: Arc<decisions::Counted>,
}

// === impl Services ===

impl Services {
    /// Services that call these use cases; streams that would go on for ever end once `stopping` says so.
    pub fn new(app: Arc<App>, stopping: watch::Receiver<bool>) -> Self {
        Self {
            app,
            stopping,
            planning: Arc::new(Semaphore::new(1)),
            counted: Arc::default(),
        }
    }

    /// Takes the items of a batch on and off the tenant's allowance; the call itself was counted as one already.
    fn take_on(&self, tenant: TenantId, items: usize) -> Result<TakenOn<'_>, Status> {
        let taken_on = self.app.take_on(items).map_err(status)?;
        let more = items.saturating_sub(1);
        self.app.spend(tenant, more).map_err(status)?;
        Ok(taken_on)
    }

    /// The decision service, with the largest request it takes, in bytes.
    pub fn decisions(&self, request_bytes_max: usize) -> DecisionServiceServer<Self> {
        DecisionServiceServer::new(self.clone())
            .max_decoding_message_size(request_bytes_max)
            .max_encoding_message_size(usize::MAX)
    }

    /// The feedback service.
    pub fn feedback(&self, request_bytes_max: usize) -> FeedbackServiceServer<Self> {
        FeedbackServiceServer::new(self.clone()).max_decoding_message_size(request_bytes_max)
    }

    /// The experiment service.
    pub fn experiments(&self, request_bytes_max: usize) -> ExperimentServiceServer<Self> {
        ExperimentServiceServer::new(self.clone()).max_decoding_message_size(request_bytes_max)
    }

    /// The recipient service.
    pub fn recipients(&self, request_bytes_max: usize) -> RecipientServiceServer<Self> {
        RecipientServiceServer::new(self.clone()).max_decoding_message_size(request_bytes_max)
    }

    /// The operations service.
    pub fn operations(&self, request_bytes_max: usize) -> OperationsServiceServer<Self> {
        OperationsServiceServer::new(self.clone()).max_decoding_message_size(request_bytes_max)
    }
}
