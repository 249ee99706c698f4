//! `hermod simulate holdout`: false alarms and power of the uplift under many looks, as a table or JSON.
//!
//! Parses and prints; the lists are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::holdout::{self, Options, Report, Row};

/// Uplift over a holdout, watched a thousand times
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mails of a list
    #[arg(long, default_value_t = 200_000)]
    sends: u64,
    /// Looks at the results
    #[arg(long, default_value_t = 1_000)]
    looks: u64,
    /// Rates in the holdout
    #[arg(long, value_delimiter = ',', default_value = "0.22,0.02")]
    rates: Vec<f64>,
    /// Shares of the holdout
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.05")]
    shares: Vec<f64>,
    /// True relative uplift to look for
    #[arg(long, default_value_t = 0.05)]
    uplift: f64,
    /// Days over which the mails leave where answers are late
    #[arg(long, default_value_t = 14.0)]
    days: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lists of each kind, each with its own seed
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Watches the lists and prints what was claimed.
///
/// # Errors
/// The options make no list.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        sends: args.sends,
        looks: args.looks,
        rates: args.rates,
        shares: args.shares,
        uplift: args.uplift,
        days: args.days,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = holdout::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn cells(row: &Row) -> Vec<String> {
    let world = row.world;
    vec![
        if world.is_delayed { "late" } else { "at once" }.to_owned(),
        format!("{:.1}", 100.0 * world.rate),
        format!("{:.0}", 100.0 * world.share),
        format!("{:+.1}", 100.0 * world.uplift),
        shown(&row.claimed_percent, 1),
        shown(&row.repeated_test_percent, 1),
        shown(&row.missed_percent, 1),
        row.median_sends
            .map_or_else(String::new, |sends| format!("{sends:.0}")),
    ]
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let headings = [
        "answers",
        "rate, %",
        "holdout, %",
        "true uplift, %",
        "claimed, % of lists",
        "by a repeated test",
        "truth ever outside, %",
        "half of the claims by",
    ];
    format!(
        "{} mails, {} looks, {} seeds from {}; late answers: lognormal (median 5 h, sigma 2.3), mails over {} days; the last uplift of each block is the one said to be found in 80 % of lists\n{}",
        options.sends,
        options.looks,
        options.seeds,
        options.seed,
        options.days,
        table(&headings, report.rows.iter().map(cells).collect()),
    )
}
