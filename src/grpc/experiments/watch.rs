//! Watching results: the present ones, and new ones whenever something changed, no more often than the caller likes.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tonic::Status;

use crate::app::{App, AppError};
use crate::domain::name::{Slug, TenantId};
use crate::grpc::check::{Checks, DurationLimits};
use crate::grpc::status::status;
use crate::grpc::{Services, results, wire};

const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The answers to a watcher.
pub type ResultsStream =
    Pin<Box<dyn Stream<Item = Result<wire::WatchResultsResponse, Status>> + Send>>;

/// Where a watcher is.
pub struct Watch {
    app: Arc<App>,
    tenant: TenantId,
    id: Slug,
    interval: Duration,
    changes: tokio::sync::watch::Receiver<u64>,
    stopping: tokio::sync::watch::Receiver<bool>,
    first: bool,
}

// === impl Watch ===

impl Watch {
    /// A watcher of an experiment that is there.
    pub fn new(
        services: &Services,
        tenant: TenantId,
        request: wire::WatchResultsRequest,
    ) -> Result<Self, AppError> {
        let wire::WatchResultsRequest { name, interval } = request;
        let mut checks = Checks::default();
        let id = checks.experiment("name", &name);
        let limits = DurationLimits {
            min: jiff::SignedDuration::from_millis(100),
            max: jiff::SignedDuration::from_hours(1),
        };
        let interval = checks
            .duration("interval", interval, limits)
            .and_then(|interval| Duration::try_from(interval).ok());
        checks.finish()?;
        let id = id.unwrap_or_else(Slug::placeholder);
        services.app.experiment(tenant, &id)?;
        Ok(Self {
            app: services.app.clone(),
            tenant,
            id,
            interval: interval.unwrap_or(WATCH_INTERVAL),
            changes: services.app.watch_changes(),
            stopping: services.stopping.clone(),
            first: true,
        })
    }

    /// The next answer, and where the watcher is after it; the stream ends with an error once the experiment is gone.
    pub async fn next(
        mut self,
    ) -> Option<(Result<wire::WatchResultsResponse, Status>, Option<Self>)> {
        if !self.first {
            let changed = async {
                tokio::time::sleep(self.interval).await;
                self.changes.changed().await
            };
            tokio::select! {
                changed = changed => changed.ok()?,
                // Either it says so, or the server is gone: both end the stream.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
        self.first = false;
        match self.app.results(self.tenant, &self.id) {
            Ok(results) => Some((
                Ok(wire::WatchResultsResponse {
                    results: Some(results::results(&results)),
                }),
                Some(self),
            )),
            Err(error) => Some((Err(status(error)), None)),
        }
    }
}
