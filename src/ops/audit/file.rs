//! The file of the audit log: appended to, synced, closed when it has grown, and never left with half a line before a whole one.
//!
//! One thread writes; what waits while a sync runs shares the next one.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use tokio::sync::oneshot;

/// Most entries that share one sync.
const BATCH_MAX: usize = 1_024;

/// When a file is closed, and how many closed ones are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// A file that has grown beyond this is closed and a new one begun.
    pub file_bytes_max: u64,
    /// Closed files that are kept, the youngest with the suffix `.1`.
    pub files_max: u32,
}

/// A line and whoever waits for it to be on the disk.
pub(super) struct Waiting {
    pub line: Vec<u8>,
    pub done: oneshot::Sender<Result<(), String>>,
}

/// The open file.
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    bytes: u64,
}

// === impl LogFile ===

impl LogFile {
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let mut file = open(path)?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 && !ends_in_line_break(&mut file)? {
            // The last line was cut off with the process that wrote it.
            file.write_all(b"\n")?;
            bytes += 1;
        }
        Ok(Self {
            path: path.to_owned(),
            rotation,
            file,
            bytes,
        })
    }

    /// Writes what comes until nobody can send any more.
    pub fn run(mut self, waiting: &mpsc::Receiver<Waiting>) {
        while let Ok(first) = waiting.recv() {
            let more = waiting.try_iter().take(BATCH_MAX - 1);
            let batch: Vec<Waiting> = std::iter::once(first).chain(more).collect();
            let lines: Vec<u8> = batch
                .iter()
                .flat_map(|entry| entry.line.iter().copied())
                .collect();
            let outcome = self.append(&lines).map_err(|error| error.to_string());
            for entry in batch {
                // A caller that went away does not hear of it.
                let _ = entry.done.send(outcome.clone());
            }
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes >= self.rotation.file_bytes_max {
            self.rotate()?;
        }
        let written = self
            .file
            .write_all(lines)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line would spoil the next one.
                let _ = self.file.set_len(self.bytes);
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.rotation.files_max).rev() {
            let from = numbered(number);
            if from.exists() {
                fs::rename(from, numbered(number + 1))?;
            }
        }
        fs::rename(&self.path, numbered(1))?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
        // The name of a new file must survive a power cut as its lines do.
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

fn ends_in_line_break(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATION: Rotation = Rotation {
        file_bytes_max: 10,
        files_max: 2,
    };

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_appended_also_by_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let rotation = Rotation {
            file_bytes_max: 1_000,
            files_max: 1,
        };
        LogFile::open(&path, rotation)
            .unwrap()
            .append(b"one\n")
            .unwrap();
        fs::write(&path, "one\nhalf a li").unwrap();
        LogFile::open(&path, rotation)
            .unwrap()
            .append(b"two\n")
            .unwrap();
        assert_eq!(read(&path), "one\nhalf a li\ntwo\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_grown_file_is_closed_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut file = LogFile::open(&path, ROTATION).unwrap();
        for line in ["first line\n", "second line\n", "third line\n", "4\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "4\n");
        assert_eq!(read(&directory.path().join("audit.log.1")), "third line\n");
        assert_eq!(read(&directory.path().join("audit.log.2")), "second line\n");
        assert!(!directory.path().join("audit.log.3").exists());
    }

    #[test]
    fn everybody_who_waits_hears_of_the_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let file = LogFile::open(&path, ROTATION).unwrap();
        let (sender, receiver) = mpsc::channel();
        let waits: Vec<_> = (0..3)
            .map(|number| {
                let (done, written) = oneshot::channel();
                let line = format!("{number}\n").into_bytes();
                sender.send(Waiting { line, done }).unwrap();
                written
            })
            .collect();
        drop(sender);
        file.run(&receiver);
        for written in waits {
            assert_eq!(written.blocking_recv().unwrap(), Ok(()));
        }
        assert_eq!(read(&path), "0\n1\n2\n");
    }
}
