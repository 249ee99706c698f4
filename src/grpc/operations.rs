//! OperationsService: alerts, counts of everything, and backups.
mod backups;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use crate::app::{AlertsRequest, App, AppError, Numbered, Statistics};
use crate::domain::alert::{Alert, AlertKind, Severity};
use crate::domain::experiment::ExperimentState;
use crate::domain::name::TenantId;

use super::check::{Checks, timestamp};
use super::results::counts_wire;
use super::status::status;
use super::wire::operations_service_server::OperationsService;
use super::{Services, tenant_of, wire};

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1_000;

type AlertStream = Pin<Box<dyn Stream<Item = Result<wire::WatchAlertsResponse, Status>> + Send>>;

/// Where a watcher is.
struct Watch {
    app: Arc<App>,
    filter: AlertsRequest,
    seen: u64,
    waiting: VecDeque<Arc<Numbered>>,
    raised: tokio::sync::watch::Receiver<u64>,
    stopping: tokio::sync::watch::Receiver<bool>,
}

#[tonic::async_trait]
impl OperationsService for Services {
    type WatchAlertsStream = AlertStream;
    type BackupStream = backups::BackupStream;

    async fn list_alerts(
        &self,
        request: Request<wire::ListAlertsRequest>,
    ) -> Result<Response<wire::ListAlertsResponse>, Status> {
        let tenant = tenant_of(&request);
        let request = list_request(tenant, request.into_inner()).map_err(status)?;
        let (page, more) = self.app.alerts(&request);
        let next_page_token = match page.last() {
            Some(last) if more => URL_SAFE_NO_PAD.encode(last.number.to_string()),
            _ => String::new(),
        };
        let alerts = page.iter().map(|numbered| alert_wire(numbered)).collect();
        Ok(Response::new(wire::ListAlertsResponse {
            alerts,
            next_page_token,
        }))
    }

    async fn watch_alerts(
        &self,
        request: Request<wire::WatchAlertsRequest>,
    ) -> Result<Response<AlertStream>, Status> {
        let tenant = tenant_of(&request);
        let (filter, after) = watch_request(tenant, request.into_inner()).map_err(status)?;
        let watch = Watch {
            app: self.app.clone(),
            seen: after.unwrap_or_else(|| self.app.last_alert(tenant)),
            filter,
            waiting: VecDeque::new(),
            raised: self.app.watch_alerts(),
            stopping: self.stopping.clone(),
        };
        Ok(Response::new(Box::pin(stream::unfold(
            watch,
            |watch| async move { watch.next().await },
        ))))
    }

    async fn backup(
        &self,
        request: Request<wire::BackupRequest>,
    ) -> Result<Response<backups::BackupStream>, Status> {
        let download = backups::Download::begin(self, request.into_inner()).map_err(status)?;
        Ok(Response::new(download.stream()))
    }

    async fn list_backups(
        &self,
        request: Request<wire::ListBackupsRequest>,
    ) -> Result<Response<wire::ListBackupsResponse>, Status> {
        let wire::ListBackupsRequest {} = request.into_inner();
        Ok(Response::new(wire::ListBackupsResponse {
            backups: self
                .app
                .backups()
                .into_iter()
                .map(backups::wire_of)
                .collect(),
        }))
    }

    async fn delete_backup(
        &self,
        request: Request<wire::DeleteBackupRequest>,
    ) -> Result<Response<wire::DeleteBackupResponse>, Status> {
        let name = backups::name_of(request.into_inner()).map_err(status)?;
        self.app.delete_backup(&name).map_err(status)?;
        Ok(Response::new(wire::DeleteBackupResponse {}))
    }

    async fn get_statistics(
        &self,
        request: Request<wire::GetStatisticsRequest>,
    ) -> Result<Response<wire::GetStatisticsResponse>, Status> {
        let statistics = self.app.statistics(tenant_of(&request));
        let as_of = self.app.now();
        Ok(Response::new(wire::GetStatisticsResponse {
            statistics: Some(wire::Statistics {
                as_of_time: Some(timestamp(as_of)),
                ..statistics_wire(&statistics)
            }),
        }))
    }
}

// === impl Watch ===

impl Watch {
    /// The next alert, and where the watcher is after it; ends with the server.
    async fn next(mut self) -> Option<(Result<wire::WatchAlertsResponse, Status>, Self)> {
        loop {
            while let Some(numbered) = self.waiting.pop_front() {
                self.seen = numbered.number;
                if self.filter.takes(&numbered.alert) {
                    let alert = Some(alert_wire(&numbered));
                    return Some((Ok(wire::WatchAlertsResponse { alert }), self));
                }
            }
            self.raised.borrow_and_update();
            self.waiting
                .extend(self.app.alerts_after(self.filter.tenant, self.seen));
            if self.waiting.is_empty() {
                tokio::select! {
                    changed = self.raised.changed() => changed.ok()?,
                    // Either it says so, or the server is gone: both end the stream.
                    _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                }
            }
        }
    }
}

fn list_request(
    tenant: TenantId,
    request: wire::ListAlertsRequest,
) -> Result<AlertsRequest, AppError> {
    let wire::ListAlertsRequest {
        page_size,
        page_token,
        experiment,
        severity_min,
        since_time,
    } = request;
    let mut checks = Checks::default();
    if page_size < 0 {
        checks.wrong("page_size", "must not be negative; 0 takes the default");
    }
    let filter = filter(&mut checks, tenant, &experiment, severity_min);
    let before = (!page_token.is_empty()).then(|| number_of(&page_token));
    if before == Some(None) {
        checks.wrong(
            "page_token",
            "is not from the answer before; start again without it",
        );
    }
    let since = checks.instant("since_time", since_time);
    checks.finish()?;
    Ok(AlertsRequest {
        before: before.flatten(),
        since,
        size: match page_size {
            0 => PAGE_DEFAULT,
            size => usize::try_from(size).map_or(PAGE_DEFAULT, |size| size.min(PAGE_MAX)),
        },
        ..filter
    })
}

fn number_of(page_token: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(page_token).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}

/// What is watched, and the number after which it begins.
fn watch_request(
    tenant: TenantId,
    request: wire::WatchAlertsRequest,
) -> Result<(AlertsRequest, Option<u64>), AppError> {
    let wire::WatchAlertsRequest {
        experiment,
        severity_min,
        after,
    } = request;
    let mut checks = Checks::default();
    let filter = filter(&mut checks, tenant, &experiment, severity_min);
    let number = after
        .strip_prefix("alerts/")
        .and_then(|number| number.parse().ok());
    if !after.is_empty() && number.is_none() {
        checks.wrong(
            "after",
            "must be the name of an alert, alerts/{alert}, or empty",
        );
    }
    checks.finish()?;
    Ok((filter, number))
}

fn filter(
    checks: &mut Checks,
    tenant: TenantId,
    experiment: &str,
    severity_min: i32,
) -> AlertsRequest {
    let experiment = if experiment.is_empty() {
        None
    } else {
        checks.experiment("experiment", experiment)
    };
    let severity_min = checks.known::<wire::AlertSeverity>("severity_min", severity_min);
    AlertsRequest {
        tenant,
        before: None,
        experiment,
        severity_min: severity_min.map_or(Severity::Notice, severity_of),
        since: None,
        size: PAGE_DEFAULT,
    }
}

fn severity_of(severity: wire::AlertSeverity) -> Severity {
    match severity {
        wire::AlertSeverity::Unspecified | wire::AlertSeverity::Notice => Severity::Notice,
        wire::AlertSeverity::Warning => Severity::Warning,
        wire::AlertSeverity::Critical => Severity::Critical,
    }
}

fn severity_wire(severity: Severity) -> wire::AlertSeverity {
    match severity {
        Severity::Notice => wire::AlertSeverity::Notice,
        Severity::Warning => wire::AlertSeverity::Warning,
        Severity::Critical => wire::AlertSeverity::Critical,
    }
}

fn kind_wire(kind: AlertKind) -> wire::AlertKind {
    match kind {
        AlertKind::VariantQuarantined => wire::AlertKind::VariantQuarantined,
        AlertKind::GuardrailWarning => wire::AlertKind::GuardrailWarning,
        AlertKind::NoVariantLeft => wire::AlertKind::NoVariantLeft,
        AlertKind::SampleRatio => wire::AlertKind::SampleRatio,
        AlertKind::SafeToConclude => wire::AlertKind::SafeToConclude,
        AlertKind::ProbationPassed => wire::AlertKind::ProbationPassed,
        AlertKind::FallbackShare => wire::AlertKind::FallbackShare,
        AlertKind::RateChanged => wire::AlertKind::RateChanged,
    }
}

fn alert_wire(numbered: &Numbered) -> wire::Alert {
    let Alert {
        kind,
        experiment,
        variant,
        text,
        numbers,
        raised_at,
    } = &numbered.alert;
    let name = |id: &crate::domain::name::Slug| format!("experiments/{id}");
    wire::Alert {
        name: format!("alerts/{}", numbered.number),
        kind: kind_wire(*kind).into(),
        severity: severity_wire(kind.severity()).into(),
        experiment: experiment.as_ref().map(name).unwrap_or_default(),
        variant_id: variant
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        text: text.clone(),
        numbers: numbers.iter().cloned().collect(),
        raise_time: Some(timestamp(*raised_at)),
    }
}

fn statistics_wire(statistics: &Statistics) -> wire::Statistics {
    let Statistics {
        states: _,
        counts,
        alerts,
        alerts_critical,
        store_records,
        store_bytes,
    } = statistics;
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let in_state = |state| whole(statistics.in_state(state));
    wire::Statistics {
        as_of_time: None,
        experiments_draft: in_state(ExperimentState::Draft),
        experiments_running: in_state(ExperimentState::Running),
        experiments_paused: in_state(ExperimentState::Paused),
        experiments_concluded: in_state(ExperimentState::Concluded),
        counts: Some(counts_wire(counts)),
        alerts: whole(*alerts),
        alerts_critical: whole(*alerts_critical),
        store_records: i64::try_from(*store_records).unwrap_or(i64::MAX),
        store_bytes: i64::try_from(*store_bytes).unwrap_or(i64::MAX),
    }
}
