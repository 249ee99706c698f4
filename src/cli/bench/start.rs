//! `hermod bench start`: how long an empty server takes until it serves.

use std::process::ExitCode;

use serde::Serialize;

use super::{failure, io_failure, program, spread};
use crate::bench::{Spread, start};
use crate::cli::CliError;
use crate::cli::study::OutputArgs;

/// Time from the start of the program until it serves, on an empty store
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Starts after the first, which creates the store
    #[arg(long, default_value_t = 9)]
    turns: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Starts {
    first_ms: f64,
    again_ms: Spread,
}

/// Measures and prints.
///
/// # Errors
/// The server does not start or stop.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let directory = tempfile::tempdir().map_err(io_failure)?;
    let store = directory.path().join("store");
    let (first_ms, again_ms) = start::measure(&program()?, &store, args.turns).map_err(failure)?;
    let text = format!(
        "Until it serves: {first_ms:.0} ms where the store is created, then {} ms, median [smallest, largest]\n",
        spread(again_ms, 0)
    );
    args.output.show(&Starts { first_ms, again_ms }, &text)
}
