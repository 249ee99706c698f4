//! `hermod repair`: makes a store that opens out of what a damaged one still gives, and lists what is lost.
//!
//! Invariant: the damaged directory is not touched; sled mends its own files when it opens them, so a copy is read. Exit code 0 when nothing
//! was lost, 1 when something was or nothing could be done.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::backup::failure;
use super::inspect::refuse_missing;
use super::restore::{filled, refuse_occupied};
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{Checked, Checker, Loader};
use crate::ops::compose;
use crate::ops::config::Config;
use crate::store::records::kinds::kind_of;
use crate::store::{Change, Partition, SnapshotRow};

/// Name of the copy inside the new directory, while it is read.
const COPY: &str = "store.damaged-copy";

/// Take what can still be read from a damaged store into a new directory, and list what is lost
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new data directory; it must be empty. It needs room for the store twice
    #[arg(long, short, value_name = "DIRECTORY")]
    output: PathBuf,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

/// What was done.
struct Repaired {
    rows: u64,
    partitions: u16,
    lost: Vec<String>,
    checked: Checked,
}

/// Copies, reads, writes anew and tells.
///
/// # Errors
/// A refused configuration, no store, a directory that is not empty, files that do not open at all.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let config = args.settings.clone().load()?.config;
    refuse_missing(&config)?;
    let mut target = config.clone();
    target.store.path.clone_from(&args.output);
    target.privacy.keys_file = Some(args.output.join("hermod.keys"));
    refuse_occupied(&target)?;
    let copy = args.output.join(COPY);
    let _lock = compose::lock_store(&config).map_err(failure)?;
    copy_directory(&compose::store_path(&config), &copy).map_err(failure)?;
    let repaired = repair(&config, &target, &copy);
    fs::remove_dir_all(&copy).map_err(failure)?;
    let repaired = repaired?;
    tell(&args, &config, &repaired)
}

fn repair(config: &Config, target: &Config, copy: &Path) -> Result<Repaired, CliError> {
    // Once to learn the number of partitions and what is lost, once to write: rows never all lie in memory.
    let mut guess = Guess::default();
    let first = compose::salvage_store(copy, |row| {
        guess.take(&row);
        Ok(())
    })
    .map_err(|error| {
        CliError::Failure(format!(
            "not even the files themselves can be opened: {error}\nThe damaged directory is unchanged. Restore the last backup: hermod restore FILE --data-dir NEW_DIRECTORY"
        ))
    })?;
    let configured = u16::try_from(config.store.partitions).unwrap_or(u16::MAX);
    let partitions = first
        .partitions
        .unwrap_or_else(|| guess.partitions(configured));
    let mut lost = first.lost;
    let (checked, rows) = filled(target, partitions, |engine| {
        let (mut loader, mut checker) = (Loader::new(engine), Checker::new(partitions));
        let mut rows = 0;
        let again = compose::salvage_store(copy, |row| {
            if let Some(change) = kept(&row, partitions, &mut lost) {
                checker.take(&row);
                loader.push(row.partition, change)?;
                rows += 1;
            }
            Ok(())
        });
        again.map_err(failure)?;
        loader.finish().map_err(failure)?;
        Ok((checker.finish(), rows))
    })?;
    Ok(Repaired {
        rows,
        partitions,
        lost,
        checked,
    })
}

/// The change that writes a row anew; what cannot be read as a record is lost.
fn kept(row: &SnapshotRow, partitions: u16, lost: &mut Vec<String>) -> Option<Change> {
    let value = row.stored.value.as_ref();
    let readable = kind_of(value).and_then(|kind| kind.check(value));
    let key: String = row.key.iter().map(|byte| format!("{byte:02x}")).collect();
    let Partition(partition) = row.partition;
    if let Err(error) = readable {
        lost.push(format!("partition {partition} key {key}: {error}"));
        return None;
    }
    if partition >= partitions {
        lost.push(format!(
            "partition {partition} key {key}: there is no such partition"
        ));
        return None;
    }
    Some(Change::Put {
        key: row.key.to_vec(),
        value: value.to_vec(),
        expected: None,
    })
}

/// The number of partitions, from where recipients lie, if the store's own row is lost.
#[derive(Default)]
struct Guess {
    recipients: Vec<(u16, [u8; 16])>,
    highest: u16,
}

impl Guess {
    fn take(&mut self, row: &SnapshotRow) {
        self.highest = self.highest.max(row.partition.0);
        let hash = row.key.get(5..).and_then(|hash| hash.try_into().ok());
        if row.key.first() == Some(&b'r')
            && self.recipients.len() < 10_000
            && let Some(hash) = hash
        {
            self.recipients.push((row.partition.0, hash));
        }
    }

    /// The smallest number that puts every recipient where it lies; the configured one where there are none to tell.
    fn partitions(&self, configured: u16) -> u16 {
        let fits = |count: &u16| {
            self.recipients.iter().all(|(partition, hash)| {
                crate::domain::name::RecipientKey(*hash).partition(*count) == *partition
            })
        };
        if self.recipients.is_empty() {
            return configured.max(self.highest.saturating_add(1));
        }
        (self.highest.saturating_add(1)..=4_096)
            .find(fits)
            .unwrap_or(configured)
    }
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn tell(args: &Args, config: &Config, repaired: &Repaired) -> Result<ExitCode, CliError> {
    let Repaired {
        rows,
        partitions,
        lost,
        checked,
    } = repaired;
    let text = if args.json {
        let page = json!({
            "rows": rows, "partitions": partitions, "lost": lost,
            "records": checked.records, "problems": checked.problems,
        });
        serde_json::to_string_pretty(&page).map_err(failure)? + "\n"
    } else {
        let lines: String = lost.iter().map(|lost| format!("LOST: {lost}\n")).collect();
        format!(
            "{lines}{}{rows} rows written to {} ({partitions} partitions), {} things lost\n{} is unchanged. Put its keys file {} into the new directory before the start.\n",
            super::check::told(checked),
            args.output.display(),
            lost.len(),
            config.store.path.display(),
            config.keys_path().display(),
        )
    };
    print(&text)?;
    Ok(if lost.is_empty() && checked.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
