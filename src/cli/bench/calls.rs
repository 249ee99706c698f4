//! `hermod bench calls`: every way of asking, against services that do nothing.

use std::process::ExitCode;

use super::{WorldArgs, failure, io_failure, program, spread};
use crate::bench::calls::{Compared, Options, Row, Side, compare};
use crate::bench::method::Method;
use crate::bench::world::World;
use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, table};

/// Decisions and reports over gRPC in turns with services that do nothing: rate, CPU time and waiting
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    world: WorldArgs,
    /// Calls to measure, of predict, validate, decide, choose, batch, stream, report, report-one [default: all]
    #[arg(long, value_delimiter = ',')]
    methods: Vec<Method>,
    /// Turns; each drives every server once, and the order alternates
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Length of each measurement, seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections of the client
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Further settings of the server
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measures and prints.
///
/// # Errors
/// A process, a call or the store failed.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let temporary;
    let directory = match &args.world.dir {
        Some(directory) => directory.clone(),
        None => {
            temporary = tempfile::tempdir().map_err(io_failure)?;
            temporary.path().join("store")
        }
    };
    let population = args.world.population();
    let world = World {
        directory: directory.clone(),
        population,
        variants: args.world.variants(),
        seed: args.world.seed,
    };
    let bar = Bar::new();
    if !world.exists() {
        world.fill(&bar).map_err(failure)?;
    }
    let methods = if args.methods.is_empty() {
        Method::ALL.to_vec()
    } else {
        args.methods.clone()
    };
    let options = Options {
        program: program()?,
        directory,
        population,
        methods,
        turns: args.turns.max(1),
        seconds: args.seconds,
        connections: args.connections,
        settings: args.settings.clone(),
        seed: args.world.seed,
    };
    let compared = compare(&options, &bar).map_err(failure)?;
    let shown = args.output.show(&compared, &text(&compared))?;
    let failed = compared.iter().filter_map(|compared| {
        let error = compared.failed.as_ref()?;
        Some(format!("{}: {error}", compared.method.title()))
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() {
        Ok(shown)
    } else {
        Err(CliError::Failure(failed.join("\n")))
    }
}

fn text(compared: &[Compared]) -> String {
    let mut text = String::from(
        "Median over the turns [smallest, largest]; ratios are of the same turn, hermod over the other.\n\nAs fast as it goes\n",
    );
    let heads = [
        "call",
        "server",
        "answers a second",
        "ratio",
        "server us/answer",
        "of it answering",
        "client us/answer",
        "p50 us",
        "p99 us",
        "p99.9 us",
    ];
    text += &table(&heads, rows(compared, saturated));
    text += "\nAt a fifth of hermod's rate, open loop\n";
    let heads = [
        "call",
        "server",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "p99 ratio",
    ];
    text += &table(&heads, rows(compared, quiet));
    text
}

fn rows(compared: &[Compared], cells: fn(&Row) -> Vec<String>) -> Vec<Vec<String>> {
    let named = |compared: &Compared, row: &Row| {
        let mut named = vec![
            compared.method.title().to_owned(),
            side(row.side).to_owned(),
        ];
        named.extend(cells(row));
        named
    };
    let of = |compared| {
        let rows = |compared: &Compared| -> Vec<Vec<String>> {
            compared
                .rows
                .iter()
                .map(|row| named(compared, row))
                .collect()
        };
        rows(compared)
    };
    compared.iter().flat_map(of).collect()
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Hermod => "hermod",
        Side::NoopPerCore => "no-op, per core",
        Side::NoopMultiThread => "no-op, multi-thread",
    }
}

fn saturated(row: &Row) -> Vec<String> {
    vec![
        spread(row.per_second, 0),
        spread(row.ratio, 2),
        spread(row.server_cpu_us, 2),
        spread(row.answering_us, 2),
        spread(row.client_cpu_us, 2),
        spread(row.p50_us, 0),
        spread(row.p99_us, 0),
        spread(row.p999_us, 0),
    ]
}

fn quiet(row: &Row) -> Vec<String> {
    vec![
        spread(row.quiet_p50_us, 0),
        spread(row.quiet_p99_us, 0),
        spread(row.quiet_p999_us, 0),
        spread(row.quiet_p99_ratio, 2),
    ]
}
