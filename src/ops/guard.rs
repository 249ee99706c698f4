//! What stands before every service of ours: limits on calls in flight, the caller's deadline, a net for defects, and the counters.
//!
//! Invariant: a call beyond the limit is refused before it is read, and one whose time is over is not worked on, nor any more of it; a call
//! counts until its answer is out. Health and reflection are not behind this, so they answer under load.
mod held;
mod meter;

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::Service;

use held::Held;
use meter::{Meters, Shape};

/// How much the services may take on together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Calls with one answer, at one time.
    pub calls_max: usize,
    /// Calls that stream, at one time. They may last, and must not keep the others out.
    pub streams_max: usize,
    /// Longest time until a call is answered, or a stream begins to be.
    pub timeout: Duration,
}

/// How much the services may take on, and how much they have taken.
#[derive(Clone, Debug)]
pub struct Limits {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    timeout: Duration,
    meters: Arc<Meters>,
}

/// A service behind its limits.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    limits: Limits,
}

// === impl Limits ===

impl Limits {
    /// Nothing taken on yet.
    pub fn new(capacity: Capacity) -> Self {
        let permits = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self {
            calls: permits(capacity.calls_max),
            streams: permits(capacity.streams_max),
            timeout: capacity.timeout,
            meters: Arc::new(Meters::new()),
        }
    }

    fn permit(&self, shape: Shape) -> Option<OwnedSemaphorePermit> {
        let permits = match shape {
            Shape::Unary => &self.calls,
            Shape::Streaming => &self.streams,
        };
        permits.clone().try_acquire_owned().ok()
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
        let arrived_at = Instant::now();
        let meters = self.limits.meters.clone();
        let meter = meters.of(request.uri().path()).clone();
        let Some(permit) = self.limits.permit(meter.shape) else {
            metrics::counter!("hermod_requests_shed_total").increment(1);
            let response = overloaded().into_http();
            meter.count(&response);
            return Box::pin(std::future::ready(Ok(response)));
        };
        let theirs = callers_timeout(request.headers());
        let limit = theirs.map_or(self.limits.timeout, |theirs| {
            theirs.min(self.limits.timeout)
        });
        // The instance that was polled ready must make the call, so the clone stays behind for the next one.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let taken_on = TakenOn::begin(permit, meters.in_flight.clone());
            let call = std::panic::AssertUnwindSafe(async move { inner.call(request).await })
                .catch_unwind();
            let response = match before(arrived_at + limit, call).await {
                Some(Ok(Ok(response))) => response,
                Some(Ok(Err(never))) => match never {},
                Some(Err(panic)) => defect(panic.as_ref()).into_http(),
                None => too_late(limit).into_http(),
            };
            meter.took(arrived_at.elapsed().as_secs_f64());
            meter.count(&response);
            // The deadline of a stream is that of all its messages.
            let ends_at = theirs.filter(|_| meter.shape == Shape::Streaming);
            let ends_at = ends_at.map(|theirs| arrived_at + theirs);
            Ok(response.map(|body| Body::new(Held::new(body, taken_on, ends_at))))
        })
    }
}

/// The result, if the future has one in time. It is not polled once time is over, whatever else kept this from being asked earlier. The alarm is set
/// only for a future that waits; most answers are there at once.
async fn before<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut alarm = None;
    tokio::pin!(future);
    std::future::poll_fn(|context| {
        if Instant::now() >= deadline {
            return Poll::Ready(None);
        }
        match future.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => {
                let set = || Box::pin(tokio::time::sleep_until(deadline.into()));
                let alarm = alarm.get_or_insert_with(set);
                alarm.as_mut().poll(context).map(|()| None)
            }
        }
    })
    .await
}

/// One call among those taken on; a caller that goes away drops the call, and this with it.
struct TakenOn {
    _permit: OwnedSemaphorePermit,
    in_flight: metrics::Gauge,
}

// === impl TakenOn ===

impl TakenOn {
    fn begin(permit: OwnedSemaphorePermit, in_flight: metrics::Gauge) -> Self {
        in_flight.increment(1.0);
        Self {
            _permit: permit,
            in_flight,
        }
    }
}

impl Drop for TakenOn {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
    }
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

fn too_late(limit: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "not answered within {} ms; try again",
        limit.as_millis()
    ))
}

/// The caller's `grpc-timeout`, less a little, so that our answer comes before the transport's.
fn callers_timeout(headers: &HeaderMap) -> Option<Duration> {
    let theirs = headers
        .get("grpc-timeout")
        .and_then(|text| text.to_str().ok())
        .and_then(grpc_timeout)?;
    Some(theirs.saturating_sub((theirs / 20).min(Duration::from_millis(10))))
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
    use http_body_util::BodyExt as _;

    use super::*;

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
        let response = answer_of(limits, inner, "/unknown", timeout).await;
        Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
    }

    async fn answer_of(
        limits: &Limits,
        inner: Inner,
        path: &str,
        timeout: Option<&str>,
    ) -> Response<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        if let Some(timeout) = timeout {
            request
                .headers_mut()
                .insert("grpc-timeout", timeout.parse().unwrap());
        }
        limits.guard(inner).call(request).await.unwrap()
    }

    fn limits(calls_max: usize) -> Limits {
        Limits::new(Capacity {
            calls_max,
            streams_max: 1,
            timeout: Duration::from_secs(3_600),
        })
    }

    /// A stream that never says anything.
    fn endless() -> Answering {
        let silence = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<axum::body::Bytes>, Status>,
        >());
        Box::pin(std::future::ready(Response::new(Body::new(silence))))
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
    async fn a_call_that_is_late_already_is_not_even_begun() {
        let begun = Inner(|| Box::pin(async { panic!("it was begun") }));
        for timeout in ["0n", "1n"] {
            assert_eq!(
                code_of(&limits(1), begun.clone(), Some(timeout)).await,
                Code::DeadlineExceeded
            );
        }
    }

    #[tokio::test]
    async fn a_stream_ends_at_the_callers_deadline_with_the_right_code() {
        let path = "/hermod.v1.ExperimentService/WatchResults";
        let limits = limits(1);
        let response = answer_of(&limits, Inner(endless), path, Some("30m")).await;
        assert!(response.headers().get("grpc-status").is_none());
        let collected = response.into_body().collect().await.unwrap();
        let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_stream_counts_until_it_has_ended_and_keeps_no_unary_call_out() {
        let path = "/hermod.v1.ExperimentService/WatchResults";
        let limits = limits(1);
        let ready = Inner(|| Box::pin(async { Response::new(Body::empty()) }));
        let open = answer_of(&limits, Inner(endless), path, None).await;
        let second = answer_of(&limits, Inner(endless), path, None).await;
        let refused = Status::from_header_map(second.headers()).unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(code_of(&limits, ready, None).await, Code::Ok);
        drop(open);
        let third = answer_of(&limits, Inner(endless), path, None).await;
        assert!(third.headers().get("grpc-status").is_none());
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
