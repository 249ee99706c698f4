//! The shelf: finished backups in a directory, by name, to be read from any offset.
//!
//! Invariant: a file has its final name only once it is whole and durable; what a crash left half-written is removed when the shelf is opened.
//! Names are made of digits, letters and dashes, so none leads out of the directory.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{BackupError, BackupReader, Manifest};

const ENDING: &str = "hermod-backup";
const DRAFT_ENDING: &str = "draft";

/// A directory of backups.
#[derive(Debug, Clone)]
pub struct Shelf {
    directory: PathBuf,
}

/// A backup on the shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Size of its file.
    pub bytes: u64,
}

impl Shelf {
    /// Opens the shelf, which is created once a backup is put there, and clears away what a crash left.
    pub fn open(directory: impl Into<PathBuf>) -> Self {
        let shelf = Shelf {
            directory: directory.into(),
        };
        for path in shelf.files(DRAFT_ENDING) {
            // What cannot be removed now is in nobody's way.
            let _ = fs::remove_file(path);
        }
        shelf
    }

    /// Writes a backup under a name and makes it durable; nothing is there if that fails.
    ///
    /// # Errors
    /// What `write` and the file system answer.
    pub fn put<T>(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        create_private(&self.directory)?;
        let draft = self.path(name, DRAFT_ENDING)?;
        let written = write_draft(&draft, write);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                let _ = fs::remove_file(&draft);
                return Err(error);
            }
        };
        fs::rename(&draft, self.path(name, ENDING)?)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(written)
    }

    /// All backups, the newest first; files that are none are passed over.
    pub fn list(&self) -> Vec<Shelved> {
        let mut found: Vec<Shelved> = self
            .files(ENDING)
            .iter()
            .filter_map(|path| shelved(path).ok())
            .collect();
        found.sort_by(|a, b| {
            let key = |shelved: &Shelved| {
                (
                    shelved.manifest.created_at_ms,
                    shelved.manifest.name.clone(),
                )
            };
            key(b).cmp(&key(a))
        });
        found
    }

    /// One backup; `None` when there is none of this name.
    pub fn get(&self, name: &str) -> Option<Shelved> {
        shelved(&self.path(name, ENDING).ok()?).ok()
    }

    /// The file of a backup, to be read from an offset.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub fn read_from(&self, name: &str, offset: u64) -> Result<File, BackupError> {
        let mut file = File::open(self.path(name, ENDING)?)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }

    /// Removes a backup; whether there was one.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<bool, BackupError> {
        match fs::remove_file(self.path(name, ENDING)?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn path(&self, name: &str, ending: &str) -> Result<PathBuf, BackupError> {
        if is_name(name) {
            Ok(self.directory.join(format!("{name}.{ending}")))
        } else {
            Err(std::io::Error::from(std::io::ErrorKind::NotFound).into())
        }
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|found| found == ending))
            .collect()
    }
}

/// Whether this can be the name of a backup: 1 to 63 letters, digits and dashes.
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn write_draft<T>(
    draft: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut sink = BufWriter::with_capacity(1 << 20, options.open(draft)?);
    let written = write(&mut sink)?;
    let file = sink.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    Ok(written)
}

fn create_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn shelved(path: &Path) -> Result<Shelved, BackupError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let reader = BackupReader::open(BufReader::new(file.take(1 << 20)))?;
    Ok(Shelved {
        manifest: reader.manifest().clone(),
        bytes,
    })
}
