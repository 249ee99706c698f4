//! Where calls come in: those of our services go straight to them, within their limits; all else takes the transport's own way.
//!
//! Invariant: every call is noted at its connection until its answer is out, and each of ours passes limits and gate. The router of the
//! transport answers for health, reflection and what does not exist: looking a path up there and boxing every call and body twice costs about
//! as much as all that stands before a service here.
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::grpc::{Services, wire};
use crate::ops::incoming::Peer;

use super::auth::{Gate, Gated};
use super::connections::OpenCall;
use super::guard::{Answering, Guarded, Held, Limits};

use wire::decision_service_server::{self, DecisionServiceServer};
use wire::experiment_service_server::{self, ExperimentServiceServer};
use wire::feedback_service_server::{self, FeedbackServiceServer};
use wire::operations_service_server::{self, OperationsServiceServer};
use wire::recipient_service_server::{self, RecipientServiceServer};

/// Puts our services before the transport's router; one for each thread that serves, since every call counts references to it.
#[derive(Clone)]
pub struct Front(Arc<Own>);

/// The transport's router with our services before it.
#[derive(Clone)]
pub struct Fronted<S> {
    own: Arc<Own>,
    rest: S,
}

/// Our services, behind the gate.
struct Own {
    limits: Arc<Limits>,
    decisions: Gated<DecisionServiceServer<Services>>,
    feedback: Gated<FeedbackServiceServer<Services>>,
    experiments: Gated<ExperimentServiceServer<Services>>,
    recipients: Gated<RecipientServiceServer<Services>>,
    operations: Gated<OperationsServiceServer<Services>>,
}

/// One of our services.
#[derive(Clone, Copy)]
enum Name {
    Decisions,
    Feedback,
    Experiments,
    Recipients,
    Operations,
}

/// A call on the way to its answer.
pub enum Fronting {
    /// One of ours.
    Own(Guarded),
    /// Of somebody else's service.
    Rest(Answering, Option<OpenCall>),
}

// === impl Front ===

impl Front {
    /// A thread's own of our services, within these limits and behind this gate; requests are at most so many bytes.
    pub fn new(services: &Services, limits: Limits, gate: &Gate, request_bytes_max: usize) -> Self {
        Self(Arc::new(Own {
            limits: Arc::new(limits),
            decisions: gate.keep(services.decisions(request_bytes_max)),
            feedback: gate.keep(services.feedback(request_bytes_max)),
            experiments: gate.keep(services.experiments(request_bytes_max)),
            recipients: gate.keep(services.recipients(request_bytes_max)),
            operations: gate.keep(services.operations(request_bytes_max)),
        }))
    }
}

impl<S> Layer<S> for Front {
    type Service = Fronted<S>;

    fn layer(&self, rest: S) -> Fronted<S> {
        Fronted {
            own: self.0.clone(),
            rest,
        }
    }
}

// === impl Name ===

impl Name {
    /// Whose a path is: `/package.Service/Method`.
    fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        match service {
            _ if method.is_empty() => None,
            decision_service_server::SERVICE_NAME => Some(Self::Decisions),
            feedback_service_server::SERVICE_NAME => Some(Self::Feedback),
            experiment_service_server::SERVICE_NAME => Some(Self::Experiments),
            recipient_service_server::SERVICE_NAME => Some(Self::Recipients),
            operations_service_server::SERVICE_NAME => Some(Self::Operations),
            _ => None,
        }
    }
}

// === impl Own ===

impl Own {
    /// Hands a call over. Our services are always ready, so nobody has to be waited for first.
    fn call(&self, service: Name, request: Request<Body>) -> Answering {
        match service {
            Name::Decisions => self.decisions.clone().call(request),
            Name::Feedback => self.feedback.clone().call(request),
            Name::Experiments => self.experiments.clone().call(request),
            Name::Recipients => self.recipients.clone().call(request),
            Name::Operations => self.operations.clone().call(request),
        }
    }
}

// === impl Fronted ===

impl<S> Service<Request<Body>> for Fronted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Held>;
    type Error = Infallible;
    type Future = Fronting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.rest.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let open = peer.map(|peer| peer.presence.begin());
        match Name::of(request.uri().path()) {
            None => Fronting::Rest(Box::pin(self.rest.call(request)), open),
            Some(service) => {
                let make = |request| self.own.call(service, request);
                Fronting::Own(self.own.limits.take_on(request, open, make))
            }
        }
    }
}

impl Future for Fronting {
    type Output = Result<Response<Held>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Own(guarded) => Pin::new(guarded).poll(context).map(Ok),
            Self::Rest(answering, open) => {
                let response = ready!(answering.as_mut().poll(context))?;
                let open = open.take();
                Poll::Ready(Ok(response.map(|body| Held::passing(body, open))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_of_the_interface_is_told_from_all_else_by_its_path() {
        let own = wire::DESCRIPTOR_SET;
        let set = <prost_types::FileDescriptorSet as prost::Message>::decode(own).unwrap();
        let mut services = 0;
        for file in &set.file {
            for service in &file.service {
                let path = format!("/{}.{}/Any", file.package(), service.name());
                let is_own = file.package() == "hermod.v1";
                assert_eq!(Name::of(&path).is_some(), is_own, "{path}");
                services += usize::from(is_own);
            }
        }
        assert_eq!(services, 5);
        for other in [
            "",
            "/",
            "/hermod.v1.DecisionService",
            "/hermod.v1.DecisionService/",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(Name::of(other).is_none(), "{other}");
        }
    }
}
