//! `hermod simulate`: scenarios with known truth, played in virtual time.
//!
//! One file per scenario, with its flags and its table; the worlds are the laboratory's.
mod blast;

use std::fmt::Write;
use std::process::ExitCode;

use super::{CliError, print};
use crate::lab::simulate::SCENARIOS;

const EXAMPLES: &str = "Examples:
  hermod simulate --list                       what can be simulated
  hermod simulate blast                        a blast of 20,000 mails, 20 times
  hermod simulate blast --window-hours 24 --seeds 50 --json -";

/// Play a scenario with known truth in virtual time
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// List the scenarios
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    scenario: Option<Scenario>,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    Blast(blast::Args),
}

/// Plays and prints, or lists what can be played.
///
/// # Errors
/// No scenario was named, or its options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    match args.scenario {
        _ if args.list => print(&list()),
        Some(Scenario::Blast(args)) => blast::run(args),
        None => Err(CliError::Usage(format!("name a scenario:\n{}", list()))),
    }
}

fn list() -> String {
    SCENARIOS.iter().fold(String::new(), |mut text, scenario| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:10} {}", scenario.name, scenario.about);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Subcommand;

    #[test]
    fn every_scenario_is_listed_and_can_be_called() {
        let command = Scenario::augment_subcommands(clap::Command::new("x"));
        let names: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, SCENARIOS.map(|scenario| scenario.name));
        assert!(list().contains("blast"));
    }
}
