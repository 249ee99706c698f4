//! The running server: both ports, the background work, and stopping in order.
//!
//! Takes bound listeners and a stop future, so that tests own the ports and the end. Stopping: health says NOT_SERVING, calls
//! in flight are finished within the drain limit, everything is flushed, and the engine is closed last.
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};

use crate::app::{App, AppError};
use crate::grpc::{Services, wire};
use crate::store::{Engine, StoreError, pace};

use super::auth::Gate;
use super::compose::Opened;
use super::config::Config;
use super::cores::{self, Cores};
use super::front::Front;
use super::gauges;
use super::guard::{Capacity, Limits};
use super::incoming::Incoming;
use super::port::{self, OperationsPort};
use super::security::{Security, SecurityError};
use super::shutdown::{Drain, Drained};
use super::transport::{grpc_rules, operations_rules, transport};

/// Pauses of a refresh, in lengths of what it computed before each: however many experiments there are, it takes a tenth of a core at most.
const REFRESH_REST: f64 = 9.0;

/// The same of the maintenance: fewer, since guardrails are tested in each round and wait for what is done before them.
const MAINTENANCE_REST: f64 = 4.0;

/// How often it is seen whether a step of the maintenance is due.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(2);

/// How often files of certificates and keys are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// How often gauges are read.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// All services.
type FrontedRouter = Router<Stack<Front, Identity>>;

/// Why the server ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The gRPC port.
    #[error("the gRPC port failed: {0}")]
    Grpc(#[from] cores::ServeError),
    /// The operations port.
    #[error("the operations port failed: {0}")]
    Operations(#[from] std::io::Error),
    /// Reflection could not be built from the descriptors.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// What was not durable yet could not be made so.
    #[error("flushing at the end failed: {0}")]
    Flush(#[from] AppError),
    /// The engine did not close.
    #[error("closing the store failed: {0}")]
    Close(#[from] StoreError),
}

/// The two ports, bound.
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For metrics and probes.
    pub operations: TcpListener,
}

/// A server that is ready to run.
pub struct Server {
    app: Arc<App>,
    engine: Arc<dyn Engine>,
    config: Config,
    metrics: PrometheusHandle,
    security: Arc<Security>,
}

/// What all threads that serve share.
struct Shared {
    services: Services,
    limits: Limits,
    gate: Gate,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether calls in flight were cut off at the drain limit.
    pub cut_off: bool,
}

// === impl Server ===

impl Server {
    /// A server over opened use cases, with everything read that protects its ports.
    ///
    /// # Errors
    /// As listed in [`SecurityError`].
    pub async fn open(
        opened: Opened,
        config: Config,
        metrics: PrometheusHandle,
    ) -> Result<Self, SecurityError> {
        let app = Arc::new(opened.app);
        let security = Security::open(&config, app.clone()).await?;
        Ok(Self {
            app,
            engine: opened.engine,
            config,
            metrics,
            security: Arc::new(security),
        })
    }

    /// What protects the ports, to have it read again before its turn.
    pub fn security(&self) -> Arc<Security> {
        self.security.clone()
    }

    /// The use cases.
    pub fn app(&self) -> Arc<App> {
        self.app.clone()
    }

    /// Serves until `stop` resolves, then stops in order; `immediate` cuts the drain short.
    pub async fn run(
        self,
        listeners: Listeners,
        stop: impl Future<Output = ()> + Send,
        immediate: impl Future,
    ) -> Result<Stopped, ServeError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let (stopping, stopped) = watch::channel(false);
        reporter
            .set_service_status("", ServingStatus::Serving)
            .await;
        let mut grpc = tokio::spawn(self.answering(listeners.grpc, &health, &stopped)?);
        let operations = tokio::spawn(port::serve(
            Incoming::new(
                listeners.operations,
                self.security.operations_handshakes(),
                operations_rules(&self.config.server),
                "operations",
            )?,
            self.pages(),
            until(stopped.clone()),
        ));
        let background = self.background(&reporter, &stopped);
        tokio::select! {
            () = stop => {}
            ended = &mut grpc => flatten(ended)?,
        }
        tracing::info!("stopping: no new calls, finishing those in flight");
        reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        stopping.send_replace(true);
        let drain = Drain {
            limit: self.config.server.drain_timeout.get(),
        };
        let drained = if grpc.is_finished() {
            Drained::Finished(Ok(Ok(())))
        } else {
            drain.run(&mut grpc, immediate).await
        };
        let cut_off = !matches!(drained, Drained::Finished(_));
        grpc.abort();
        for task in background {
            task.abort();
        }
        let _ = operations.await;
        self.app.flush().await?;
        self.engine.close().await?;
        Ok(Stopped { cut_off })
    }

    /// Answering calls on a thread a core, until stopped and all are answered.
    fn answering<H: Health>(
        &self,
        listener: TcpListener,
        health: &HealthServer<H>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<impl Future<Output = Result<(), cores::ServeError>> + Send + use<H>, ServeError>
    {
        let cores = Cores::new(self.config.server.worker_threads)?;
        let lanes = Incoming::spread(
            listener,
            self.security.handshakes(),
            grpc_rules(&self.config.server),
            "grpc",
            cores.handles(),
        )?;
        let shared = self.shared(stopped);
        let served = lanes
            .iter()
            .map(|_| {
                let router = self.router(&shared)?.add_service(health.clone());
                Ok(move |lane, stopped| router.serve_with_incoming_shutdown(lane, until(stopped)))
            })
            .collect::<Result<Vec<_>, ServeError>>()?;
        Ok(cores.serve(lanes, served, stopped.clone())?)
    }

    /// Starts what goes on beside the calls.
    fn background(
        &self,
        reporter: &tonic_health::server::HealthReporter,
        stopped: &watch::Receiver<bool>,
    ) -> [tokio::task::JoinHandle<()>; 4] {
        let (app, stopped) = (|| self.app.clone(), || stopped.clone());
        let refresh_interval = self.config.decisions.refresh_interval.get();
        [
            tokio::spawn(refresh(app(), refresh_interval, stopped())),
            tokio::spawn(maintain(app(), stopped())),
            tokio::spawn(reload(self.security.clone(), stopped())),
            tokio::spawn(upkeep(
                app(),
                reporter.clone(),
                self.metrics.clone(),
                stopped(),
            )),
        ]
    }

    /// What the threads share, so that limits hold for all of them together.
    fn shared(&self, stopping: &watch::Receiver<bool>) -> Shared {
        let server = &self.config.server;
        Shared {
            services: Services::new(self.app.clone(), stopping.clone()),
            limits: Limits::new(Capacity {
                calls_max: server.concurrent_requests_max,
                streams_max: server.concurrent_streams_max,
                timeout: server.request_timeout.get(),
            }),
            gate: self.security.gate(&self.config),
        }
    }

    fn router(&self, shared: &Shared) -> Result<FrontedRouter, ServeError> {
        let Shared {
            services,
            limits,
            gate,
        } = shared;
        let bytes_max = self.config.server.request_bytes_max;
        let front = Front::new(services, limits.beside(), gate, bytes_max);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        Ok(transport(&self.config.server)
            .layer(front)
            .add_service(gate.keep(reflection().build_v1()?))
            .add_service(gate.keep(reflection().build_v1alpha()?)))
    }

    fn pages(&self) -> axum::Router {
        let app = self.app.clone();
        OperationsPort::new(self.metrics.clone(), move || {
            app.health().map_err(|error| error.to_string())
        })
        .with_token(self.security.metrics_token())
        .router()
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the server itself is gone, which is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn flatten(
    ended: Result<Result<(), cores::ServeError>, tokio::task::JoinError>,
) -> Result<(), ServeError> {
    match ended {
        Ok(result) => Ok(result?),
        Err(error) => Err(std::io::Error::other(error).into()),
    }
}

/// Ticks of which the first comes after one period: what the opening has just done need not be done again at once.
fn from_now_on(period: Duration) -> tokio::time::Interval {
    tokio::time::interval_at(tokio::time::Instant::now() + period, period)
}

/// Recomputes what changed, off the path of decisions.
async fn refresh(app: Arc<App>, interval: Duration, stopped: watch::Receiver<bool>) {
    let mut ticks = from_now_on(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        let app = app.clone();
        let started = Instant::now();
        let resting = move || {
            let _resting = pace::rest(REFRESH_REST);
            app.refresh();
        };
        if tokio::task::spawn_blocking(resting).await.is_err() {
            tracing::error!("a refresh ended in a defect; the allocations before it stay in use");
        }
        let spent = started.elapsed();
        metrics::histogram!("hermod_refresh_duration_seconds").record(spent.as_secs_f64());
    }
}

/// Follows changes of the files that protect the ports.
async fn reload(security: Arc<Security>, stopped: watch::Receiver<bool>) {
    let mut ticks = from_now_on(RELOAD_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        security.reload().await;
    }
}

/// Does what is due from time to time; what fails is tried again.
///
/// A round computes and reads for up to a second without a pause: on a thread of its own, since connections are accepted and pages are
/// served by those that would have to do it (seen: calls on new connections waited for half a second).
async fn maintain(app: Arc<App>, stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(MAINTENANCE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let runtime = tokio::runtime::Handle::current();
    while !*stopped.borrow() {
        ticks.tick().await;
        let (app, runtime) = (app.clone(), runtime.clone());
        let round = tokio::task::spawn_blocking(move || {
            let _resting = pace::rest(MAINTENANCE_REST);
            runtime.block_on(app.maintain())
        });
        let Ok(report) = round.await else {
            tracing::error!("a round of the maintenance ended in a defect; another one follows");
            continue;
        };
        for (step, error) in report.failed {
            let step = step.as_str();
            metrics::counter!("hermod_maintenance_failures_total", "step" => step).increment(1);
            tracing::warn!(step, %error, "a step of the maintenance failed; it is tried again when it is next due");
        }
    }
}

/// Reports health and reads the gauges.
async fn upkeep(
    app: Arc<App>,
    reporter: tonic_health::server::HealthReporter,
    metrics: PrometheusHandle,
    stopped: watch::Receiver<bool>,
) {
    let mut told = ServingStatus::Serving;
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        let serving = if app.health().is_ok() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        // Only what is new: watchers of health are told each time, and a stop has the last word.
        if serving != told {
            reporter.set_service_status("", serving).await;
            told = serving;
        }
        gauges::record(&app);
        metrics.run_upkeep();
    }
}
