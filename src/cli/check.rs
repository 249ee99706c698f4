//! `hermod check`: whether every row of a store or a backup can be read and fits the others; changes nothing but what opening a store does.
//!
//! Exit code 0 when all is well, 1 when something is wrong or the store does not open.
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::backup::failure;
use super::inspect::refuse_missing;
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{Checked, Checker};
use crate::ops::compose;
use crate::ops::config::Config;
use crate::store::backup::BackupReader;

/// Problems listed for people; machines get all.
const LISTED_MAX: usize = 50;

/// Read every record of a stopped server's store, or of a backup, and say what is wrong
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check this backup instead of the data directory
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    backup: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Checks and tells.
///
/// # Errors
/// A refused configuration, no store, a store in use or one that does not open.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let checked = match &args.backup {
        Some(path) => of_backup(path)?,
        None => {
            let config = args.settings.load()?.config;
            refuse_missing(&config)?;
            of_store(&config)?
        }
    };
    let text = if args.json {
        let page = json!({ "sound": checked.problems.is_empty(), "records": checked.records, "problems": checked.problems });
        serde_json::to_string_pretty(&page).map_err(failure)? + "\n"
    } else {
        told(&checked)
    };
    print(&text)?;
    Ok(if checked.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The store is read as a snapshot, and dropped without closing: looking at it should not rewrite it more than needed.
fn of_store(config: &Config) -> Result<Checked, CliError> {
    let engine = compose::open_engine(config).map_err(|error| {
        CliError::Failure(format!(
            "the store does not open: {error}\nRestore the last backup (hermod restore), or take what can still be read: hermod repair --data-dir {} --output NEW_DIRECTORY",
            config.store.path.display()
        ))
    })?;
    let mut checker = Checker::new(engine.partitions());
    let mut snapshot = engine.snapshot().wait().map_err(failure)?;
    loop {
        match snapshot.rows.next_rows() {
            Ok(rows) if rows.is_empty() => break,
            Ok(rows) => rows.iter().for_each(|row| checker.take(row)),
            Err(error) => {
                checker.note(format!("the rest cannot be read: {error}"));
                break;
            }
        }
    }
    Ok(checker.finish())
}

fn of_backup(path: &Path) -> Result<Checked, CliError> {
    let in_file = |error| CliError::Failure(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| in_file(error.into()))?;
    let mut reader =
        BackupReader::open(BufReader::with_capacity(1 << 20, file)).map_err(in_file)?;
    let mut checker = Checker::new(reader.manifest().partitions);
    while let Some(rows) = reader.next_block().map_err(in_file)? {
        rows.iter().for_each(|row| checker.take(row));
    }
    Ok(checker.finish())
}

pub(super) fn told(checked: &Checked) -> String {
    let mut text: String = checked
        .records
        .iter()
        .map(|(kind, count)| format!("{count:>10}  {kind}\n"))
        .collect();
    for problem in checked.problems.iter().take(LISTED_MAX) {
        text += &format!("WRONG: {problem}\n");
    }
    let more = checked.problems.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        text += &format!("and {more} more; --json lists all\n");
    }
    text + &match checked.problems.len() {
        0 => "every record can be read and fits\n".to_owned(),
        count => format!(
            "{count} problems; a server serves the rest. hermod repair makes a store without them, hermod restore one from before\n"
        ),
    }
}
