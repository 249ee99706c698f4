//! The operations port: metrics, liveness and readiness over HTTP, apart from the service.
//!
//! It holds no state of its own and never waits for the store. Whoever composes the server gives it a bound listener, and
//! may merge further pages into [`OperationsPort::router`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::auth::MetricsToken;
use super::shutdown::Drain;

const PAGES: &str = "hermod's operations port has these pages:\n\
    /metrics  metrics in Prometheus text format\n\
    /live     200 while the process runs\n\
    /ready    200 while requests can be served, otherwise 503 with the reason\n";

/// Answers to scrapes and probes are short; a connection that is still open after this is abandoned at shutdown.
const DRAIN: Drain = Drain {
    limit: Duration::from_secs(1),
};

/// Says whether requests can be served now.
pub trait Readiness: Send + Sync + 'static {
    /// Answers at once, without waiting for anything.
    ///
    /// # Errors
    /// The reason why not, in words for an operator.
    fn check(&self) -> Result<(), String>;
}

impl<F: Fn() -> Result<(), String> + Send + Sync + 'static> Readiness for F {
    fn check(&self) -> Result<(), String> {
        self()
    }
}

/// What the pages are made of.
#[derive(Clone)]
pub struct OperationsPort {
    metrics: PrometheusHandle,
    readiness: Arc<dyn Readiness>,
    token: Option<Arc<MetricsToken>>,
}

// === impl OperationsPort ===

impl OperationsPort {
    /// The port that renders `metrics` and asks `readiness`.
    pub fn new(metrics: PrometheusHandle, readiness: impl Readiness) -> Self {
        Self {
            metrics,
            readiness: Arc::new(readiness),
            token: None,
        }
    }

    /// Shows the metrics only to those who present a token. Probes say little and are asked by machines that hold none.
    pub fn with_token(self, token: Option<Arc<MetricsToken>>) -> Self {
        Self { token, ..self }
    }

    /// The pages; any other path is answered 404 with their list.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/live", get(async || "live\n"))
            .route("/ready", get(ready))
            .fallback(async || (StatusCode::NOT_FOUND, PAGES))
            .with_state(self)
    }
}

/// Serves `router` on `listener` until `shutdown` resolves, then ends within about a second.
///
/// # Errors
/// The listener's.
pub async fn serve<L: Listener<Addr: std::fmt::Debug>>(
    listener: L,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (stop, mut stopped) = watch::channel(());
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopped.changed().await.unwrap_or(()) })
        .into_future();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => drop(stop),
    }
    match DRAIN.run(server, std::future::pending::<()>()).await {
        super::shutdown::Drained::Finished(ended) => ended,
        _ => Ok(()),
    }
}

async fn metrics(State(port): State<OperationsPort>, headers: HeaderMap) -> Response {
    if let Some(token) = &port.token {
        let presented = headers.get(header::AUTHORIZATION);
        if !token.fits(presented.map(header::HeaderValue::as_bytes)) {
            metrics::counter!("hermod_auth_failures_total", "reason" => "METRICS_TOKEN")
                .increment(1);
            let asked = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (
                StatusCode::UNAUTHORIZED,
                asked,
                "the metrics need a token\n",
            )
                .into_response();
        }
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], port.metrics.render()).into_response()
}

async fn ready(State(port): State<OperationsPort>) -> (StatusCode, String) {
    match port.readiness.check() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::ops::metrics::Metrics;

    struct Running {
        address: SocketAddr,
        ready: Arc<AtomicBool>,
        stop: oneshot::Sender<()>,
        server: JoinHandle<io::Result<()>>,
    }

    async fn start() -> Running {
        let recorded = Metrics::new().unwrap();
        metrics::with_local_recorder(recorded.recorder(), || {
            metrics::gauge!("hermod_connections").set(2.0)
        });
        let ready = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ready);
        let readiness = move || match flag.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("the store is being opened".to_owned()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let router = OperationsPort::new(recorded.handle(), readiness).router();
        let server = tokio::spawn(serve(listener, router, async move {
            stopped.await.unwrap_or(())
        }));
        Running {
            address,
            ready,
            stop,
            server,
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: hermod\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_rendered_with_the_content_type_of_prometheus() {
        let running = start().await;
        let answer = get(running.address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("hermod_connections 2"), "{answer}");
    }

    #[tokio::test]
    async fn readiness_follows_its_check_while_the_process_is_live_throughout() {
        let running = start().await;
        let answer = get(running.address, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.ends_with("not ready: the store is being opened\n"),
            "{answer}"
        );
        assert!(
            get(running.address, "/live")
                .await
                .starts_with("HTTP/1.1 200")
        );
        running.ready.store(true, Ordering::Relaxed);
        assert!(
            get(running.address, "/ready")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }

    #[tokio::test]
    async fn an_unknown_page_is_answered_with_the_list_of_pages() {
        let running = start().await;
        let answer = get(running.address, "/").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        for page in ["/metrics", "/live", "/ready"] {
            assert!(answer.contains(page), "{answer}");
        }
    }

    #[tokio::test]
    async fn shutdown_ends_the_server_although_a_silent_connection_stays_open() {
        let running = start().await;
        let _silent = TcpStream::connect(running.address).await.unwrap();
        get(running.address, "/live").await;
        running.stop.send(()).unwrap();
        running.server.await.unwrap().unwrap();
    }
}
