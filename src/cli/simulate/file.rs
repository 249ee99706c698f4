//! Scenarios by file: a TOML table that names the scenario and its options as the command line does.
//!
//! Invariant: every bad key is named at once, with what is wrong with it. What the options mean is left to the scenarios.
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgAction, FromArgMatches, Subcommand};
use toml::{Table, Value};

use super::Scenario;
use crate::cli::CliError;
use crate::lab::simulate::SCENARIOS;

/// The key that names the scenario.
const NAME: &str = "scenario";

/// Reads a scenario; options given beside the file replace those in it.
///
/// # Errors
/// The file cannot be read, is no TOML, or keys in it are unknown or bad: all of these are named.
pub fn read(path: &Path, options: &[OsString]) -> Result<Scenario, CliError> {
    let file = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| CliError::Usage(format!("{file}: {error}")))?;
    parse(&text, options).map_err(|problems| CliError::Usage(format!("{file}: {problems}")))
}

fn parse(text: &str, options: &[OsString]) -> Result<Scenario, String> {
    let table: Table = text.parse().map_err(|error| format!("{error}"))?;
    let all = Scenario::augment_subcommands(clap::Command::new("simulate")).no_binary_name(true);
    let scenario = named(&table, &all)?;
    let given = BTreeMap::from_iter(options.iter().filter_map(long));
    let mut problems = Vec::new();
    let mut line: Vec<OsString> = vec![scenario.get_name().into()];
    let mut seen: Vec<String> = Vec::new();
    for (key, value) in table.iter().filter(|(key, _)| *key != NAME) {
        // Both spellings are customary; only one of them at a time.
        let name = key.replace('_', "-");
        let words = if seen.contains(&name) {
            Err("is given twice".to_owned())
        } else {
            words(scenario, &name, value)
        };
        seen.push(name.clone());
        match words {
            Ok(_) if given.contains_key(&name) => {}
            Ok(words) => line.extend(words.into_iter().map(OsString::from)),
            Err(problem) => problems.push(format!("{key}: {problem}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("\n  "));
    }
    line.extend(options.iter().cloned());
    let matches = all.try_get_matches_from(line);
    matches
        .and_then(|matches| Scenario::from_arg_matches(&matches))
        .map_err(|error| said(&error))
}

/// The scenario that the file names.
fn named<'a>(table: &Table, all: &'a clap::Command) -> Result<&'a clap::Command, String> {
    let known = SCENARIOS.map(|scenario| scenario.name).join(", ");
    match table.get(NAME) {
        Some(Value::String(name)) => all
            .find_subcommand(name)
            .ok_or_else(|| format!("{NAME}: there is no {name}; there are {known}")),
        Some(_) => Err(format!("{NAME}: must be one of the words {known}")),
        None => Err(format!("{NAME}: is missing; one of {known}")),
    }
}

/// The name of an option on the command line.
fn long(word: &OsString) -> Option<(String, ())> {
    let name = word.to_str()?.strip_prefix("--")?;
    Some((name.split('=').next()?.to_owned(), ()))
}

/// A key with its value as the command line has them, or what is wrong with it.
fn words(scenario: &clap::Command, name: &str, value: &Value) -> Result<Vec<String>, String> {
    let option = scenario
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name) && name != "help")
        .ok_or_else(|| {
            let longs = scenario.get_arguments().filter_map(clap::Arg::get_long);
            let known: Vec<&str> = longs.filter(|long| *long != "help").collect();
            format!(
                "no option of {}; it has {}",
                scenario.get_name(),
                known.join(", ")
            )
        })?;
    let words = match (option.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(true)) => vec![format!("--{name}")],
        (ArgAction::SetTrue, Value::Boolean(false)) => Vec::new(),
        (ArgAction::SetTrue, _) => return Err("must be true or false".to_owned()),
        (ArgAction::Append, Value::Array(values)) => {
            let values: Option<Vec<String>> = values.iter().map(text).collect();
            let values = values.ok_or("must be a list of numbers or words")?;
            values
                .iter()
                .map(|value| format!("--{name}={value}"))
                .collect()
        }
        (_, value) => {
            let value = text(value).ok_or("must be a number or a word")?;
            vec![format!("--{name}={value}")]
        }
    };
    // Alone, so that every bad value is found; what else the scenario requires does not matter here.
    match scenario
        .clone()
        .no_binary_name(true)
        .try_get_matches_from(&words)
    {
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Err(said(&error)),
        _ => Ok(words),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(instant) => Some(instant.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

/// The first line of what clap says.
fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(text: &str, options: &[&str]) -> Result<String, String> {
        let options: Vec<OsString> = options.iter().map(OsString::from).collect();
        parse(text, &options).map(|scenario| format!("{scenario:?}"))
    }

    #[test]
    fn a_file_says_what_the_command_line_says() {
        let from_file = played(
            "scenario = \"blast\"\nseeds = 3\nrates = [0.1, 0.25]\nwindow_hours = 24\njson = \"-\"",
            &[],
        );
        let from_line = played(
            "scenario = \"blast\"",
            &[
                "--seeds=3",
                "--rates",
                "0.1,0.25",
                "--window-hours",
                "24",
                "--json",
                "-",
            ],
        );
        assert_eq!(from_file, from_line);
        assert!(from_file.unwrap().contains("seeds: 3"));
    }

    #[test]
    fn options_beside_the_file_replace_those_in_it() {
        let text = "scenario = \"blast\"\nseeds = 3\nrates = [0.1, 0.25]";
        let played = played(text, &["--seeds", "5", "--rates=0.2,0.3"]).unwrap();
        assert!(
            played.contains("seeds: 5") && played.contains("rates: [0.2, 0.3]"),
            "{played}"
        );
    }

    #[test]
    fn every_bad_key_is_named_at_once() {
        let text = "scenario = \"blast\"\nseeds = \"many\"\ncolour = 1\nrates = [[1]]\nseed = -1\n\
                    window-hours = 2\nwindow_hours = 3\nhelp = true\nrecipients = 10";
        let problems = played(text, &[]).unwrap_err();
        for bad in [
            "seeds: invalid value 'many'",
            "colour: no option of blast",
            "rates: must be a list",
            "seed: ",
            "is given twice",
            "help: no option",
        ] {
            assert!(problems.contains(bad), "{bad} is not in {problems}");
        }
        assert!(!problems.contains("recipients:"), "{problems}");
    }

    #[test]
    fn a_file_must_name_a_scenario_that_there_is() {
        for (text, problem) in [
            ("", "scenario: is missing"),
            ("scenario = 1", "scenario: must be one of"),
            ("scenario = \"blst\"", "there is no blst; there are blast"),
            ("scenario = ", "TOML parse error"),
        ] {
            let problems = played(text, &[]).unwrap_err();
            assert!(problems.contains(problem), "{problem} is not in {problems}");
        }
        let refused = read(Path::new("/nowhere.toml"), &[])
            .unwrap_err()
            .to_string();
        assert!(refused.contains("/nowhere.toml"), "{refused}");
    }
}
