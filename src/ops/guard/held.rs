//! An answer that counts as a call under way until it is out, and ends with the caller's deadline.
//!
//! Invariant: once the deadline has passed nothing more is asked of the work behind the answer, and it is given up.
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::TakenOn;

/// The body of an answer.
pub(super) struct Held {
    inner: Body,
    taken_on: Option<TakenOn>,
    deadline: Option<Deadline>,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    alarm: Pin<Box<Sleep>>,
}

// === impl Held ===

impl Held {
    pub fn new(inner: Body, taken_on: TakenOn, ends_at: Option<Instant>) -> Self {
        let deadline = ends_at.map(|at| Deadline {
            at,
            alarm: Box::pin(tokio::time::sleep_until(at.into())),
        });
        Self {
            inner,
            taken_on: Some(taken_on),
            deadline,
        }
    }

    /// Drops the work and the permit, as early as the transport lets go of the body or earlier.
    fn end(&mut self) {
        self.inner = Body::empty();
        self.taken_on = None;
        self.deadline = None;
    }
}

// === impl Deadline ===

impl Deadline {
    fn has_passed(&mut self, context: &mut Context<'_>) -> bool {
        Instant::now() >= self.at || self.alarm.as_mut().poll(context).is_ready()
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let deadline = self.deadline.as_mut();
        if deadline.is_some_and(|deadline| deadline.has_passed(context)) {
            self.end();
            let status = Status::deadline_exceeded("the stream did not end before its deadline");
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.is_none() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
