//! What stands before every call of ours: limits on calls in flight, the caller's deadline, a net for defects, and the counters.
//!
//! Invariant: a call beyond the limit is refused before it is read, and one whose time is over is not worked on, nor any more of it; a call
//! counts until its answer is out. Health and reflection are not behind this, so they answer under load.
mod held;
mod meter;

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::connections::OpenCall;
use meter::{Meter, Meters, Shape};

pub use held::Held;

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

/// How much the services may take on, and how much they have taken; one for each thread that serves, so that calls of different threads have as
/// little as possible to count together.
#[derive(Debug)]
pub struct Limits {
    capacity: Capacity,
    taken: Arc<Taken>,
    meters: Meters,
}

/// What all threads together have taken on.
#[derive(Debug, Default)]
struct Taken {
    calls: AtomicUsize,
    streams: AtomicUsize,
}

/// A service's way to its answer.
pub type Answering = BoxFuture<Response<Body>, Infallible>;

/// A call within its limits, on the way to its answer. It is one value without a box of its own: every call has one.
pub struct Guarded(State);

enum State {
    Refused(Response<Body>, Option<OpenCall>),
    UnderWay(UnderWay),
    Answered,
}

struct UnderWay {
    answering: Answering,
    taken_on: TakenOn,
    open: Option<OpenCall>,
    meter: Arc<Meter>,
    arrived_at: Instant,
    limit: Duration,
    theirs: Option<Duration>,
    /// Set only for a call that waits; most answers are there at once.
    alarm: Option<Pin<Box<Sleep>>>,
}

// === impl Limits ===

impl Limits {
    /// Nothing taken on yet.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            taken: Arc::default(),
            meters: Meters::new(),
        }
    }

    /// The same limits for another thread: what is taken on counts together.
    pub fn beside(&self) -> Self {
        Self {
            capacity: self.capacity,
            taken: self.taken.clone(),
            meters: Meters::new(),
        }
    }

    fn of(&self, shape: Shape) -> (&AtomicUsize, usize) {
        match shape {
            Shape::Unary => (&self.taken.calls, self.capacity.calls_max),
            Shape::Streaming => (&self.taken.streams, self.capacity.streams_max),
        }
    }

    /// Takes a call on, unless there is no room or no time for it; `make` hands it to its service.
    pub fn take_on(
        self: &Arc<Self>,
        request: Request<Body>,
        open: Option<OpenCall>,
        make: impl FnOnce(Request<Body>) -> Answering,
    ) -> Guarded {
        let arrived_at = Instant::now();
        let meter = self.meters.of(request.uri().path());
        let refuse = |status: Status, open| {
            let response = status.into_http();
            meter.count(&response);
            Guarded(State::Refused(response, open))
        };
        let Some(taken_on) = TakenOn::begin(self, meter.shape) else {
            metrics::counter!("hermod_requests_shed_total").increment(1);
            return refuse(overloaded(), open);
        };
        let theirs = callers_timeout(request.headers());
        let timeout = self.capacity.timeout;
        let limit = theirs.map_or(timeout, |theirs| theirs.min(timeout));
        if arrived_at.elapsed() >= limit {
            meter.took(arrived_at.elapsed().as_secs_f64());
            return refuse(too_late(limit), open);
        }
        let answering = match catch_unwind(AssertUnwindSafe(|| make(request))) {
            Ok(answering) => answering,
            Err(panic) => {
                meter.took(arrived_at.elapsed().as_secs_f64());
                return refuse(defect(panic.as_ref()), open);
            }
        };
        Guarded(State::UnderWay(UnderWay {
            answering,
            taken_on,
            open,
            meter: meter.clone(),
            arrived_at,
            limit,
            theirs,
            alarm: None,
        }))
    }
}

// === impl Guarded ===

impl Future for Guarded {
    type Output = Response<Held>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Held>> {
        let response = match &mut self.0 {
            State::UnderWay(call) => Some(std::task::ready!(call.poll(context))),
            State::Refused(..) | State::Answered => None,
        };
        // The work is given up with what stands here, however it ended.
        match (std::mem::replace(&mut self.0, State::Answered), response) {
            (State::UnderWay(call), Some(response)) => Poll::Ready(call.answered(response)),
            (State::Refused(response, open), _) => {
                Poll::Ready(response.map(|body| Held::passing(body, open)))
            }
            _ => Poll::Pending,
        }
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// The service's answer, if it comes in time. The service is not asked once time is over, whatever else kept this from asking earlier.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response<Body>> {
        let deadline = self.arrived_at + self.limit;
        if Instant::now() >= deadline {
            return Poll::Ready(too_late(self.limit).into_http());
        }
        let answering = self.answering.as_mut();
        match catch_unwind(AssertUnwindSafe(|| answering.poll(context))) {
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(response),
            Ok(Poll::Ready(Err(never))) => match never {},
            Err(panic) => Poll::Ready(defect(panic.as_ref()).into_http()),
            Ok(Poll::Pending) => {
                let set = || Box::pin(tokio::time::sleep_until(deadline.into()));
                let alarm = self.alarm.get_or_insert_with(set).as_mut();
                alarm
                    .poll(context)
                    .map(|()| too_late(self.limit).into_http())
            }
        }
    }

    fn answered(self, response: Response<Body>) -> Response<Held> {
        self.meter.took(self.arrived_at.elapsed().as_secs_f64());
        self.meter.count(&response);
        // The deadline of a stream is that of all its messages.
        let theirs = self.theirs.filter(|_| self.meter.shape == Shape::Streaming);
        let ends_at = theirs.map(|theirs| self.arrived_at + theirs);
        response.map(|body| Held::new(body, self.open, self.taken_on, ends_at))
    }
}

/// One call among those taken on; a caller that goes away drops the call, and this with it.
struct TakenOn {
    limits: Arc<Limits>,
    shape: Shape,
}

// === impl TakenOn ===

impl TakenOn {
    /// One more, if there is room.
    fn begin(limits: &Arc<Limits>, shape: Shape) -> Option<Self> {
        let (taken, max) = limits.of(shape);
        let one_more = |taken: usize| (taken < max).then_some(taken + 1);
        taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        limits.meters.in_flight.increment(1.0);
        Some(Self {
            limits: limits.clone(),
            shape,
        })
    }
}

impl Drop for TakenOn {
    fn drop(&mut self) {
        self.limits.of(self.shape).0.fetch_sub(1, Ordering::AcqRel);
        self.limits.meters.in_flight.decrement(1.0);
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
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

    #[derive(Clone, Copy)]
    struct Inner(fn() -> Answer);

    async fn code_of(limits: &Arc<Limits>, inner: Inner, timeout: Option<&str>) -> Code {
        let response = answer_of(limits, inner, "/unknown", timeout).await;
        Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
    }

    async fn answer_of(
        limits: &Arc<Limits>,
        inner: Inner,
        path: &str,
        timeout: Option<&str>,
    ) -> Response<Held> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        if let Some(timeout) = timeout {
            request
                .headers_mut()
                .insert("grpc-timeout", timeout.parse().unwrap());
        }
        limits
            .take_on(request, None, |_| inner.0().map(Ok).boxed())
            .await
    }

    fn limits(calls_max: usize) -> Arc<Limits> {
        Arc::new(Limits::new(Capacity {
            calls_max,
            streams_max: 1,
            timeout: Duration::from_secs(3_600),
        }))
    }

    /// A stream that never says anything.
    fn endless() -> Answer {
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
                code_of(&limits(1), begun, Some(timeout)).await,
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
            code_of(&limits(0), ready, None).await,
            Code::ResourceExhausted
        );
        assert_eq!(code_of(&limits(1), ready, None).await, Code::Ok);
    }

    #[tokio::test]
    async fn what_one_thread_has_taken_on_is_not_there_for_another() {
        let ready = Inner(|| Box::pin(async { Response::new(Body::empty()) }));
        let first = limits(1);
        let second = Arc::new(first.beside());
        let open = answer_of(&first, ready, "/unknown", None).await;
        assert_eq!(code_of(&second, ready, None).await, Code::ResourceExhausted);
        drop(open);
        assert_eq!(code_of(&second, ready, None).await, Code::Ok);
        assert_eq!(first.taken.calls.load(Ordering::Acquire), 0);
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
