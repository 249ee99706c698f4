//! `hermod simulate planner`: whether plans of blasts bring what they promise, as a table or JSON.
//!
//! Parses and prints; the worlds are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::planner::{self, Kind, Options, Report, Row};

/// Plans of blasts in random worlds: promised, brought, and what plain plans bring
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Smallest audience
    #[arg(long, default_value_t = 2_000)]
    audience_min: u64,
    /// Largest audience
    #[arg(long, default_value_t = 500_000)]
    audience_max: u64,
    /// Largest audience of worlds that are played through the use cases
    #[arg(long, default_value_t = 5_000)]
    use_case_audience_max: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds of each kind, each with its own seed
    #[arg(long, default_value_t = 60)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plans, plays and prints.
///
/// # Errors
/// The options make no worlds.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        audience_min: args.audience_min,
        audience_max: args.audience_max,
        use_case_audience_max: args.use_case_audience_max,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = planner::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::AsAssumed => "as assumed",
        Kind::Slower => "answers twice as late",
        Kind::Faster => "answers twice as soon",
        Kind::Narrower => "variants differ half as much",
        Kind::Wider => "variants differ twice as much",
        Kind::UseCases => "as assumed, through the use cases",
    }
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        format!("{}, {}", name(row.kind), row.of),
        row.worlds.to_string(),
        row.sent_now.to_string(),
        shown(&row.kept, 3),
        shown(&row.over_evenly_percent, 2),
        shown(&row.over_test_percent, 2),
        format!("{:.0}", row.planning_ms),
    ]
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let headings = [
        "worlds",
        "n",
        "sent now",
        "came / promised",
        "over evenly, %",
        "over the best test, %",
        "planning, ms",
    ];
    format!(
        "audiences {} to {} (use cases to {}), deadlines 1 h to 3 d, 2 to 10 variants, rates 1 to 35 %, {} seeds from {}\n{}",
        options.audience_min,
        options.audience_max,
        options.use_case_audience_max,
        options.seeds,
        options.seed,
        table(&headings, report.rows.iter().map(cells).collect()),
    )
}
