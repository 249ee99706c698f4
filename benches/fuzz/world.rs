//! A server without sockets: the services over the use cases in memory, called by path and bytes as the network would.
//!
//! Invariant: what it answers depends on the calls alone; its clock stands where it is put.
use std::sync::Arc;

use hermod::app::{
    App, AppKeys, AppSettings, Checker, DecisionLogSettings, LimitSettings, RetentionSettings,
    VirtualClock,
};
use hermod::domain::civil::Zone;
use hermod::domain::draws::Seed;
use hermod::domain::recipient::ConsentLevel;
use hermod::domain::token::{TokenKey, TokenKeys};
use hermod::grpc::Services;
use hermod::store::records::MergeRecords;
use hermod::store::{Engine as _, MemoryEngine};
use http_body_util::{BodyExt as _, Full};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt as _;

/// Largest request the services take, bytes.
const REQUEST_BYTES_MAX: usize = 4 << 20;
const PARTITIONS: u16 = 3;

/// What a call came to: its status, and the first message if there was one.
#[derive(Debug)]
pub struct Called {
    pub status: i32,
    pub reason: String,
    /// Whether it is the program's own answer, with details, and not one of the library about what is no call at all.
    pub is_ours: bool,
    pub message: Vec<u8>,
}

/// The server.
pub struct World {
    pub app: Arc<App>,
    pub clock: Arc<VirtualClock>,
    pub engine: Arc<MemoryEngine>,
    routes: Routes,
    // Streams that would go on for ever end once this says so, which is at once.
    _stopping: watch::Sender<bool>,
}

impl World {
    /// An empty one.
    pub async fn new() -> Self {
        let engine = Arc::new(MemoryEngine::new(PARTITIONS, Arc::new(MergeRecords)));
        let clock = Arc::new(VirtualClock::at(
            "2026-03-20T09:00:00Z".parse().expect("an instant"),
        ));
        let app = Arc::new(open(&engine, &clock).await);
        let (stopping, stopped) = watch::channel(true);
        let services = Services::new(app.clone(), stopped);
        let routes = Routes::new(services.decisions(REQUEST_BYTES_MAX))
            .add_service(services.feedback(REQUEST_BYTES_MAX))
            .add_service(services.experiments(REQUEST_BYTES_MAX))
            .add_service(services.recipients(REQUEST_BYTES_MAX))
            .add_service(services.operations(REQUEST_BYTES_MAX))
            .prepare();
        Self {
            app,
            clock,
            engine,
            routes,
            _stopping: stopping,
        }
    }

    /// The use cases opened once more over the same store, as after a stop.
    pub async fn reopened(&self) -> App {
        open(&self.engine, &self.clock).await
    }

    /// Calls a method with the bytes of a message.
    pub async fn call(&self, path: &str, message: &[u8]) -> Called {
        let mut framed = vec![0];
        framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
        framed.extend_from_slice(message);
        self.call_framed(path, framed).await
    }

    /// Calls a method with whatever a client might send.
    pub async fn call_framed(&self, path: &str, framed: Vec<u8>) -> Called {
        let request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(framed.into())))
            .expect("a request");
        let response = self.routes.clone().oneshot(request).await;
        let (head, body) = response.expect("services do not fail").into_parts();
        let (bytes, trailers) = answered(path, body).await;
        let told = |name| head.headers.get(name).or_else(|| trailers.get(name));
        let number = told("grpc-status").and_then(|number| number.to_str().ok()?.parse().ok());
        let reason = told("grpc-message").and_then(|text| text.to_str().ok());
        Called {
            status: number.unwrap_or(-1),
            reason: reason.unwrap_or_default().to_owned(),
            is_ours: told("grpc-status-details-bin").is_some(),
            message: bytes.get(5..).unwrap_or_default().to_vec(),
        }
    }

    /// Moves the clock.
    pub fn pass(&self, hours: i64) {
        let now = self.app.now();
        let later = now.checked_add(SignedDuration::from_hours(hours));
        self.clock.set(later.unwrap_or(Timestamp::MAX));
    }

    /// What the store's own check finds wrong.
    pub async fn problems(&self) -> Vec<String> {
        let mut checker = Checker::new(PARTITIONS);
        let mut snapshot = self.engine.snapshot().await.expect("a snapshot in memory");
        loop {
            let rows = snapshot.rows.next_rows().expect("rows in memory");
            if rows.is_empty() {
                return checker.finish().problems;
            }
            rows.iter().for_each(|row| checker.take(row));
        }
    }
}

/// The data and trailers of an answer, up to where a connection would end it.
async fn answered(path: &str, mut body: Body) -> (Vec<u8>, http::HeaderMap) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap_or_else(|status| panic!("{path}: it broke off: {status}"));
        match frame.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => return (bytes, frame.into_trailers().unwrap_or_default()),
        }
    }
    (bytes, http::HeaderMap::new())
}

async fn open(engine: &Arc<MemoryEngine>, clock: &Arc<VirtualClock>) -> App {
    let secret = [7; 32];
    let keys = AppKeys {
        recipient: secret,
        tokens: TokenKeys::new(TokenKey { id: 1, secret }, Vec::new()),
    };
    let settings = AppSettings {
        default_zone: Zone::utc(),
        default_consent: ConsentLevel::Individual,
        default_holdout_share: 0.05,
        default_floor: 0.02,
        default_exploration_share: 0.05,
        decision_log: DecisionLogSettings::default(),
        limits: LimitSettings::default(),
        retention: RetentionSettings::default(),
    };
    let seed = Seed::from_number(5);
    let opened = App::open(engine.clone(), clock.clone(), keys, seed, settings).await;
    let (app, report) = opened.expect("a store in memory opens");
    assert!(report.unreadable.is_empty(), "{report:?}");
    app
}
