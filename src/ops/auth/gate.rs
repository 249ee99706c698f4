//! What stands before every service: credentials are checked, the caller is named to the handlers, administrative calls are recorded.
//!
//! Invariant: a call that is handed on carries its [`Caller`]; an administrative one is in the audit log before it is made, and its result
//! before it is answered. A stream lasts no longer than the credentials it was let in with.
mod standing;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::Service;

use crate::app::App;
use crate::grpc::Caller;
use crate::ops::audit::{Audit, AuditedCall};
use crate::ops::incoming::Peer;

use super::admission::{Credentials, Need, PeerCertificate, Refusal};
use super::book::AccessBook;
use super::refusals::{self, RefusalLog};
use super::scope::{Method, methods_by_path};

use standing::{Standing, Terms};

const REFLECTION: &str = "/grpc.reflection.";

/// What a gate is made of.
pub struct GateSettings {
    /// For the time, and for hashes of recipients.
    pub app: Arc<App>,
    /// Who may call; `None` asks nobody for credentials.
    pub access: Option<Arc<AccessBook>>,
    /// Shows the interface to callers without credentials.
    pub public_reflection: bool,
    /// Where administrative calls are recorded.
    pub audit: Option<Arc<Audit>>,
    /// Largest request, in bytes.
    pub request_bytes_max: usize,
}

/// Lets calls in.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    settings: GateSettings,
    methods: foldhash::HashMap<String, &'static Method>,
    refusals: RefusalLog,
}

/// A service behind the gate.
#[derive(Clone)]
pub struct Gated<S> {
    service: S,
    gate: Gate,
}

/// A call that may be made.
struct Entry {
    caller: Caller,
    method: Option<&'static Method>,
}

// === impl Gate ===

impl Gate {
    /// A gate.
    pub fn new(settings: GateSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                methods: methods_by_path(),
                refusals: RefusalLog::default(),
            }),
        }
    }

    /// Puts a service behind this gate.
    pub fn keep<S>(&self, service: S) -> Gated<S> {
        Gated {
            service,
            gate: self.clone(),
        }
    }

    fn enter(&self, request: &Request<Body>) -> Result<Entry, Refusal> {
        let path = request.uri().path();
        let method = self.inner.methods.get(path).copied();
        let peer = request.extensions().get::<Peer>();
        let certificate = peer.and_then(|peer| peer.certificate.as_deref());
        let caller = match &self.inner.settings.access {
            None => unchecked(certificate),
            Some(book) => {
                let credentials = Credentials {
                    authorization: request
                        .headers()
                        .get(http::header::AUTHORIZATION)
                        .map(http::HeaderValue::as_bytes),
                    certificate,
                };
                self.check(book, credentials, self.need(path, method))?
            }
        };
        Ok(Entry { caller, method })
    }

    /// What a call needs. A path that is no method of ours is for those who may call at all.
    fn need(&self, path: &str, method: Option<&Method>) -> Need {
        match method {
            Some(method) => Need::Scope(method.scope),
            None if path.starts_with(REFLECTION) && self.inner.settings.public_reflection => {
                Need::Nothing
            }
            None => Need::AnyCredentials,
        }
    }

    fn check(
        &self,
        book: &AccessBook,
        credentials: Credentials<'_>,
        need: Need,
    ) -> Result<Caller, Refusal> {
        let access = book.current();
        let now = self.inner.settings.app.now();
        let Some(admitted) = access.list.admit(credentials, need, now)? else {
            return Ok(Caller::anonymous());
        };
        let name = &admitted.grant.tenant;
        // A list in service has a number for each of its tenants.
        let tenant = *access.tenants.get(name).ok_or(Refusal::Invalid)?;
        Ok(Caller {
            tenant,
            tenant_name: Arc::from(name.as_str()),
            name: Arc::from(admitted.name),
        })
    }

    /// Whether a path may be handed on although it is no method with a row; only reflection may where callers are authenticated.
    fn is_served(&self, path: &str, method: Option<&Method>) -> bool {
        method.is_some() || self.inner.settings.access.is_none() || path.starts_with(REFLECTION)
    }

    async fn refuse(&self, refusal: Refusal, request: Request<Body>) -> Response<Body> {
        let settings = &self.inner.settings;
        let method = self.inner.methods.get(request.uri().path()).copied();
        let name = method.map_or("unknown", Method::name);
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
        let now = settings.app.now();
        let is_told = self.inner.refusals.record(&refusal, name, peer, now);
        let administrative = method.filter(|method| method.subject.is_some());
        if let (Some(method), Some(audit)) = (administrative, &settings.audit) {
            // A stranger must not fill the disk; somebody who is known is recorded every time.
            if is_told || refusal.name().is_some() {
                audit.refused(method, &refusal, peer, now).await;
            }
        }
        refusals::status(&refusal).into_http()
    }

    /// What a stream has to go on fulfilling; `None` for a call with one answer, or where nobody is asked for credentials.
    fn terms(&self, request: &Request<Body>, entry: &Entry) -> Option<Terms> {
        let book = self.inner.settings.access.as_ref()?;
        let method = entry.method.filter(|method| method.streams())?;
        let peer = request.extensions().get::<Peer>();
        Some(Terms {
            gate: self.clone(),
            checks: book.checks(),
            authorization: request.headers().get(http::header::AUTHORIZATION).cloned(),
            certificate: peer.and_then(|peer| peer.certificate.clone()),
            need: Need::Scope(method.scope),
            tenant: entry.caller.tenant,
        })
    }

    fn audited(&self, entry: &Entry) -> Option<(Arc<Audit>, &'static Method)> {
        let method = entry.method.filter(|method| method.subject.is_some())?;
        Some((self.inner.settings.audit.clone()?, method))
    }
}

/// Who calls where no access file says who may: with a required certificate it is at least known which.
fn unchecked(certificate: Option<&PeerCertificate>) -> Caller {
    let anonymous = Caller::anonymous();
    match certificate {
        None => anonymous,
        Some(certificate) => {
            let fingerprint = blake3::Hash::from_bytes(certificate.fingerprint).to_hex();
            Caller {
                name: Arc::from(format!("certificate-sha256:{fingerprint}")),
                ..anonymous
            }
        }
    }
}

// === impl Gated ===

impl<S: NamedService> NamedService for Gated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        > + Clone
        + Send
        + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let entry = match self.gate.enter(&request) {
            Ok(entry) => entry,
            Err(refusal) => {
                let gate = self.gate.clone();
                return Box::pin(async move { Ok(gate.refuse(refusal, request).await) });
            }
        };
        if !self.gate.is_served(request.uri().path(), entry.method) {
            let response = Status::unimplemented("there is no such method").into_http();
            return Box::pin(std::future::ready(Ok(response)));
        }
        if entry.method.is_some()
            && let Err(error) = self.gate.inner.settings.app.spend(entry.caller.tenant, 1)
        {
            let response = crate::grpc::status(error).into_http();
            return Box::pin(std::future::ready(Ok(response)));
        }
        let terms = self.gate.terms(&request, &entry);
        let answered: Self::Future = match self.gate.audited(&entry) {
            None => {
                request.extensions_mut().insert(entry.caller);
                self.service.call(request)
            }
            Some((audit, method)) => {
                request.extensions_mut().insert(entry.caller.clone());
                let gate = self.gate.clone();
                // The instance that was polled ready must make the call, so the clone stays behind for the next one.
                let clone = self.service.clone();
                let mut service = std::mem::replace(&mut self.service, clone);
                Box::pin(async move {
                    let settings = &gate.inner.settings;
                    let call = AuditedCall {
                        audit: &audit,
                        app: &settings.app,
                        caller: &entry.caller,
                        method,
                        bytes_max: settings.request_bytes_max,
                    };
                    call.make(request, |request| service.call(request)).await
                })
            }
        };
        match terms {
            None => answered,
            Some(terms) => Box::pin(async move {
                let response = answered.await?;
                Ok(response.map(|body| Body::new(Standing::new(body, terms))))
            }),
        }
    }
}
