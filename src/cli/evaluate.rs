//! `hermod evaluate`: what hermod gains on real data, against the simple rules anybody could run instead.
//!
//! One file per kind of data. The files stay where they are; nothing of them is stored.
mod activity;
mod headlines;
mod log;

use std::process::ExitCode;

use super::CliError;

const EXAMPLES: &str = "Examples:
  hermod evaluate headlines headlines.csv --fast          every test, 20 seeds, from the snapshots that answer
  hermod evaluate headlines headlines.csv                 200 tests, every mail decided and every click reported
  hermod evaluate activity activity.csv.gz                the hour of newcomers after 3, 10, 30 and 100 events
  hermod evaluate log bandit_log.csv.gz --policy uniform  another policy on a log with propensities
  hermod evaluate log --experiment spring-sale --policy uniform,variant:plain

docs/evaluation.md says what is measured, how, and what came out.";

/// Measure on real data what hermod gains against simple rules
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    data: Data,
}

#[derive(Debug, clap::Subcommand)]
enum Data {
    Activity(activity::Args),
    Headlines(headlines::Args),
    Log(Box<log::Args>),
}

/// Measures and prints.
///
/// # Errors
/// The data cannot be read or used.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.data {
        Data::Activity(args) => activity::run(args),
        Data::Headlines(args) => headlines::run(args),
        Data::Log(args) => log::run(*args),
    }
}
