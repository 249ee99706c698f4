//! `hermod simulate alias`: whether draws from alias tables are Thompson draws, as a table or JSON.
//!
//! Parses and prints; counting and testing are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, table};
use crate::lab::simulate::alias::{self, Options, Report};

/// Draws from an alias table against the probabilities of being best, and against draws from the posteriors
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Draws from each table
    #[arg(long, default_value_t = 10_000_000)]
    draws: u64,
    /// Draws straight from the posteriors; fewer where there are more than 50 arms
    #[arg(long, default_value_t = 2_000_000)]
    direct_draws: u64,
    /// Decisions through the use cases
    #[arg(long, default_value_t = 100_000)]
    decisions: u64,
    /// Fixes all draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Draws, counts and prints.
///
/// # Errors
/// There is too little to count.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        draws: args.draws,
        direct_draws: args.direct_draws,
        decisions: args.decisions,
        seed: args.seed,
    };
    let report = alias::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn text(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        let direct = row
            .direct
            .map_or("-".to_owned(), |test| format!("{:.3}", test.p_value));
        vec![
            row.what.clone(),
            row.arms.to_string(),
            row.draws.to_string(),
            format!("{:.1} / {}", row.fit.statistic, row.fit.freedom),
            format!("{:.3}", row.fit.p_value),
            direct,
            format!("{:.6}", row.identity.mean),
            format!("{:+.2}", row.identity.errors),
            format!("{:.1}", 100.0 * row.arms_within),
        ]
    });
    let headings = [
        "posteriors",
        "variants",
        "draws",
        "chi-square / freedom",
        "p",
        "p against direct draws",
        "mean of 1{a}/p",
        "its distance from 1, s.e.",
        "variants within 3 s.e., %",
    ];
    format!(
        "seed {}; 1{{a}}/p under a floor of 2 %\n{}",
        report.options.seed,
        table(&headings, rows.collect())
    )
}
