//! A server under test: started on ports of its own, over a directory and a clock that the test owns, and stopped by the test.
//!
//! Invariant: allocations change only when a test asks for a refresh, so answers depend on nothing but the calls made.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hermod::app::{App, Clock as _, VirtualClock};
use hermod::grpc::wire::decision_service_client::DecisionServiceClient;
use hermod::grpc::wire::experiment_service_client::ExperimentServiceClient;
use hermod::grpc::wire::feedback_service_client::FeedbackServiceClient;
use hermod::grpc::wire::operations_service_client::OperationsServiceClient;
use hermod::grpc::wire::recipient_service_client::RecipientServiceClient;
use hermod::grpc::wire::{self, EventKind, EventOutcome};
use hermod::ops::compose::open_app;
use hermod::ops::config::{Config, Engine, Period};
use hermod::ops::metrics::Metrics;
use hermod::ops::security::Security;
use hermod::ops::server::{Listeners, ServeError, Server, Stopped};
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusHandle;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// Where the clock of every test starts: a Monday, 10:00 UTC.
pub const START: &str = "2026-11-02T10:00:00Z";
/// The subject lines of [`subject_lines`].
pub const VARIANTS: [&str; 3] = ["plain", "question", "numbers"];

/// What outlives a server: its directory, its configuration and the clock.
pub struct Place {
    pub config: Config,
    pub clock: Arc<VirtualClock>,
    directory: Option<TempDir>,
}

/// A server that runs, and clients of all its services.
pub struct Running {
    pub app: Arc<App>,
    pub clock: Arc<VirtualClock>,
    pub channel: Channel,
    pub address: SocketAddr,
    pub operations: SocketAddr,
    pub security: Arc<Security>,
    pub decisions: DecisionServiceClient<Channel>,
    pub feedback: FeedbackServiceClient<Channel>,
    pub experiments: ExperimentServiceClient<Channel>,
    pub recipients: RecipientServiceClient<Channel>,
    pub operating: OperationsServiceClient<Channel>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Stopped, ServeError>>,
}

// === impl Place ===

impl Place {
    /// A place that keeps nothing.
    pub fn in_memory() -> Self {
        let mut config = Config::default();
        config.store.engine = Engine::Memory;
        config.store.partitions = 4;
        config.decisions.seed = Some(1);
        config.decisions.refresh_interval = Period::from_secs(3_600);
        Self {
            config,
            clock: Arc::new(VirtualClock::at(START.parse().unwrap())),
            directory: None,
        }
    }

    /// A place on disk.
    pub fn on_disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut place = Self::in_memory();
        place.config.store.engine = Engine::Sled;
        place.config.store.cache_bytes = 4 << 20;
        place.config.store.path = directory.path().join("data");
        place.directory = Some(directory);
        place
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        self.directory.as_ref().map(TempDir::path).unwrap()
    }

    /// Starts a server here.
    pub async fn start(&self) -> Running {
        let opened = open_app(&self.config, self.clock.clone()).await.unwrap();
        assert_eq!(opened.report.unreadable, Vec::<String>::new());
        let listener = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners {
            grpc: listener().await.unwrap(),
            operations: listener().await.unwrap(),
        };
        let address = listeners.grpc.local_addr().unwrap();
        let operations = listeners.operations.local_addr().unwrap();
        let server = Server::open(opened, self.config.clone(), metrics());
        let server = server.await.unwrap();
        let app = server.app();
        let security = server.security();
        let (stop, stopped) = oneshot::channel();
        let until = async move { stopped.await.unwrap_or(()) };
        let ended = tokio::spawn(server.run(listeners, until, std::future::pending::<()>()));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        // The clients of this are plain; a test of TLS brings its own.
        let channel = if self.config.tls.is_on() {
            endpoint.connect_lazy()
        } else {
            endpoint.connect().await.unwrap()
        };
        Running {
            app,
            clock: self.clock.clone(),
            address,
            operations,
            security,
            decisions: DecisionServiceClient::new(channel.clone())
                .max_decoding_message_size(64 << 20)
                .max_encoding_message_size(64 << 20),
            feedback: FeedbackServiceClient::new(channel.clone()),
            experiments: ExperimentServiceClient::new(channel.clone()),
            recipients: RecipientServiceClient::new(channel.clone()),
            operating: OperationsServiceClient::new(channel.clone()),
            channel,
            stop,
            ended,
        }
    }
}

/// The recorder of this process is installed once and shared by all servers.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| Metrics::new().unwrap().install().unwrap())
        .clone()
}

// === impl Running ===

impl Running {
    /// Stops in order and waits for the end.
    pub async fn stop(self) -> Stopped {
        let Self { stop, ended, .. } = self;
        stop.send(()).unwrap();
        ended.await.unwrap().unwrap()
    }

    /// Asks for the stop; the future ends with the server.
    pub fn stopping(self) -> JoinHandle<Result<Stopped, ServeError>> {
        self.stop.send(()).unwrap();
        self.ended
    }

    /// Moves the clock ahead.
    pub fn pass_hours(&self, hours: i64) {
        let now = self.clock.now() + SignedDuration::from_hours(hours);
        self.clock.set(now);
    }

    /// Now and so many minutes.
    pub fn in_minutes(&self, minutes: i64) -> prost_types::Timestamp {
        wire_time(self.clock.now() + SignedDuration::from_mins(minutes))
    }

    /// Creates an experiment and starts it; answers its resource name.
    pub async fn running(&self, id: &str, experiment: wire::Experiment) -> String {
        let mut experiments = self.experiments.clone();
        let request = wire::CreateExperimentRequest {
            experiment_id: id.into(),
            experiment: Some(experiment),
            ..Default::default()
        };
        experiments.create_experiment(request).await.unwrap();
        let name = format!("experiments/{id}");
        let start = wire::StartExperimentRequest { name: name.clone() };
        experiments.start_experiment(start).await.unwrap();
        name
    }

    /// Decides, and expects an answer.
    pub async fn decide(&self, request: wire::DecideRequest) -> wire::Decision {
        let mut decisions = self.decisions.clone();
        let answer = decisions.decide(request).await.unwrap().into_inner();
        answer.decision.unwrap()
    }

    /// Chooses a variant for a mail that leaves now.
    pub async fn choose(&self, experiment: &str, recipient: &str) -> wire::Decision {
        let request = wire::ChooseVariantRequest {
            experiment: experiment.into(),
            recipient_id: recipient.into(),
            ..Default::default()
        };
        let mut decisions = self.decisions.clone();
        let answer = decisions.choose_variant(request).await.unwrap();
        answer.into_inner().decision.unwrap()
    }

    /// Reports events and answers what became of each.
    pub async fn report(&self, events: Vec<wire::Event>) -> Vec<wire::EventResult> {
        let mut feedback = self.feedback.clone();
        let request = wire::ReportEventsRequest { events };
        feedback
            .report_events(request)
            .await
            .unwrap()
            .into_inner()
            .results
    }

    /// Reports events and answers their outcomes.
    pub async fn outcomes(&self, events: Vec<wire::Event>) -> Vec<EventOutcome> {
        let results = self.report(events).await;
        results.iter().map(wire::EventResult::outcome).collect()
    }

    /// What an experiment shows now.
    pub async fn results(&self, name: &str) -> wire::ExperimentResults {
        let mut experiments = self.experiments.clone();
        let request = wire::GetResultsRequest { name: name.into() };
        let answer = experiments.get_results(request).await.unwrap();
        answer.into_inner().results.unwrap()
    }

    /// What is kept of a recipient.
    pub async fn recipient(&self, recipient_id: &str) -> wire::Recipient {
        let mut recipients = self.recipients.clone();
        let recipient_id = recipient_id.into();
        let answer = recipients
            .get_recipient(wire::GetRecipientRequest { recipient_id })
            .await
            .unwrap();
        answer.into_inner().recipient.unwrap()
    }

    /// Changes the fields of a recipient that the mask names.
    pub async fn update(&self, recipient_id: &str, recipient: wire::Recipient, mask: &str) {
        let mut recipients = self.recipients.clone();
        let request = wire::UpdateRecipientRequest {
            recipient_id: recipient_id.into(),
            recipient: Some(recipient),
            update_mask: Some(prost_types::FieldMask {
                paths: vec![mask.into()],
            }),
        };
        recipients.update_recipient(request).await.unwrap();
    }

    /// A page of the operations port: its head and body.
    pub async fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.operations).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: hermod\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

// === requests ===

/// Three subject lines without a holdout, so that every recipient is the policy's.
pub fn subject_lines() -> wire::Experiment {
    let variant = |id: &str| wire::Variant {
        variant_id: id.into(),
        display_name: format!("Subject line {id}"),
        ..Default::default()
    };
    wire::Experiment {
        display_name: "Autumn news".into(),
        variants: VARIANTS.map(variant).into(),
        holdout_share: Some(0.0),
        ..Default::default()
    }
}

/// Asks for a decision with everything else at its default.
pub fn question(experiment: &str, recipient_id: &str) -> wire::DecideRequest {
    wire::DecideRequest {
        experiment: experiment.into(),
        recipient_id: recipient_id.into(),
        ..Default::default()
    }
}

/// An event of a decision.
pub fn event(kind: EventKind, decision_id: &str, at: prost_types::Timestamp) -> wire::Event {
    wire::Event {
        kind: kind.into(),
        event_time: Some(at),
        decision_id: decision_id.into(),
        ..Default::default()
    }
}

/// An instant on the wire.
pub fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    }
}

/// An instant from the wire.
pub fn instant(at: Option<prost_types::Timestamp>) -> Timestamp {
    let at = at.unwrap();
    Timestamp::new(at.seconds, at.nanos).unwrap()
}

/// A length of time on the wire.
pub fn hours(hours: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: hours * 3_600,
        nanos: 0,
    }
}
