//! Writes a small file that only its owner may read: whole or not at all, and never over an existing one.
//!
//! The content is on the disk, and so is the directory entry, before [`create`] returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
