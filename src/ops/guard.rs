//! What stands before every service of ours: a limit on calls in flight, the caller's deadline, a net for defects, and the counters.
//!
//! Invariant: a call beyond the limit is refused before it is read; health and reflection are not behind this, so they answer under load.
use std::any::Any;
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::Service;

use crate::grpc::wire;

/// How much a service may take on.
#[derive(Clone, Debug)]
pub struct Limits {
    calls: Arc<Semaphore>,
    timeout: Duration,
    methods: Arc<HashSet<String>>,
}

/// A service behind its limits.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    limits: Limits,
}

// === impl Limits ===

impl Limits {
    /// At most so many calls at once over all services, each answered within the timeout or refused.
    pub fn new(calls_max: usize, timeout: Duration) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(calls_max.min(Semaphore::MAX_PERMITS))),
            timeout,
            methods: Arc::new(methods()),
        }
    }

    /// The method for metrics. Callers write the path, so one that does not exist must not become a label.
    fn method_of(&self, path: &str) -> String {
        let name = path.rsplit('/').next().unwrap_or_default();
        self.methods
            .get(name)
            .map_or_else(|| "unknown".to_owned(), String::clone)
    }

    /// Puts a service behind these limits.
    pub fn guard<S>(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            limits: self.clone(),
        }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = self.limits.method_of(request.uri().path());
        let Ok(permit) = self.limits.calls.clone().try_acquire_owned() else {
            metrics::counter!("hermod_requests_shed_total").increment(1);
            let response = overloaded().into_http();
            count(&method, &response);
            return Box::pin(std::future::ready(Ok(response)));
        };
        let limit = deadline(request.headers(), self.limits.timeout);
        // The instance that was polled ready must make the call, so the clone stays behind for the next one.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let started = Instant::now();
            let in_flight = InFlight::begin();
            let call = std::panic::AssertUnwindSafe(async move { inner.call(request).await })
                .catch_unwind();
            let response = match tokio::time::timeout(limit, call).await {
                Ok(Ok(Ok(response))) => response,
                Ok(Ok(Err(never))) => match never {},
                Ok(Err(panic)) => defect(panic.as_ref()).into_http(),
                Err(_) => Status::deadline_exceeded(format!(
                    "not answered within {} ms; try again",
                    limit.as_millis()
                ))
                .into_http(),
            };
            drop(in_flight);
            metrics::histogram!("hermod_request_duration_seconds", "method" => method.clone())
                .record(started.elapsed().as_secs_f64());
            count(&method, &response);
            drop(permit);
            Ok(response)
        })
    }
}

/// One call in the gauge; a caller that goes away drops the call, and this with it.
struct InFlight;

// === impl InFlight ===

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!("hermod_requests_in_flight").increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!("hermod_requests_in_flight").decrement(1.0);
    }
}

/// Names of all methods of ours. An unreadable descriptor set leaves it empty: reflection refuses to start with one.
fn methods() -> HashSet<String> {
    let set = prost_types::FileDescriptorSet::decode(wire::DESCRIPTOR_SET).unwrap_or_default();
    let services = set.file.into_iter().flat_map(|file| file.service);
    services
        .flat_map(|service| service.method)
        .filter_map(|method| method.name)
        .collect()
}

fn overloaded() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("OVERLOADED", "hermod.v1", std::collections::HashMap::new());
    details.set_retry_info(Some(Duration::from_millis(100)));
    Status::with_error_details(
        Code::ResourceExhausted,
        "the server is at its limit of calls; try again after a short wait",
        details,
    )
}

fn defect(panic: &(dyn Any + Send)) -> Status {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(
        panic = message.as_deref().unwrap_or("unknown"),
        "a call ended in a defect"
    );
    metrics::counter!("hermod_panics_total").increment(1);
    Status::internal("a defect of hermod ended this call; the server's log says more")
}

/// Successful streams and unary answers carry their status in trailers; without the header a call counts as OK.
fn count(method: &str, response: &Response<Body>) {
    let code = response
        .headers()
        .get("grpc-status")
        .and_then(|code| code.to_str().ok())
        .and_then(|code| code.parse().ok())
        .map_or(Code::Ok, Code::from_i32);
    metrics::counter!("hermod_requests_total", "method" => method.to_owned(), "code" => format!("{code:?}")).increment(1);
}

/// The caller's `grpc-timeout` if it is shorter than ours, less a little, so that our answer comes before the transport's.
fn deadline(headers: &HeaderMap, ours: Duration) -> Duration {
    let theirs = headers
        .get("grpc-timeout")
        .and_then(|text| text.to_str().ok())
        .and_then(grpc_timeout);
    theirs.map_or(ours, |theirs| {
        theirs
            .saturating_sub((theirs / 20).min(Duration::from_millis(10)))
            .min(ours)
    })
}

/// The header's form: up to eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_no_label() {
        let limits = Limits::new(1, Duration::from_secs(1));
        assert_eq!(
            limits.method_of("/hermod.v1.DecisionService/Decide"),
            "Decide"
        );
        assert_eq!(
            limits.method_of("/hermod.v1.DecisionService/anna@example.org"),
            "unknown"
        );
    }

    type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

    #[derive(Clone)]
    struct Inner(fn() -> Answering);

    impl Service<Request<Body>> for Inner {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0().map(Ok).boxed()
        }
    }

    async fn code_of(limits: &Limits, inner: Inner, timeout: Option<&str>) -> Code {
        let mut request = Request::new(Body::empty());
        if let Some(timeout) = timeout {
            request
                .headers_mut()
                .insert("grpc-timeout", timeout.parse().unwrap());
        }
        let response = limits.guard(inner).call(request).await.unwrap();
        Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
    }

    fn limits(calls_max: usize) -> Limits {
        Limits::new(calls_max, Duration::from_secs(3_600))
    }

    #[tokio::test]
    async fn a_defect_is_answered_and_does_not_end_the_server() {
        let inner = Inner(|| Box::pin(async { panic!("planted") }));
        assert_eq!(code_of(&limits(1), inner, None).await, Code::Internal);
    }

    #[tokio::test]
    async fn the_callers_deadline_is_kept_with_the_right_code() {
        let never = Inner(|| Box::pin(std::future::pending()));
        assert_eq!(
            code_of(&limits(1), never, Some("1m")).await,
            Code::DeadlineExceeded
        );
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_are_refused_at_once() {
        let ready = Inner(|| Box::pin(async { Response::new(Body::empty()) }));
        assert_eq!(
            code_of(&limits(0), ready.clone(), None).await,
            Code::ResourceExhausted
        );
        assert_eq!(code_of(&limits(1), ready, None).await, Code::Ok);
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(grpc_timeout("1S"), Some(Duration::from_secs(1)));
        assert_eq!(
            grpc_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for bad in ["", "S", "1", "-1S", "123456789S", "1ä"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }
}
