//! `hermod serve`: runs the server until it is told to stop.
//!
//! The configuration is checked whole before anything binds. Parses, opens, binds and hands over; what the server is made of
//! is not decided here.

use std::process::ExitCode;
use std::sync::Arc;

use super::config::print_effective;
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{LoadReport, SystemClock};
use crate::ops::compose;
use crate::ops::config::{Config, Engine};
use crate::ops::metrics::Metrics;
use crate::ops::security::Security;
use crate::ops::server::{Listeners, Server};
use crate::ops::shutdown::{HangUps, StopSignals};
use crate::ops::telemetry;

/// Niceness of threads that do not answer: a quarter of the share of those that do, where both are busy.
#[cfg(target_os = "linux")]
const BACKGROUND_NICENESS: i32 = 6;

/// Run the server: gRPC service, metrics and health pages
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the configuration in effect and exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// All problems of the configuration, or why the server could not start.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let loaded = args.settings.load()?;
    if args.print_config {
        return print_effective(&loaded);
    }
    telemetry::install(&loaded.config.log).map_err(failure)?;
    // What is done beside the answers; those have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(step_back)
        .enable_all()
        .build()
        .map_err(failure)?;
    let served = runtime.block_on(serve(loaded.config));
    // Everything is on disk; what still computes, computes for nobody.
    runtime.shutdown_background();
    served?;
    print("")
}

/// Lets the threads that answer go first where both want the processor.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        // On Linux priorities are per thread. Without the right to it everything runs as before.
        let thread = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(thread), BACKGROUND_NICENESS);
    }
}

fn failure(error: impl std::fmt::Display) -> CliError {
    CliError::Failure(error.to_string())
}

async fn serve(config: Config) -> Result<(), CliError> {
    let mut signals = StopSignals::listen().map_err(failure)?;
    let hang_ups = HangUps::listen().map_err(failure)?;
    let listeners = bind(&config).await?;
    let metrics = Metrics::new().and_then(Metrics::install).map_err(failure)?;
    let opened = compose::open_app(&config, Arc::new(SystemClock))
        .await
        .map_err(failure)?;
    let report = opened.report.clone();
    let server = Server::open(opened, config.clone(), metrics)
        .await
        .map_err(failure)?;
    announce(&config, &listeners, &report)?;
    tokio::spawn(reload_on_hang_up(hang_ups, server.security()));
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let (immediately, at_once) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::info!(signal, "told to stop");
        let _ = stop.send(());
        signals.next().await;
        tracing::warn!("told twice: not waiting for calls in flight");
        let _ = immediately.send(());
    });
    let stop = async {
        let _ = stopping.await;
    };
    let stopped = server
        .run(listeners, stop, at_once)
        .await
        .map_err(failure)?;
    let calls = if stopped.cut_off {
        "calls still in flight were cut off"
    } else {
        "all calls finished"
    };
    tracing::info!("stopped: {calls}, everything is on disk");
    Ok(())
}

/// Reads certificates and keys again at each SIGHUP, without waiting for their turn.
async fn reload_on_hang_up(mut hang_ups: HangUps, security: Arc<Security>) {
    while hang_ups.next().await {
        tracing::info!("SIGHUP: reading certificates and keys again");
        security.reload().await;
    }
}

async fn bind(config: &Config) -> Result<Listeners, CliError> {
    let bind = |name: &'static str, address: std::net::SocketAddr| async move {
        tokio::net::TcpListener::bind(address).await.map_err(|error| {
            CliError::Failure(format!("{name} = {address}: {error}; stop what listens there or choose another port with --set {name}=127.0.0.1:PORT"))
        })
    };
    Ok(Listeners {
        grpc: bind("server.grpc_listen", config.server.grpc_listen).await?,
        operations: bind("server.operations_listen", config.server.operations_listen).await?,
    })
}

/// What protects the gRPC port, in brackets.
fn protection(config: &Config) -> &'static str {
    match (config.tls.is_on(), config.auth.access_file.is_some()) {
        (true, true) => " (TLS, callers are authenticated)",
        (true, false) if config.tls.requires_certificates() => " (TLS with client certificates)",
        (true, false) => " (TLS, callers are not authenticated)",
        (false, true) => " (plain text, callers are authenticated)",
        (false, false) => "",
    }
}

fn grpcurl_flags(config: &Config) -> String {
    let tls = if config.tls.is_on() {
        "-cacert CA.pem "
    } else {
        "-plaintext "
    };
    let token = if config.auth.access_file.is_some() {
        "-expand-headers -H 'authorization: Bearer ${TOKEN}' "
    } else {
        ""
    };
    format!("{tls}{token}")
}

/// Says in a few lines where it listens, where the data is, and what to try.
fn announce(config: &Config, listeners: &Listeners, report: &LoadReport) -> Result<(), CliError> {
    let address = |listener: &tokio::net::TcpListener| listener.local_addr().map_err(failure);
    let (grpc, operations) = (address(&listeners.grpc)?, address(&listeners.operations)?);
    let data = match config.store.engine {
        Engine::Memory => "in memory: everything is lost when this process ends".to_owned(),
        Engine::Sled => format!(
            "{} ({} experiments, {} cells)",
            config.store.path.display(),
            report.experiments,
            report.cells
        ),
    };
    let scheme = if config.operations_tls.is_on() {
        "https"
    } else {
        "http"
    };
    print(&format!(
        "hermod {} is serving\n  gRPC        {grpc}{}\n  operations  {scheme}://{operations}/metrics, /live, /ready\n  data        {data}\n  try         grpcurl {}{grpc} list\n",
        env!("CARGO_PKG_VERSION"),
        protection(config),
        grpcurl_flags(config)
    ))?;
    for unreadable in &report.unreadable {
        tracing::error!("a record cannot be read and is left alone: {unreadable}");
    }
    Ok(())
}
