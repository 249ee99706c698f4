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
use tower::layer::util::{Identity, Stack};

use crate::app::{App, AppError};
use crate::grpc::{Services, wire};
use crate::store::{Engine, StoreError};

use super::auth::Gate;
use super::compose::Opened;
use super::config::{Config, ServerConfig};
use super::connections::{NotedLayer, Rules};
use super::cores::{self, Cores};
use super::gauges;
use super::guard::{Capacity, Limits};
use super::incoming::Incoming;
use super::port::{self, OperationsPort};
use super::security::{Security, SecurityError};
use super::shutdown::{Drain, Drained};

/// Pause after a refresh, in lengths of it.
const REFRESH_REST: u32 = 4;

/// How often it is seen whether a step of the maintenance is due.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(2);

/// How often files of certificates and keys are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// How often gauges are read.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a client may send ahead on one stream, in bytes, before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send ahead on one connection, in bytes.
///
/// h2 closes a connection (`too_many_data_frames`) when the small frames that wait to be read cost more than half of this, each
/// the bytes it lacks to a full frame. A client that streams small messages as fast as it can (gRPC for Python: one frame each)
/// fills its stream's window; with the default of 1 MiB for both it was cut off within a second.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// Streams that this side may have reset for errors of the client before the connection is cut.
const LOCAL_RESETS_MAX: usize = 256;
/// Connections of the operations port at one time: scrapes, probes and people are few.
const OPERATIONS_CONNECTIONS_MAX: usize = 256;
/// What begins every connection of HTTP/2 (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// The shortest request line of HTTP/1 with its end: `GET / HTTP/1.1`.
const REQUEST_LINE_BYTES: usize = 16;

/// The services, with their calls noted.
type NotedRouter = Router<Stack<NotedLayer, Identity>>;

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
        let cores = Cores::new(self.config.server.worker_threads)?;
        let lanes = Incoming::spread(
            listeners.grpc,
            self.security.handshakes(),
            grpc_rules(&self.config.server),
            "grpc",
            cores.handles(),
        )?;
        let shared = self.shared(&stopped);
        let served = lanes
            .iter()
            .map(|_| {
                let router = self.router(&shared)?.add_service(health.clone());
                Ok(move |lane, stopped| router.serve_with_incoming_shutdown(lane, until(stopped)))
            })
            .collect::<Result<_, ServeError>>()?;
        let operations = Incoming::new(
            listeners.operations,
            self.security.operations_handshakes(),
            operations_rules(&self.config.server),
            "operations",
        )?;
        let mut grpc = tokio::spawn(cores.serve(lanes, served, stopped.clone()));
        let operations = tokio::spawn(port::serve(
            operations,
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

    fn router(&self, shared: &Shared) -> Result<NotedRouter, ServeError> {
        let Shared {
            services,
            limits,
            gate,
        } = shared;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let bytes_max = self.config.server.request_bytes_max;
        Ok(transport(&self.config.server)
            .layer(NotedLayer)
            .add_service(limits.guard(gate.keep(services.decisions(bytes_max))))
            .add_service(limits.guard(gate.keep(services.feedback(bytes_max))))
            .add_service(limits.guard(gate.keep(services.experiments(bytes_max))))
            .add_service(limits.guard(gate.keep(services.recipients(bytes_max))))
            .add_service(limits.guard(gate.keep(services.operations(bytes_max))))
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

/// What holds for connections of callers, as the configuration has it.
pub fn grpc_rules(server: &ServerConfig) -> Rules {
    let age_max = server.connection_age_max.get() + server.connection_age_grace.get();
    let per_address = server.connections_per_address_max;
    Rules {
        connections_max: server.connections_max,
        per_address_max: (per_address > 0).then_some(per_address),
        first_bytes: PREFACE_BYTES,
        first_bytes_timeout: server.first_bytes_timeout.get(),
        idle_max: Some(server.idle_timeout.get()),
        stalled_max: Some(server.stalled_timeout.get()),
        age_max: Some(age_max),
    }
}

/// Calls of this port are not noted, so all its connections count as idle: of too many the oldest makes room.
fn operations_rules(server: &ServerConfig) -> Rules {
    Rules {
        connections_max: OPERATIONS_CONNECTIONS_MAX,
        per_address_max: None,
        first_bytes: REQUEST_LINE_BYTES,
        first_bytes_timeout: server.first_bytes_timeout.get(),
        idle_max: None,
        stalled_max: None,
        age_max: None,
    }
}

/// HTTP/2 as the configuration has it.
pub fn transport(config: &ServerConfig) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(Some(config.streams_per_connection_max))
        .http2_max_pending_accept_reset_streams(Some(config.resets_pending_max))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_header_list_size(Some(config.metadata_bytes_max))
        .max_connection_age(config.connection_age_max.get())
        .http2_keepalive_interval(Some(config.keep_alive_interval.get()))
        .http2_keepalive_timeout(Some(config.keep_alive_timeout.get()))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
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
        if tokio::task::spawn_blocking(move || app.refresh())
            .await
            .is_err()
        {
            tracing::error!("a refresh ended in a defect; the allocations before it stay in use");
        }
        let spent = started.elapsed();
        metrics::histogram!("hermod_refresh_duration_seconds").record(spent.as_secs_f64());
        // However many experiments there are: at most a fifth of a core, the rest is for answers.
        tokio::time::sleep(REFRESH_REST * spent).await;
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
async fn maintain(app: Arc<App>, stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(MAINTENANCE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        for (step, error) in app.maintain().await.failed {
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
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        ticks.tick().await;
        let serving = if app.health().is_ok() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reporter.set_service_status("", serving).await;
        gauges::record(&app);
        metrics.run_upkeep();
    }
}
