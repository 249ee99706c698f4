//! `hermod simulate faults`: histories of calls under faults, and the promises that were broken, as a table or JSON.
//!
//! Parses and prints; histories and promises are the laboratory's. A broken promise makes the exit code 1.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, table};
use crate::lab::simulate::faults::{self, Options, Report};

/// Thousands of histories under failing commits, slow flushes, crashes between any two steps and a jumping clock
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Histories
    #[arg(long, default_value_t = Options::default().histories)]
    histories: u64,
    /// Seed of the first; a history is played again with --seed SEED --histories 1
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Steps of each history
    #[arg(long, default_value_t = Options::default().steps)]
    steps: u64,
    /// Chance that a commit is refused
    #[arg(long, default_value_t = Options::default().refused)]
    refused: f64,
    /// Chance that a conditional commit is told of a conflict that is none
    #[arg(long, default_value_t = Options::default().conflict)]
    conflict: f64,
    /// Chance that a flush fails
    #[arg(long, default_value_t = Options::default().flush_fails)]
    flush_fails: f64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the histories and prints.
///
/// # Errors
/// The options make no history.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        histories: args.histories,
        seed: args.seed,
        steps: args.steps,
        refused: args.refused,
        conflict: args.conflict,
        flush_fails: args.flush_fails,
    };
    let report = faults::run(&options, &Bar::new()).map_err(cli_error)?;
    let shown = args.output.show(&report, &text(&report))?;
    Ok(if report.broken == 0 {
        shown
    } else {
        ExitCode::FAILURE
    })
}

fn text(report: &Report) -> String {
    let row = |what: &str, count: u64| vec![what.to_owned(), count.to_string()];
    let rows = vec![
        row("histories", report.histories),
        row("calls", report.calls),
        row("answered", report.answered),
        row("refused", report.refused),
        row("cut off by a crash", report.cut_off),
        row("crashes", report.crashes),
        row("commits lost in crashes", report.commits_lost),
        row("commits refused", report.commits_refused),
        row("conflicts made up", report.conflicts),
        row("flushes failed", report.flushes_failed),
        row("acknowledged events looked for", report.events_promised),
        row("histories that broke a promise", report.broken),
    ];
    let mut text = format!(
        "{}\ndigest {:016x}\n",
        table(&["what", "count"], rows),
        report.digest
    );
    for violation in &report.violations {
        text.push_str(&format!("seed {}: {}\n", violation.seed, violation.what));
    }
    text
}
