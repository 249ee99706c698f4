//! `hermod completions`: a completion script for a shell.
//!
//! Generated from the definition of the command line, so it cannot lag behind it.

use std::process::ExitCode;

use clap_complete::{Generator, Shell};

use super::{CliError, command, print};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: CompletedShell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    print(&script(args.shell)?)
}

fn script(shell: CompletedShell) -> Result<String, CliError> {
    let shell = match shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut command = command();
    command.set_bin_name("hermod");
    command.build();
    let mut script = Vec::new();
    let failure = |error: String| CliError::Failure(format!("the script cannot be made: {error}"));
    shell
        .try_generate(&command, &mut script)
        .map_err(|error| failure(error.to_string()))?;
    String::from_utf8(script).map_err(|error| failure(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_subcommands() {
        for shell in [
            CompletedShell::Bash,
            CompletedShell::Zsh,
            CompletedShell::Fish,
        ] {
            let script = script(shell).unwrap();
            for word in ["serve", "config", "completions", "grpc-listen"] {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
        }
    }
}
