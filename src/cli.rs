//! The command line: one file per subcommand, each with its `Args` and `run`.
//!
//! Prints results to standard output and each error once, for people, to standard error. Exit codes: 0 done, 1 failed,
//! 2 wrong usage or configuration. A new subcommand is its file, a `mod` line, a variant of `Command` and an arm of its `run`.

mod backup;
mod bench;
mod chart;
mod check;
mod completions;
mod config;
mod evaluate;
mod export;
mod inspect;
mod key;
mod repair;
mod replay;
mod restore;
mod serve;
mod setting;
mod simulate;
mod study;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::ops::config::Problems;

const EXAMPLES: &str = "Examples:
  hermod serve                                   serve on 127.0.0.1:50051, state in ./hermod-data
  hermod serve --config /etc/hermod.toml         serve with a configuration file
  hermod serve --data-dir /var/lib/hermod --set decisions.holdout_share=0.1
  hermod config                                  show the configuration in effect and its origins
  hermod key new --tenant acme --scopes decide,report   an API key, and its entry for the access file
  hermod inspect recipient ann@example.org       what a stopped server's store keeps of a person, and why this hour
  hermod backup --address http://127.0.0.1:50051 --output today.hermod-backup
  hermod restore today.hermod-backup --data-dir /var/lib/hermod
  hermod replay --sample 1000                    logged decisions of a stopped server, made again bit for bit
  hermod evaluate headlines headlines.csv --fast lost clicks on real headline tests
  hermod simulate blast                          a campaign in virtual time
  hermod completions bash > /etc/bash_completion.d/hermod

Every key can also be set in the environment: server.grpc_listen is HERMOD_SERVER__GRPC_LISTEN.";

/// hermod decides, for each e-mail, which variant a recipient gets and when to send it, and learns from what comes back.
#[derive(Debug, Parser)]
#[command(name = "hermod", version, after_help = EXAMPLES, max_term_width = 110)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Config(config::Args),
    Inspect(inspect::Args),
    Key(key::Args),
    Backup(backup::Args),
    Bench(bench::Args),
    Restore(restore::Args),
    Check(check::Args),
    Repair(repair::Args),
    Export(export::ExportArgs),
    Import(export::ImportArgs),
    Replay(replay::Args),
    Evaluate(evaluate::Args),
    Simulate(simulate::Args),
    Completions(completions::Args),
}

/// Why a subcommand did not do its work; the text is printed as it is.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is refused; nothing was started.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The arguments contradict each other or the data.
    #[error("{0}")]
    Usage(String),
    /// The work was started and failed.
    #[error("{0}")]
    Failure(String),
}

/// Runs the command line and returns the exit code. Everything that goes wrong has been printed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to say it to if this fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    cli.command.run().unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "hermod: {error}");
        error.exit_code()
    })
}

// === impl Command ===

impl Command {
    fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Self::Serve(args) => serve::run(args),
            Self::Config(args) => config::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Key(args) => key::run(args),
            Self::Backup(args) => backup::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Restore(args) => restore::run(args),
            Self::Check(args) => check::run(args),
            Self::Repair(args) => repair::run(args),
            Self::Export(args) => export::run_export(args),
            Self::Import(args) => export::run_import(args),
            Self::Replay(args) => replay::run(args),
            Self::Evaluate(args) => evaluate::run(args),
            Self::Simulate(args) => simulate::run(args),
            Self::Completions(args) => completions::run(args),
        }
    }
}

// === impl CliError ===

impl CliError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Failure(_) => ExitCode::FAILURE,
        }
    }
}

/// Writes to standard output. A reader that went away early (`| head`) is no failure.
fn print(text: &str) -> Result<ExitCode, CliError> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Failure(format!("standard output: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The whole command line as clap knows it, for completions.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code, without anything being printed.
    fn code(arguments: &[&str]) -> i32 {
        Cli::try_parse_from(arguments).map_or_else(|error| error.exit_code(), |_| 0)
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn help_says_first_what_hermod_is_and_shows_examples() {
        let help = command().render_long_help().to_string();
        assert!(help.starts_with("hermod decides"), "{help}");
        assert!(help.contains("Examples:"), "{help}");
        for subcommand in command().get_subcommands() {
            assert!(
                subcommand.get_about().is_some(),
                "{} has no help",
                subcommand.get_name()
            );
        }
    }

    #[test]
    fn wrong_usage_exits_with_two_and_help_with_zero() {
        assert_eq!(code(&["hermod", "--help"]), 0);
        assert_eq!(code(&["hermod", "--version"]), 0);
        assert_eq!(code(&["hermod", "serve", "--data-dir", "/x"]), 0);
        assert_eq!(code(&["hermod"]), 2);
        assert_eq!(code(&["hermod", "dance"]), 2);
        assert_eq!(code(&["hermod", "config", "--set", "no-equals-sign"]), 2);
    }

    #[test]
    fn a_refused_configuration_exits_with_two_and_a_failure_with_one() {
        let shown = |code: ExitCode| format!("{code:?}");
        let cli = Cli::try_parse_from(["hermod", "serve", "--set", "store.engine=paper"]).unwrap();
        let refused = cli.command.run().unwrap_err();
        assert!(matches!(refused, CliError::Config(_)), "{refused}");
        assert_eq!(shown(refused.exit_code()), shown(ExitCode::from(2)));
        let failure = CliError::Failure("disk full".into());
        assert_eq!(shown(failure.exit_code()), shown(ExitCode::FAILURE));
    }
}
