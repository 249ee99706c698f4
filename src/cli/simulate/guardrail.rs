//! `hermod simulate guardrail`: how soon a variant that brings complaints is stopped, and how often wrongly, as a table or JSON.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::guardrail::{self, Options, Report, Rule};

/// A variant that brings complaints: stopped in time, and how often wrongly?
#[derive(Debug, clap::Args)]
pub struct Args {
    /// True complaint rates of the variant, one campaign each
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.0005,0.001,0.002,0.004"
    )]
    rates: Vec<f64>,
    /// Limit of the complaint rate
    #[arg(long, default_value_t = 0.001)]
    limit: f64,
    /// Mails with the variant, unless it is stopped
    #[arg(long, default_value_t = 50_000)]
    mails: u32,
    /// Mails with it per hour
    #[arg(long, default_value_t = 1_000.0)]
    mails_per_hour: f64,
    /// Median time until a complaint
    #[arg(long, default_value_t = 5.0)]
    delay_median_hours: f64,
    /// Standard deviation of the logarithm of that time
    #[arg(long, default_value_t = 2.3)]
    delay_sigma: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Campaigns to play for each rate, each with its own seed
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// How many of them are played through the use cases as well
    #[arg(long, default_value_t = 2)]
    checked_seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the campaigns and prints what was stopped.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        rates: args.rates,
        limit: args.limit,
        mails: args.mails,
        mails_per_hour: args.mails_per_hour,
        delay_median_hours: args.delay_median_hours,
        delay_sigma: args.delay_sigma,
        seed: args.seed,
        seeds: args.seeds,
        checked_seeds: args.checked_seeds,
    };
    let report = guardrail::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let checked = options.checked_seeds.min(options.seeds);
    let rows = report.rows.iter().map(|row| {
        let fewer = row.fewer_mails.as_ref();
        vec![
            format!("{:.3}", 100.0 * row.rate),
            match row.rule {
                Rule::ByAge => "by their age",
                Rule::Whole => "whole",
            }
            .to_owned(),
            shown(&row.stopped.times(100.0), 1),
            row.mails_median
                .map_or_else(|| "-".to_owned(), |mails| format!("{mails:.0}")),
            fewer.map_or_else(|| "-".to_owned(), |fewer| shown(fewer, 0)),
            shown(&row.avoided.times(100.0), 1),
            row.agreed
                .map_or_else(|| "-".to_owned(), |agreed| format!("{agreed} of {checked}")),
        ]
    });
    let headings = [
        "complaint rate, %",
        "mails count",
        "stopped, %",
        "after mails (median)",
        "mails fewer",
        "complaints avoided, %",
        "same as use cases",
    ];
    format!(
        "limit {} %, {} mails at {} per hour, complaints after a lognormal time (median {} h, sigma {}), {} seeds from {}\n{}",
        100.0 * options.limit,
        options.mails,
        options.mails_per_hour,
        options.delay_median_hours,
        options.delay_sigma,
        options.seeds,
        options.seed,
        table(&headings, rows.collect()),
    )
}
