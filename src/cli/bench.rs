//! `hermod bench`: what answers cost on this machine, as tables or JSON.
//!
//! Parses and prints; processes, drives and turns are the layer's that measures. Needs Linux's `/proc` for CPU time and memory.

mod calls;
mod growth;
mod start;
mod variants;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, print};
use crate::bench::method::Population;
use crate::bench::noop::{self, Runtime};
use crate::bench::{BenchError, Spread};

/// Measure what answers cost on this machine, against services that do nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Calls(calls::Args),
    Growth(growth::Args),
    Start(start::Args),
    Variants(variants::Args),
    #[command(hide = true)]
    Noop(NoopArgs),
    #[command(hide = true)]
    Drive,
}

/// Serve the services that do nothing
#[derive(Debug, clap::Args)]
struct NoopArgs {
    /// multi-thread or per-core
    #[arg(long)]
    runtime: Runtime,
}

/// Which store to measure on.
#[derive(Debug, Clone, clap::Args)]
struct WorldArgs {
    /// Directory of the store that is measured on: filled if it is empty or absent, and left for the next time [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// People with history in it
    #[arg(long, default_value_t = 1_000_000)]
    people: u64,
    /// Running experiments in it, with 8 segments
    #[arg(long, default_value_t = 100)]
    experiments: u64,
    /// Variants of the first experiment and of the last; the others lie between
    #[arg(long, num_args = 2, default_values_t = [5, 50], value_names = ["FIRST", "LAST"])]
    variants: Vec<u64>,
    /// Seed of the store and of all requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures.
///
/// # Errors
/// A process, a call or the store failed.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Calls(args) => calls::run(&args),
        Action::Growth(args) => growth::run(&args),
        Action::Start(args) => start::run(&args),
        Action::Variants(args) => variants::run(&args),
        Action::Noop(args) => {
            noop::serve(args.runtime, |address| {
                // Whoever started this reads it; if nobody does, there is nobody to tell.
                let _ = print(&format!("gRPC {address}\n"));
            })
            .map_err(failure)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Drive => {
            crate::bench::calls::obey().map_err(failure)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failure(error: BenchError) -> CliError {
    CliError::Failure(error.to_string())
}

fn io_failure(error: std::io::Error) -> CliError {
    CliError::Failure(error.to_string())
}

/// The program that is running, which also serves and drives.
fn program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(io_failure)
}

// === impl WorldArgs ===

impl WorldArgs {
    /// Variants of the first experiment and the last.
    fn variants(&self) -> (u64, u64) {
        let at = |at: usize| self.variants.get(at).copied().unwrap_or(5);
        (at(0), at(1))
    }

    fn population(&self) -> Population {
        Population {
            people: self.people,
            experiments: self.experiments,
        }
    }
}

/// A median with its ends; a dash where nothing was measured.
fn spread(spread: Spread, digits: usize) -> String {
    if spread == Spread::default() {
        return "-".to_owned();
    }
    let Spread { median, low, high } = spread;
    format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]")
}
