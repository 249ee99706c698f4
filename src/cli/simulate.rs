//! `hermod simulate`: scenarios with known truth, played in virtual time.
//!
//! One file per scenario, with its flags and its table; the worlds are the laboratory's.
mod alias;
mod best_arm;
mod blast;
mod calibration;
mod chapelle_li;
mod delay;
mod drift;
mod faults;
mod file;
mod forecast;
mod google;
mod guardrail;
mod holdout;
mod lai_robbins;
mod off_policy;
mod planner;
mod proxy;
mod segments;
mod send_time;
mod unknown_zone;
mod value;

use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;

use super::{CliError, print};
use crate::lab::simulate::SCENARIOS;

const EXAMPLES: &str = "Examples:
  hermod simulate --list                       what can be simulated
  hermod simulate blast                        a blast of 20,000 mails, 20 times
  hermod simulate blast --window-hours 24 --seeds 50 --svg blast.svg
  hermod simulate forecast --list-size 20000 --open-rate 0.25 --campaigns-per-week 3
  hermod simulate --file blast.toml            the same from a file: scenario = \"blast\", window-hours = 24, seeds = 50
  hermod simulate --file blast.toml --seed 7 --json -";

/// Play a scenario with known truth in virtual time
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// Play the scenario that a TOML file describes; options of the scenario after it go before those in it
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_names = ["FILE", "OPTIONS"])]
    file: Vec<OsString>,
    #[command(subcommand)]
    scenario: Option<Scenario>,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    Blast(blast::Args),
    Calibration(calibration::Args),
    Delay(delay::Args),
    Drift(drift::Args),
    Forecast(forecast::Args),
    Guardrail(guardrail::Args),
    Holdout(holdout::Args),
    OffPolicy(off_policy::Args),
    Planner(planner::Args),
    BestArm(best_arm::Args),
    Alias(alias::Args),
    LaiRobbins(lai_robbins::Args),
    ChapelleLi(chapelle_li::Args),
    Google(google::Args),
    Proxy(proxy::Args),
    Value(value::Args),
    SendTime(send_time::Args),
    UnknownZone(unknown_zone::Args),
    Segments(segments::Args),
    Faults(faults::Args),
}

/// Plays and prints, or lists what can be played.
///
/// # Errors
/// No scenario was named, or its options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    match (args.scenario, args.file.split_first()) {
        _ if args.list => print(&list()),
        (Some(scenario), _) => scenario.run(),
        (None, Some((path, options))) => file::read(path.as_ref(), options)?.run(),
        (None, None) => Err(CliError::Usage(format!("name a scenario:\n{}", list()))),
    }
}

impl Scenario {
    fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Self::Blast(args) => blast::run(args),
            Self::Calibration(args) => calibration::run(args),
            Self::Delay(args) => delay::run(args),
            Self::Drift(args) => drift::run(args),
            Self::Forecast(args) => forecast::run(args),
            Self::Guardrail(args) => guardrail::run(args),
            Self::Holdout(args) => holdout::run(args),
            Self::OffPolicy(args) => off_policy::run(args),
            Self::Planner(args) => planner::run(args),
            Self::BestArm(args) => best_arm::run(args),
            Self::Alias(args) => alias::run(args),
            Self::LaiRobbins(args) => lai_robbins::run(args),
            Self::ChapelleLi(args) => chapelle_li::run(args),
            Self::Google(args) => google::run(args),
            Self::Proxy(args) => proxy::run(args),
            Self::Value(args) => value::run(args),
            Self::SendTime(args) => send_time::run(args),
            Self::UnknownZone(args) => unknown_zone::run(args),
            Self::Segments(args) => segments::run(args),
            Self::Faults(args) => faults::run(args),
        }
    }
}

fn list() -> String {
    let longest = SCENARIOS.iter().map(|scenario| scenario.name.len()).max();
    let width = longest.unwrap_or(0);
    SCENARIOS.iter().fold(String::new(), |mut text, scenario| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:width$}  {}", scenario.name, scenario.about);
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
