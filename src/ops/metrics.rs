//! The metrics: their names, units and meanings, and the recorder that renders them for Prometheus.
//!
//! [`METRICS`] is the one list of what exists; whoever counts uses a name from it. Nothing global is touched except by
//! [`Metrics::install`], so a test may have a recorder of its own.

use std::future::Future;
use std::time::Duration;

use metrics::{SetRecorderError, Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size class, with upper bounds in seconds.
    Histogram,
}

/// One metric as scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricDescription {
    /// The full name.
    pub name: &'static str,
    /// What it does over time.
    pub kind: MetricKind,
    /// The unit of its values.
    pub unit: Unit,
    /// Its labels; their values come from closed sets, never from callers.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// The recorder of one process and the handle that renders it.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder was refused.
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
    /// This process has a recorder already.
    #[error("metrics are set up already: {0}")]
    Installed(String),
}

/// Upper bounds of the duration classes, in seconds: decisions take microseconds, flushes milliseconds.
const SECONDS_BOUNDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 10.0,
];

/// Every metric there is.
pub const METRICS: &[MetricDescription] = &[
    counter(
        "hermod_decisions_total",
        &["reason"],
        "Decisions answered, by why the answer was chosen.",
    ),
    counter(
        "hermod_events_total",
        &["kind", "result"],
        "Feedback events, by kind and by what became of them.",
    ),
    counter(
        "hermod_requests_total",
        &["method", "code"],
        "gRPC requests answered, by method and status code.",
    ),
    histogram(
        "hermod_request_duration_seconds",
        &["method"],
        "Time from request to answer, by method.",
    ),
    gauge(
        "hermod_requests_in_flight",
        &[],
        "Requests being served now.",
    ),
    counter(
        "hermod_requests_shed_total",
        &[],
        "Requests refused because too many were being served.",
    ),
    counter(
        "hermod_requests_rate_limited_total",
        &[],
        "Requests, items and messages refused because their tenant sent more per second than it may.",
    ),
    gauge(
        "hermod_connections",
        &["port"],
        "Connections open now, by port.",
    ),
    counter(
        "hermod_connections_closed_total",
        &["port", "reason"],
        "Connections closed by the server, by port and reason.",
    ),
    counter(
        "hermod_store_commits_total",
        &[],
        "Batches committed to the store since the start.",
    ),
    counter(
        "hermod_store_conflicts_total",
        &[],
        "Batches refused because a record had changed in between; they are tried again.",
    ),
    counter(
        "hermod_store_flushes_total",
        &[],
        "Write-outs to the disk; each makes many commits safe from a power cut.",
    ),
    counter(
        "hermod_store_folds_total",
        &[],
        "Passes that folded the journal into the records.",
    ),
    gauge(
        "hermod_store_keys",
        &[],
        "Records in the store, about: one that was written again counts once more until it is merged.",
    ),
    gauge("hermod_store_bytes", &[], "Bytes of the store on disk."),
    gauge(
        "hermod_store_unfolded_bytes",
        &[],
        "Memory held by changes not yet folded into the records.",
    ),
    gauge(
        "hermod_store_journal_bytes",
        &[],
        "Bytes of the journal that a restart would replay.",
    ),
    gauge(
        "hermod_store_healthy",
        &[],
        "1 while the store can be written, 0 while it cannot.",
    ),
    gauge(
        "hermod_backup_last_timestamp_seconds",
        &[],
        "Moment of the newest backup kept by the server, seconds since 1970; 0 when there is none.",
    ),
    gauge("hermod_backup_last_bytes", &[], "Size of that backup."),
    counter(
        "hermod_backup_failures_total",
        &[],
        "Backups that could not be written since the start.",
    ),
    counter(
        "hermod_decision_log_entries_total",
        &[],
        "Decisions logged since the start.",
    ),
    counter(
        "hermod_decision_log_bytes_total",
        &[],
        "Bytes of those, the tables and models they rest on included.",
    ),
    counter(
        "hermod_decision_log_expired_total",
        &[],
        "Logged decisions deleted after the retention.",
    ),
    gauge(
        "hermod_decision_log_oldest_age_seconds",
        &[],
        "Age of the oldest logged decision; 0 when there is none.",
    ),
    counter(
        "hermod_decision_log_skipped_total",
        &[],
        "Decisions not logged because their tenant's log had taken its bytes of the day.",
    ),
    gauge(
        "hermod_recipients",
        &[],
        "Recipients of whom anything is kept, over all tenants.",
    ),
    counter(
        "hermod_retention_removed_total",
        &["what"],
        "Things cleaned after their time: recipients, touches, marks of erasures, and records reduced to what the person forbade.",
    ),
    gauge(
        "hermod_retention_pass_age_seconds",
        &[],
        "Time since the last cleaning pass over all recipients was finished; 0 before the first.",
    ),
    histogram(
        "hermod_refresh_duration_seconds",
        &[],
        "Time to recompute the allocations that had changed.",
    ),
    gauge("hermod_experiments", &["state"], "Experiments, by state."),
    counter(
        "hermod_alerts_total",
        &["kind", "severity"],
        "Alerts raised, by kind and severity.",
    ),
    counter(
        "hermod_maintenance_failures_total",
        &["step"],
        "Steps of the maintenance that failed and are tried again, by step.",
    ),
    counter(
        "hermod_auth_failures_total",
        &["reason"],
        "Calls and scrapes refused for want of valid credentials, by reason.",
    ),
    counter(
        "hermod_tls_handshakes_total",
        &["port", "result"],
        "TLS handshakes, by port and by how they ended.",
    ),
    counter(
        "hermod_reloads_total",
        &["file", "result"],
        "Readings of files that protect the ports, at the start and after changes.",
    ),
    gauge(
        "hermod_files_unusable",
        &["file"],
        "1 while such a file has changed and cannot be used, so that its old content is in service.",
    ),
    counter(
        "hermod_audit_failures_total",
        &[],
        "Entries that could not be written to the audit log.",
    ),
    counter(
        "hermod_panics_total",
        &[],
        "Requests that ended in a bug and were answered INTERNAL.",
    ),
];

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription {
        name,
        kind: MetricKind::Counter,
        unit: Unit::Count,
        labels,
        help,
    }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    // A gauge of time says so in its name, as Prometheus asks.
    let unit = if ends_in_seconds(name) {
        Unit::Seconds
    } else {
        Unit::Count
    };
    MetricDescription {
        name,
        kind: MetricKind::Gauge,
        unit,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription {
        name,
        kind: MetricKind::Histogram,
        unit: Unit::Seconds,
        labels,
        help,
    }
}

const fn ends_in_seconds(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        [.., b'_', b's', b'e', b'c', b'o', b'n', b'd', b's']
    )
}

// === impl MetricKind ===

impl MetricKind {
    /// The word Prometheus uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// A recorder that knows every metric's description and is not yet in use.
    ///
    /// # Errors
    /// [`MetricsError::Build`].
    pub fn new() -> Result<Self, MetricsError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BOUNDS)?
            .build_recorder();
        metrics::with_local_recorder(&recorder, describe_all);
        let handle = recorder.handle();
        Ok(Self { recorder, handle })
    }

    /// Makes this the recorder of the whole process and returns the handle that renders it.
    ///
    /// # Errors
    /// [`MetricsError::Installed`].
    pub fn install(self) -> Result<PrometheusHandle, MetricsError> {
        let Self { recorder, handle } = self;
        metrics::set_global_recorder(recorder)
            .map_err(|error: SetRecorderError<_>| MetricsError::Installed(error.to_string()))?;
        Ok(handle)
    }

    /// The recorder, for `metrics::with_local_recorder`.
    pub fn recorder(&self) -> &PrometheusRecorder {
        &self.recorder
    }

    /// A handle that renders what was recorded.
    pub fn handle(&self) -> PrometheusHandle {
        self.handle.clone()
    }
}

/// Folds recorded durations away every few seconds until `shutdown`; without it they pile up while nobody scrapes.
pub async fn upkeep(handle: PrometheusHandle, shutdown: impl Future) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => return,
            _ = ticks.tick() => handle.run_upkeep(),
        }
    }
}

fn describe_all() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered_with_its_description() {
        let metrics = Metrics::new().unwrap();
        metrics::with_local_recorder(metrics.recorder(), || {
            metrics::counter!("hermod_decisions_total", "reason" => "holdout").increment(3);
            metrics::histogram!("hermod_request_duration_seconds", "method" => "Decide")
                .record(0.0002);
        });
        let text = metrics.handle().render();
        for line in [
            "# HELP hermod_decisions_total Decisions answered, by why the answer was chosen.",
            "# TYPE hermod_decisions_total counter",
            "hermod_decisions_total{reason=\"holdout\"} 3",
            "# TYPE hermod_request_duration_seconds histogram",
            "hermod_request_duration_seconds_bucket{method=\"Decide\",le=\"0.00025\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn two_recorders_do_not_share_counts() {
        let (one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        metrics::with_local_recorder(one.recorder(), || {
            metrics::counter!("hermod_panics_total").increment(1)
        });
        assert!(one.handle().render().contains("hermod_panics_total 1"));
        assert!(!other.handle().render().contains("hermod_panics_total 1"));
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus_and_are_unique() {
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.name.starts_with("hermod_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == MetricKind::Counter,
                "{}",
                metric.name
            );
            assert_eq!(
                metric.name.ends_with("_seconds"),
                metric.unit == Unit::Seconds,
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn the_documentation_lists_every_metric_with_kind_and_labels() {
        let document = include_str!("../../docs/configuration.md");
        for metric in METRICS {
            let labels = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let row = format!(
                "| `{}` | {} | {labels} | {} |",
                metric.name,
                metric.kind.as_str(),
                metric.help
            );
            let row = row.replace("|  |", "| |");
            assert!(
                document.contains(&row),
                "missing in docs/configuration.md:\n{row}"
            );
        }
    }

    #[tokio::test]
    async fn upkeep_ends_with_the_shutdown() {
        upkeep(Metrics::new().unwrap().handle(), std::future::ready(())).await;
    }
}
