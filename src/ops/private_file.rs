//! Small files that only their owner may read: written whole or not at all, never over an existing one, and refused where others may read.
//!
//! The content is on the disk, and so is the directory entry, before [`create`] returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

/// Why a private file is not read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// Others than its owner may read or write it.
    #[error("{} is open to other users (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
}

/// Reads a file that must not be open to others.
///
/// # Errors
/// As listed in [`PrivateFileError`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PrivateFileError> {
    let io_error = |source| PrivateFileError::Io {
        path: path.to_owned(),
        source,
    };
    // The file that is checked is the one that is read, whatever its name points to by then.
    let mut file = File::open(path).map_err(io_error)?;
    if let Some(mode) = exposed_mode(&file.metadata().map_err(io_error)?) {
        return Err(PrivateFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(io_error)?;
    Ok(content)
}

/// Creates `path` with `content`, mode 0600 on Unix, and its directory (0700) where that is missing.
///
/// # Errors
/// `AlreadyExists` if the file is there, and whatever the file system answers.
pub(super) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(directory)?;
    let draft = draft_path(path);
    let written = write_draft(&draft, content).and_then(|()| publish(&draft, path));
    let removed = fs::remove_file(&draft);
    written?;
    // A published file whose draft could not be removed is still a good file.
    let _ = removed;
    sync_directory(directory)
}

/// A name beside the target that no other process uses.
fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.draft", std::process::id()));
    path.with_file_name(name)
}

fn write_draft(draft: &Path, content: &[u8]) -> io::Result<()> {
    // A draft of the same process id is left over from a crash.
    let _ = fs::remove_file(draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Gives the draft its name without replacing a file: a hard link where there are such, otherwise a rename.
fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            fs::rename(draft, path)
        }
        linked => linked,
    }
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// The permission bits of a file that others than its owner may read or write; its group may read it if root owns it, as PostgreSQL has it for
/// its private key: so secrets are mounted into containers.
#[cfg(unix)]
pub(super) fn exposed_mode(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o777;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    (mode & forbidden != 0).then_some(mode)
}

/// Permissions say nothing here.
#[cfg(not(unix))]
pub(super) fn exposed_mode(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
