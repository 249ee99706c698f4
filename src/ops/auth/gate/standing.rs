//! A stream of answers for as long as its caller may have them: the credentials are checked again whenever the access file was looked at.
//!
//! Invariant: after a check that fails, nothing more is asked of the work behind the stream; it ends with the refusal that a new call would get.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use futures_util::Stream as _;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio_stream::wrappers::WatchStream;
use tonic::Status;
use tonic::body::Body;

use crate::domain::name::TenantId;

use super::super::admission::{Credentials, Need, PeerCertificate, Refusal};
use super::super::refusals;
use super::Gate;

/// What a stream was let in with.
pub(super) struct Terms {
    pub gate: Gate,
    pub checks: WatchStream<()>,
    pub authorization: Option<HeaderValue>,
    pub certificate: Option<Arc<PeerCertificate>>,
    pub need: Need,
    pub tenant: TenantId,
}

/// A stream's answers on terms.
pub(super) struct Standing {
    inner: Body,
    terms: Option<Terms>,
}

// === impl Terms ===

impl Terms {
    /// Checks again what was checked at the beginning; credentials that now are another tenant's are none.
    fn check(&self) -> Result<(), Refusal> {
        let Some(book) = &self.gate.inner.settings.access else {
            return Ok(());
        };
        let credentials = Credentials {
            authorization: self.authorization.as_ref().map(HeaderValue::as_bytes),
            certificate: self.certificate.as_deref(),
        };
        let caller = self.gate.check(book, credentials, self.need)?;
        match caller.tenant == self.tenant {
            true => Ok(()),
            false => Err(Refusal::Invalid),
        }
    }

    fn refused(&mut self, context: &mut Context<'_>) -> Option<Refusal> {
        while let Poll::Ready(Some(())) = Pin::new(&mut self.checks).poll_next(context) {
            if let Err(refusal) = self.check() {
                return Some(refusal);
            }
        }
        None
    }
}

// === impl Standing ===

impl Standing {
    pub fn new(inner: Body, terms: Terms) -> Self {
        Self {
            inner,
            terms: Some(terms),
        }
    }

    fn end(&mut self) {
        self.inner = Body::empty();
        self.terms = None;
    }
}

impl http_body::Body for Standing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let refused = self.terms.as_mut().and_then(|terms| terms.refused(context));
        if let Some(refusal) = refused {
            self.end();
            let reason = refusal.reason();
            metrics::counter!("hermod_auth_failures_total", "reason" => reason).increment(1);
            let mut trailers = HeaderMap::new();
            refusals::status(&refusal).add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
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
