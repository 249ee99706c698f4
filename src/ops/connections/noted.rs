//! Tells a connection of its calls, and gives answers out piece by piece, so that what a client does not take is known and stays here.
//!
//! Invariant: no piece is larger than [`PIECE_BYTES`]. The transport takes a piece once the client has room for a part of it, and keeps the rest of
//! that one piece alone.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tower::{Layer, Service};

use super::OpenCall;
use crate::ops::incoming::Peer;

/// One frame of HTTP/2 at its usual largest size.
const PIECE_BYTES: usize = 16 * 1024;

/// Puts services behind [`Noted`].
#[derive(Clone, Copy, Debug, Default)]
pub struct NotedLayer;

/// A service whose calls are noted.
#[derive(Clone, Debug)]
pub struct Noted<S>(S);

/// An answer that is noted until it is out.
#[derive(Debug)]
pub struct NotedBody {
    inner: Body,
    rest: Bytes,
    call: Option<OpenCall>,
}

impl<S> Layer<S> for NotedLayer {
    type Service = Noted<S>;

    fn layer(&self, service: S) -> Noted<S> {
        Noted(service)
    }
}

impl<S> Service<Request<Body>> for Noted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<NotedBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<NotedBody>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let call = peer.map(|peer| peer.presence.begin());
        let answered = self.0.call(request);
        Box::pin(async move {
            let response = answered.await?;
            Ok(response.map(|inner| NotedBody {
                inner,
                rest: Bytes::new(),
                call,
            }))
        })
    }
}

// === impl NotedBody ===

impl NotedBody {
    fn piece(&mut self) -> Frame<Bytes> {
        if let Some(call) = &mut self.call {
            call.handed_over(Instant::now());
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(bytes))
    }
}

impl http_body::Body for NotedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if let Some(call) = &mut self.call {
            call.taken();
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            ended => {
                self.call = None;
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
        let mut body = NotedBody {
            inner: Body::new(axum::body::Body::from(sent.clone())),
            rest: Bytes::new(),
            call: None,
        };
        let (mut received, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            received.extend_from_slice(&piece);
            pieces += 1;
        }
        assert_eq!((received, pieces), (sent, 4));
    }
}
