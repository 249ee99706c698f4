//! The seed of all draws: the configured one, or a random one that is drawn once and kept in the data directory.
//!
//! Keeping it makes decisions repeatable over restarts without anybody having to choose a number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use super::private_file;

const FILE_NAME: &str = "hermod.seed";

/// Why there is no seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The file cannot be read or written.
    #[error("the seed file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The file does not hold one whole number.
    #[error("the seed file {0} does not hold a whole number; restore it, or set decisions.seed")]
    Malformed(PathBuf),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    NoRandomness(String),
}

/// A random seed that is kept nowhere, for a store in memory.
///
/// # Errors
/// [`SeedError::NoRandomness`].
pub fn random() -> Result<u64, SeedError> {
    SysRng
        .try_next_u64()
        .map_err(|error| SeedError::NoRandomness(error.to_string()))
}

/// The seed kept in `data_directory`; at the first call a random one is drawn and kept there.
///
/// # Errors
/// As listed in [`SeedError`].
pub fn load_or_create(data_directory: &Path) -> Result<u64, SeedError> {
    let path = data_directory.join(FILE_NAME);
    if let Some(seed) = load(&path)? {
        return Ok(seed);
    }
    let seed = random()?;
    match private_file::create(&path, format!("{seed}\n").as_bytes()) {
        Ok(()) => Ok(seed),
        // Another process was faster; its seed counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(&path)?.ok_or(SeedError::Malformed(path))
        }
        Err(source) => Err(SeedError::Io { path, source }),
    }
}

fn load(path: &Path) -> Result<Option<u64>, SeedError> {
    match fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| SeedError::Malformed(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SeedError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_seed_is_drawn_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = load_or_create(directory.path()).unwrap();
        assert_eq!(load_or_create(directory.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(load_or_create(other.path()).unwrap(), first);
    }

    #[test]
    fn a_damaged_seed_file_is_refused_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), "12x").unwrap();
        let error = load_or_create(directory.path()).unwrap_err();
        assert!(matches!(error, SeedError::Malformed(_)), "{error}");
    }
}
