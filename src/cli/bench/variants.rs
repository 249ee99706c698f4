//! `hermod bench variants`: the cost of a decision by the number of variants.

use std::process::ExitCode;

use super::{failure, io_failure, program, spread};
use crate::bench::variants::{Options, Row, measure};
use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, table};

/// CPU time of a decision among few variants and among many
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Numbers of variants
    #[arg(long, value_delimiter = ',', default_values_t = [5, 50, 500, 1_000])]
    variants: Vec<u64>,
    /// Turns; each asks every server once, and the order alternates
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Length of each measurement, seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections of the client
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Seed of the stores and of all requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measures and prints.
///
/// # Errors
/// A process, a call or a store failed.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let directory = tempfile::tempdir().map_err(io_failure)?;
    let options = Options {
        program: program()?,
        directory: directory.path().to_owned(),
        variants: args.variants.clone(),
        turns: args.turns.max(1),
        seconds: args.seconds,
        connections: args.connections,
        seed: args.seed,
    };
    let rows = measure(&options, &Bar::new()).map_err(failure)?;
    args.output.show(&rows, &text(&rows))
}

fn text(rows: &[Row]) -> String {
    let row = |row: &Row| {
        vec![
            row.variants.to_string(),
            spread(row.decision_us, 2),
            spread(row.ratio, 3),
        ]
    };
    let headings = ["variants", "CPU us per decision", "over the first"];
    let table = table(&headings, rows.iter().map(row).collect());
    format!(
        "Decide with validate_only, threads that answer; median over the turns [smallest, largest].\n\n{table}"
    )
}
