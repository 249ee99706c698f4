//! `hermod serve`: runs the server until it is told to stop.
//!
//! The configuration is checked whole before anything binds. Parses, prepares the process and hands over; what the server
//! is made of is not decided here.

use std::process::ExitCode;

use super::config::print_effective;
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::ops::config::Config;
use crate::ops::metrics::{self, Metrics};
use crate::ops::port::{self, OperationsPort};
use crate::ops::shutdown::StopSignals;
use crate::ops::telemetry;

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
    telemetry::install(&loaded.config.log).map_err(|error| CliError::Failure(error.to_string()))?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| CliError::Failure(error.to_string()))?;
    runtime.block_on(serve_operations(&loaded.config))?;
    print("")
}

/// Serves the operations port, which says that the service is not ready.
async fn serve_operations(config: &Config) -> Result<(), CliError> {
    let failure = |error: std::io::Error| CliError::Failure(error.to_string());
    let mut signals = StopSignals::listen().map_err(failure)?;
    let recorded = Metrics::new()
        .and_then(Metrics::install)
        .map_err(|error| CliError::Failure(error.to_string()))?;
    let address = config.server.operations_listen;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| {
            CliError::Failure(format!("server.operations_listen = {address}: {error}"))
        })?;
    let upkeep = tokio::spawn(metrics::upkeep(
        recorded.clone(),
        std::future::pending::<()>(),
    ));
    let pages = OperationsPort::new(
        recorded,
        || Err("this build has no gRPC service".to_owned()),
    );
    tracing::info!(%address, "operations port is open");
    let stop = async {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
    };
    let served = port::serve(listener, pages.router(), stop)
        .await
        .map_err(failure);
    upkeep.abort();
    served
}
