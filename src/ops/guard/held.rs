//! An answer on its way out: it counts as a call under way until it is out, ends with the caller's deadline, and goes out piece by piece, so that
//! what a client does not take is known and stays here.
//!
//! Invariant: once the deadline has passed nothing more is asked of the work behind the answer, and it is given up. No piece is larger than
//! [`PIECE_BYTES`]: the transport takes a piece once the client has room for a part of it, and keeps the rest of that one piece alone.
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::TakenOn;
use crate::ops::connections::OpenCall;

/// One frame of HTTP/2 at its usual largest size.
const PIECE_BYTES: usize = 16 * 1024;

/// The body of an answer.
pub struct Held {
    inner: Body,
    /// What the work gave and has not gone out yet.
    rest: Bytes,
    open: Option<OpenCall>,
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
    pub(super) fn new(
        inner: Body,
        open: Option<OpenCall>,
        taken_on: TakenOn,
        ends_at: Option<Instant>,
    ) -> Self {
        let deadline = ends_at.map(|at| Deadline {
            at,
            alarm: Box::pin(tokio::time::sleep_until(at.into())),
        });
        Self {
            taken_on: Some(taken_on),
            deadline,
            ..Self::passing(inner, open)
        }
    }

    /// The answer to a call that no limit holds for.
    pub fn passing(inner: Body, open: Option<OpenCall>) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            open,
            taken_on: None,
            deadline: None,
        }
    }

    /// Drops the work and the permit, as early as the transport lets go of the body or earlier.
    fn end(&mut self) {
        self.inner = Body::empty();
        self.rest = Bytes::new();
        self.open = None;
        self.taken_on = None;
        self.deadline = None;
    }

    fn piece(&mut self) -> Frame<Bytes> {
        if let Some(open) = &mut self.open {
            open.handed_over(Instant::now());
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(bytes))
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
        if let Some(open) = &mut self.open {
            open.taken();
        }
        // What the work has given already goes out whole: messages do not end in the middle, and what was answered was done.
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let deadline = self.deadline.as_mut();
        if deadline.is_some_and(|deadline| deadline.has_passed(context)) {
            self.end();
            let status = Status::deadline_exceeded("the stream did not end before its deadline");
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            ended => {
                self.end();
                return Poll::Ready(ended);
            }
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                self.piece()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_large_answer_comes_in_pieces_and_whole() {
        let sent: Vec<u8> = (0..50_000_u32).map(|at| (at % 251) as u8).collect();
        let body = Body::new(axum::body::Body::from(sent.clone()));
        let mut body = Held::passing(body, None);
        let (mut received, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            received.extend_from_slice(&piece);
            pieces += 1;
        }
        assert_eq!((received, pieces), (sent, 4));
    }
    #[tokio::test]
    async fn what_was_given_before_the_deadline_goes_out_whole_and_nothing_is_asked_after_it() {
        let sent = vec![7; 50_000];
        let given = [Ok::<_, Status>(Frame::data(Bytes::from(sent.clone())))];
        let endless = futures_util::StreamExt::chain(
            futures_util::stream::iter(given),
            futures_util::stream::poll_fn(|_| panic!("it is asked for more")),
        );
        let body = Body::new(http_body_util::StreamBody::new(endless));
        let at = Instant::now() + std::time::Duration::from_secs(3_600);
        let alarm = Box::pin(tokio::time::sleep_until(at.into()));
        let mut body = Held {
            deadline: Some(Deadline { at, alarm }),
            ..Held::passing(body, None)
        };
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        body.deadline.as_mut().unwrap().at = Instant::now();
        let mut received = first.to_vec();
        while received.len() < sent.len() {
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            received.extend_from_slice(&piece);
        }
        assert_eq!(received, sent);
        let trailers = body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert!(body.frame().await.is_none());
    }
}
