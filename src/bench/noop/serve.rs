//! Serving nothing: on the runtime that everybody starts with, or on ours.

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::{Router, TcpIncoming};

use super::Noop;
use crate::bench::BenchError;
use crate::grpc::wire::decision_service_server::DecisionServiceServer;
use crate::grpc::wire::feedback_service_server::FeedbackServiceServer;
use crate::ops::config::Config;
use crate::ops::cores::Cores;
use crate::ops::incoming::Incoming;
use crate::ops::transport::{grpc_rules, transport};

/// What the services that do nothing run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Tokio's runtime of many threads and tonic's own listener, as every guide has it.
    MultiThread,
    /// A thread a core, as hermod serves.
    PerCore,
}

impl std::str::FromStr for Runtime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "multi-thread" => Ok(Self::MultiThread),
            "per-core" => Ok(Self::PerCore),
            _ => Err("not one of multi-thread, per-core".to_owned()),
        }
    }
}

/// Serves on a free port of this machine until the process ends; `announce` is told the address.
///
/// # Errors
/// The port or a thread fails.
pub fn serve(runtime: Runtime, announce: impl FnOnce(&str)) -> Result<(), BenchError> {
    let main = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    main.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        match runtime {
            Runtime::MultiThread => {
                announce(&address);
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                Ok(router().serve_with_incoming(incoming).await?)
            }
            Runtime::PerCore => {
                let cores = Cores::new(0)?;
                let rules = grpc_rules(&Config::default().server);
                let lanes = Incoming::spread(listener, None, rules, "grpc", cores.handles())?;
                let serve = |_: &Incoming| {
                    |lane, _| async move { router().serve_with_incoming(lane).await }
                };
                let services = lanes.iter().map(serve).collect();
                let (_never, stopped) = watch::channel(false);
                announce(&address);
                let served = cores.serve(lanes, services, stopped)?.await;
                served.map_err(|error| BenchError::Nonsense(error.to_string()))
            }
        }
    })
}

fn router() -> Router {
    let noop = Noop::default();
    let decisions = DecisionServiceServer::new(noop.clone())
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let feedback = FeedbackServiceServer::new(noop).max_decoding_message_size(usize::MAX);
    transport(&Config::default().server)
        .add_service(decisions)
        .add_service(feedback)
}
