//! One administrative call: read whole, recorded as asked, made, recorded as answered.
//!
//! Invariant: a call is made only after its entry is on the disk. A call that ends early, because its caller went away or its time was over, is
//! recorded as cancelled; what it had begun may have been done.
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::app::App;
use crate::domain::name::Slug;
use crate::grpc::Caller;
use crate::ops::auth::{Method, Subject};
use crate::ops::incoming::Peer;

use super::{Audit, Entry};

/// A message's prefix on the wire: a byte that says whether it is compressed, and its length (gRPC over HTTP/2).
const PREFIX_BYTES: usize = 5;
/// When to try again where the log cannot be written.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What is needed to record a call.
pub struct AuditedCall<'a> {
    /// The log.
    pub audit: &'a Audit,
    /// For the time, and for hashes of recipients.
    pub app: &'a App,
    /// Who calls.
    pub caller: &'a Caller,
    /// What is called.
    pub method: &'static Method,
    /// Largest request, in bytes.
    pub bytes_max: usize,
}

/// What the entries of one call have in common.
struct Facts<'a> {
    call: &'a AuditedCall<'a>,
    id: String,
    peer: Option<String>,
    resource: Option<String>,
    /// Whether its answer has been recorded.
    is_answered: bool,
}

// === impl AuditedCall ===

impl AuditedCall<'_> {
    /// Makes the call between its two entries.
    pub async fn make<F>(
        self,
        request: Request<Body>,
        inner: impl FnOnce(Request<Body>) -> F,
    ) -> Result<Response<Body>, Infallible>
    where
        F: Future<Output = Result<Response<Body>, Infallible>>,
    {
        let (parts, body) = request.into_parts();
        let collected = Limited::new(body, self.bytes_max.saturating_add(PREFIX_BYTES))
            .collect()
            .await;
        let Ok(collected) = collected else {
            let refused = Status::out_of_range("the request is too large or was broken off");
            return Ok(refused.into_http());
        };
        let bytes = collected.to_bytes();
        let peer = parts.extensions.get::<Peer>();
        let mut facts = Facts {
            id: self.audit.next_call(),
            peer: peer.map(|peer| peer.address.ip().to_string()),
            resource: self.resource(bytes.get(PREFIX_BYTES..).unwrap_or_default()),
            call: &self,
            is_answered: true,
        };
        if self.audit.write(&facts.entry("asked")).await.is_err() {
            return Ok(unavailable().into_http());
        }
        facts.is_answered = false;
        let request = Request::from_parts(parts, Body::new(Full::new(bytes)));
        let response = inner(request).await?;
        facts.is_answered = true;
        let answered = Entry {
            code: Some(format!("{:?}", code(&response))),
            ..facts.entry("answered")
        };
        // It is done and cannot be taken back; the failure is counted and logged.
        let _ = self.audit.write(&answered).await;
        drop(answered);
        Ok(response)
    }

    /// What the call is about, as far as it may be written down.
    fn resource(&self, message: &[u8]) -> Option<String> {
        match (self.method.subject?)(message)? {
            Subject::Experiment(name) => {
                let id = name.strip_prefix("experiments/")?;
                Slug::parse(id).ok().map(|_| name)
            }
            Subject::Recipient(id) => {
                let key = self.app.recipient_key(self.caller.tenant, &id);
                let hex: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("recipient-hash:{hex}"))
            }
            Subject::Whole => Some("store".to_owned()),
        }
    }
}

// === impl Facts ===

impl Facts<'_> {
    fn entry(&self, event: &'static str) -> Entry<'_> {
        let caller = self.call.caller;
        Entry {
            at: self.call.app.now().to_string(),
            event,
            call: Some(&self.id),
            caller: Some(&caller.name),
            tenant: Some(&caller.tenant_name),
            peer: self.peer.clone(),
            method: Some(self.call.method.path),
            resource: self.resource.as_deref(),
            ..Entry::default()
        }
    }
}

impl Drop for Facts<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let cancelled = Entry {
                code: Some(format!("{:?}", Code::Cancelled)),
                ..self.entry("answered")
            };
            // Nobody is left to wait for it.
            let _ = self.call.audit.enqueue(&cancelled);
        }
    }
}

/// Successful unary answers carry their status in trailers.
fn code(response: &Response<Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

fn unavailable() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        "AUDIT_UNAVAILABLE",
        "hermod.v1",
        std::collections::HashMap::new(),
    );
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(
        Code::Unavailable,
        "this call must be recorded and the audit log cannot be written; nothing was done, try again later",
        details,
    )
}
