//! `hermod restore`: makes a data directory out of a backup.
//!
//! The whole file is verified before anything is written, and the store gets its name only once it is complete, so a restore that breaks
//! off leaves nothing that a server would open.
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::backup::{failure, instant};
use super::setting::SettingArgs;
use super::{CliError, print};
use crate::app::{fingerprint_text, restore};
use crate::ops::compose;
use crate::ops::config::{Config, Engine};
use crate::ops::secrets::{Keys, KeysError};
use crate::store::backup::BackupReader;

/// Restore a backup into an empty data directory
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Verifies, restores, and says what is still needed.
///
/// # Errors
/// A damaged backup, a directory that is not empty, keys of another store, a disk that refuses.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let config = args.settings.load()?.config;
    refuse_occupied(&config)?;
    let in_file = |error: &dyn std::fmt::Display| {
        CliError::Failure(format!("{}: {error}", args.file.display()))
    };
    let open = || {
        let file = File::open(&args.file)?;
        BackupReader::open(BufReader::with_capacity(1 << 20, file))
    };
    let (manifest, totals) = open()
        .and_then(BackupReader::verify)
        .map_err(|error| in_file(&error))?;
    let keys = keys_text(&config, &manifest.recipient_key_fingerprint)?;
    filled(&config, manifest.partitions, |engine| {
        let reader = open().map_err(|error| in_file(&error))?;
        restore(engine, reader, |_| {}).map_err(|error| in_file(&error))?;
        Ok(())
    })?;
    print(&format!(
        "{} records as of {} restored into {} ({} partitions)\n{keys}\nBefore the start: hermod check --data-dir {}\n",
        totals.rows,
        instant(manifest.created_at_ms),
        config.store.path.display(),
        manifest.partitions,
        config.store.path.display(),
    ))
}

/// Fills a new store beside its final place, closes it, and puts it there.
///
/// # Errors
/// What `fill`, the engine and the file system answer.
pub(super) fn filled<T>(
    config: &Config,
    partitions: u16,
    fill: impl FnOnce(&dyn crate::store::Engine) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let (draft, place) = (
        config.store.path.join("store.draft"),
        compose::store_path(config),
    );
    if draft.exists() {
        // A restore that broke off; it was never a store.
        fs::remove_dir_all(&draft).map_err(failure)?;
    }
    create_private(&config.store.path)?;
    let engine = compose::open_store_at(draft.clone(), partitions).map_err(failure)?;
    let done = fill(engine.as_ref())?;
    engine.close().wait().map_err(failure)?;
    drop(engine);
    fs::rename(&draft, &place).map_err(failure)?;
    File::open(&config.store.path)
        .and_then(|directory| directory.sync_all())
        .map_err(failure)?;
    Ok(done)
}

/// Refuses a directory that holds anything but the keys file.
pub(super) fn refuse_occupied(config: &Config) -> Result<(), CliError> {
    let path = &config.store.path;
    if config.store.engine == Engine::Memory {
        return Err(CliError::Usage(
            "the engine in memory keeps nothing; restore into a directory".to_owned(),
        ));
    }
    let Ok(entries) = fs::read_dir(path) else {
        return Ok(());
    };
    let keys = config.keys_path();
    let mut others = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|entry| !is_same(entry, &keys) && !entry.ends_with("store.draft"));
    match others.next() {
        None => Ok(()),
        Some(other) => Err(CliError::Usage(format!(
            "{} is not empty ({} is there): restore into a new directory, which may hold the keys file and nothing else",
            path.display(),
            other.display()
        ))),
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What there is to say of the keys file; refuses one that belongs to another store.
pub(super) fn keys_text(config: &Config, needed: &str) -> Result<String, CliError> {
    let path = config.keys_path();
    match Keys::load(&path) {
        Ok(keys) if fingerprint_text(keys.recipient().expose()) == needed => {
            Ok(format!("The keys file {} belongs to it.", path.display()))
        }
        Ok(_) if needed.is_empty() => Ok("The backup does not say which keys it needs.".to_owned()),
        Ok(keys) => Err(CliError::Failure(format!(
            "the keys file {} is of another store (fingerprint {}, needed {needed}): put the original keys file there, or set privacy.keys_file",
            path.display(),
            fingerprint_text(keys.recipient().expose()),
        ))),
        Err(KeysError::Missing(_)) => Ok(format!(
            "The keys file is NOT part of a backup: put the original one (fingerprint {needed}) at {} before the start. Without it no recipient is found again, and the server refuses to start.",
            path.display()
        )),
        Err(error) => Err(failure(error)),
    }
}

fn create_private(directory: &Path) -> Result<(), CliError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(directory)
        .map_err(|error| CliError::Failure(format!("{}: {error}", directory.display())))
}
