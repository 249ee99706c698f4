//! The files of a store beside its runs: the journal's, and those of sled with the store's own rows; what must be synced so that a power cut loses
//! nothing, and what may not be opened.
//!
//! Invariant: after [`Disk::sync`] every row of the store's own written before is on the platter, after [`Disk::sync_journal`] every row of the journal.
//! sled 0.34's own flush stops at the page cache and never syncs the files it keeps large pages in; both were measured to lose data in a power
//! cut. Calls into sled go through [`guarded`].

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::sled::{Db, Mode, Tree};

use super::earlier::{self, Earlier};
use super::guarded::{guarded, let_go};
use super::journal::{Group, Row, decode};
use super::meta::{Folded, Format, META_FOLDED, META_FORMAT};
use super::segments::Segments;
use crate::store::StoreError;

/// sled moves pages over a quarter of this into files of their own. It was chosen when sled had the journal, and cannot be another for the same files.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// The directory of sled's files, in that of the store.
pub(super) const SLED: &str = "sled";
/// Tries to open sled while its threads still hold the file, and the pause between them: two seconds in all.
const OPENINGS_MAX: usize = 200;
const OPENING_PAUSE: Duration = Duration::from_millis(10);
/// Free space that must be there before a failed disk is tried again, bytes.
const PROBE_BYTES: usize = 2 * SEGMENT_BYTES;

/// An open store directory.
pub(super) struct Disk {
    /// Which opening this is, counted by the engine.
    pub(super) generation: u64,
    database: Db,
    /// Rows of the journal from when sled had it, which come before all others; removed as they are folded.
    earlier_journal: Tree,
    meta: Tree,
    journal: Segments,
    file: File,
    blobs: PathBuf,
    synced_blobs: Mutex<HashSet<OsString>>,
}

impl Disk {
    /// Opens or creates the store and makes its directory entries durable.
    pub(super) fn open(
        directory: &Path,
        cache_bytes: u64,
        generation: u64,
    ) -> Result<Disk, StoreError> {
        Disk::open_at(directory, SLED, cache_bytes, generation)
    }

    /// The same, with sled's files under another name.
    pub(super) fn open_at(
        directory: &Path,
        name: &str,
        cache_bytes: u64,
        generation: u64,
    ) -> Result<Disk, StoreError> {
        fs::create_dir_all(directory).map_err(|error| unusable(directory, &error))?;
        let path = directory.join(name);
        let database =
            open_database(&path, cache_bytes).map_err(|error| unopenable(&path, error))?;
        let opened = Disk::over(&database, directory, &path, generation);
        // The last handle goes here if that failed.
        let_go(database);
        opened
    }

    fn over(
        database: &Db,
        directory: &Path,
        path: &Path,
        generation: u64,
    ) -> Result<Disk, StoreError> {
        let tree = |name: &str| {
            guarded(|| database.open_tree(name)).map_err(|error| unopenable(path, error))
        };
        let disk = Disk {
            generation,
            earlier_journal: tree("journal")?,
            meta: tree("meta")?,
            journal: Segments::open(directory)?,
            file: File::open(path.join("db")).map_err(|error| unusable(path, &error))?,
            blobs: path.join("blobs"),
            synced_blobs: Mutex::default(),
            database: database.clone(),
        };
        for part in [directory, path, &path.join("conf"), &disk.blobs] {
            sync_whole(part).map_err(|error| unusable(part, &error))?;
        }
        disk.sync()?;
        Ok(disk)
    }

    /// Makes the store's own rows survive a power cut as they are now.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        guarded(|| self.database.flush())?;
        self.sync_blobs()
            .and_then(|()| self.file.sync_data())
            .map_err(|error| StoreError::of_io("syncing failed", &error))
    }

    fn sync_blobs(&self) -> io::Result<()> {
        let mut synced = self
            .synced_blobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut present = HashSet::new();
        let mut fresh = false;
        for blob in fs::read_dir(&self.blobs)? {
            let blob = blob?;
            if !synced.contains(&blob.file_name()) {
                match sync_whole(&blob.path()) {
                    // sled removes blobs it has replaced at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    result => result?,
                }
                fresh = true;
            }
            present.insert(blob.file_name());
        }
        *synced = present;
        if fresh {
            sync_whole(&self.blobs)
        } else {
            Ok(())
        }
    }

    /// The records of a store from before there were runs, if they are still there.
    pub(super) fn earlier(&self) -> Result<Option<Earlier>, StoreError> {
        earlier::is_there(&self.database)
            .then(|| Earlier::open(&self.database))
            .transpose()
    }

    /// Removes what [`Disk::earlier`] answers.
    pub(super) fn remove_earlier(&self) -> Result<(), StoreError> {
        earlier::remove(&self.database)
    }

    /// Appends whole groups to the journal, in ascending order.
    pub(super) fn append(&self, groups: &[Group]) -> Result<(), StoreError> {
        self.journal.append(groups)
    }

    /// Makes every row of the journal written so far survive a power cut.
    pub(super) fn sync_journal(&self) -> Result<(), StoreError> {
        self.journal.sync()
    }

    /// Has the rows of the journal from now on lie in other files than those before.
    pub(super) fn cut_journal(&self) {
        self.journal.cut();
    }

    /// Refuses a journal of which something that was durable does not read, where any row from `first` on is behind it.
    pub(super) fn check_journal(&self, first: u64) -> Result<(), StoreError> {
        self.journal.check(first)
    }

    /// Every row of the journal, ascending. Of files just opened.
    pub(super) fn journal(&self) -> impl Iterator<Item = Result<Row, StoreError>> {
        let mut rows = self.earlier_journal.iter();
        std::iter::from_fn(move || guarded(|| rows.next().transpose()).transpose())
            .map(|row| {
                let (key, bytes) = row?;
                let number = row_number(&key)?;
                let bytes = bytes.to_vec();
                Ok(Row { number, bytes })
            })
            .chain(self.journal.rows())
    }

    /// Removes the rows at the end whose group was not completed, and those from `below` on, which were never acknowledged; the number of the last
    /// row left. Of files just opened.
    pub(super) fn trim(&self, below: u64) -> Result<Option<u64>, StoreError> {
        self.journal.trim(below)?;
        if let Some(end) = self.journal.end() {
            return Ok(Some(end - 1));
        }
        let mut is_changed = false;
        let last = loop {
            let Some((key, bytes)) = guarded(|| self.earlier_journal.last())? else {
                break None;
            };
            let number = row_number(&key)?;
            if number < below && decode(number, &bytes)?.0.is_last() {
                break Some(number);
            }
            guarded(|| self.earlier_journal.remove(&key))?;
            is_changed = true;
        };
        // Their numbers are used again, by rows that are found beside what is left here.
        if is_changed {
            self.sync()?;
        }
        Ok(last)
    }

    /// Removes rows that lie before `number`, as far as the files allow; how many, and how many bytes of them.
    pub(super) fn remove_rows_before(&self, number: u64) -> Result<(u64, u64), StoreError> {
        let (mut rows, mut bytes) = (0, 0);
        // Ascending, so that what a power cut leaves of the journal is its end.
        while let Some((key, row)) = guarded(|| self.earlier_journal.first())? {
            if key.as_ref() >= number.to_be_bytes().as_slice() {
                break;
            }
            guarded(|| self.earlier_journal.remove(&key))?;
            (rows, bytes) = (rows + 1, bytes + row.len() as u64);
        }
        let (of_files, bytes_of_files) = self.journal.remove_before(number)?;
        Ok((rows + of_files, bytes + bytes_of_files))
    }

    /// The format row; `None` in a new store.
    pub(super) fn format(&self) -> Result<Option<Format>, StoreError> {
        guarded(|| self.meta.get(META_FORMAT))?
            .map(|bytes| Format::decode(&bytes))
            .transpose()
    }

    /// Whether the format row is written as this version writes it.
    pub(super) fn is_format_current(&self) -> Result<bool, StoreError> {
        let row = guarded(|| self.meta.get(META_FORMAT))?;
        Ok(row.is_some_and(|row| Format::is_current(&row)))
    }

    /// Writes the format row.
    pub(super) fn set_format(&self, format: Format) -> Result<(), StoreError> {
        guarded(|| self.meta.insert(META_FORMAT, format.encode())).map(|_| ())
    }

    /// How far the records hold the journal; `None` before the first fold.
    pub(super) fn folded(&self) -> Result<Option<Folded>, StoreError> {
        guarded(|| self.meta.get(META_FOLDED))?
            .map(|bytes| Folded::decode(&bytes))
            .transpose()
    }

    /// Writes how far the records hold the journal.
    pub(super) fn set_folded(&self, folded: &Folded) -> Result<(), StoreError> {
        guarded(|| self.meta.insert(META_FOLDED, folded.encode())).map(|_| ())
    }

    /// Bytes of the files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_of_sled() + self.journal.bytes()
    }

    /// Bytes of sled's files.
    pub(super) fn bytes_of_sled(&self) -> u64 {
        guarded(|| self.database.size_on_disk()).unwrap_or_default()
    }
}

/// Opens sled. Its own threads let go of its file a moment after a handle is dropped; nobody else can hold it, since the directory is locked.
pub(super) fn open_database(path: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    let open = || {
        let config = ::sled::Config::new().path(path).cache_capacity(cache_bytes);
        guarded(|| {
            config
                .segment_size(SEGMENT_BYTES)
                .mode(Mode::HighThroughput)
                .open()
        })
    };
    let held = |result: &Result<Db, StoreError>| matches!(result, Err(StoreError::Unavailable { reason, .. }) if reason.contains("could not acquire lock"));
    let mut opened = open();
    for _ in 0..OPENINGS_MAX {
        if !held(&opened) {
            break;
        }
        std::thread::sleep(OPENING_PAUSE);
        opened = open();
    }
    opened
}

/// Whether the directory takes and syncs new data, tried without touching the store.
pub(super) fn probe(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("probe");
    let tried = fs::write(&path, vec![0xA5; PROBE_BYTES]).and_then(|()| sync_whole(&path));
    let removed = fs::remove_file(&path);
    tried.and(removed).map_err(|error| {
        let doing = format!("{} does not take new data", directory.display());
        StoreError::of_io(&doing, &error)
    })
}

/// Locks the directory against a second opening, until the file is dropped.
///
/// # Errors
/// Another process holds it, or the file system refuses.
pub fn lock(directory: &Path) -> Result<File, StoreError> {
    fs::create_dir_all(directory).map_err(|error| unusable(directory, &error))?;
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| unusable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::lasting(format!(
            "{} is in use by another process: stop it first, or give this one a directory of its own",
            directory.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(unusable(&path, &error)),
    }
}

/// Syncs a file, or the names in a directory.
pub(super) fn sync_whole(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn row_number(key: &[u8]) -> Result<u64, StoreError> {
    key.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| StoreError::Corrupt {
            what: "a row has no number; restore the last backup, or take what is left with hermod repair".into(),
            place: "journal".into(),
        })
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::lasting(format!("{} cannot be used: {error}", path.display()))
}

fn unopenable(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt { what, .. } => StoreError::Corrupt {
            what: format!(
                "the store does not open ({what}); keep a copy of this directory, then restore the last backup into a new one, or take what is left with hermod repair"
            ),
            place: path.display().to_string(),
        },
        other => other,
    }
}
