//! Renewal: at a clean stop sled's files, which never shrink by much, are replaced by new ones that hold the store's own rows and nothing else.
//!
//! Invariant: at every moment either the old files or the new ones are whole under their name, or the new ones are whole under the name that
//! [`complete`] gives them the right one from. Only a store whose journal is empty may be renewed.

use std::fs;
use std::path::Path;

use super::disk::{Disk, SLED, sync_whole};
use super::meta::{Folded, Format};
use super::shared::{RELEASE_MAX, drop_within};
use crate::store::StoreError;

const NEW: &str = "sled.new";
const OLD: &str = "sled.old";
const CACHE_BYTES: u64 = 1024 * 1024;

/// Finishes or takes back a renewal that a stop interrupted.
pub(super) fn complete(directory: &Path) -> Result<(), StoreError> {
    let [current, new, old] = [SLED, NEW, OLD].map(|name| directory.join(name));
    let taken = if !current.exists() && new.exists() {
        // The new files were whole before the old ones gave up the name.
        fs::rename(&new, &current)
    } else {
        remove(&new)
    };
    taken
        .and_then(|()| remove(&old))
        .map_err(|error| failed(directory, &error))
}

/// Replaces the files of a store that nobody has open and whose journal is empty.
pub(super) fn renew(directory: &Path, format: Format, folded: &Folded) -> Result<(), StoreError> {
    complete(directory)?;
    let [current, new, old] = [SLED, NEW, OLD].map(|name| directory.join(name));
    let disk = Disk::open_at(directory, NEW, CACHE_BYTES, 0)?;
    disk.set_format(format)?;
    disk.set_folded(folded)?;
    disk.sync()?;
    if !drop_within(disk, RELEASE_MAX) {
        return Err(StoreError::passing("new files of sled are still held"));
    }
    fs::rename(&current, &old)
        .and_then(|()| fs::rename(&new, &current))
        .and_then(|()| sync_whole(directory))
        .and_then(|()| remove(&old))
        .map_err(|error| failed(directory, &error))
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn failed(directory: &Path, error: &std::io::Error) -> StoreError {
    StoreError::of_io(&format!("{} cannot be tidied", directory.display()), error)
}
