//! `hermod config`: the configuration in effect, as TOML with the origin of each value.
//!
//! Starts nothing and writes nothing, so it is also the check of a new configuration before a restart.

use std::process::ExitCode;

use super::setting::SettingArgs;
use super::{CliError, print};
use crate::ops::config::LoadedConfig;

/// Show the configuration in effect and its origins, or all that is wrong with it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingArgs,
}

/// Loads the configuration and prints it.
///
/// # Errors
/// All problems of the configuration.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    print_effective(&args.settings.load()?)
}

/// Prints a loaded configuration as TOML that reads back to the same values.
pub(super) fn print_effective(loaded: &LoadedConfig) -> Result<ExitCode, CliError> {
    let text = loaded
        .to_toml()
        .map_err(|error| CliError::Failure(error.to_string()))?;
    print(&text)
}
