//! The engine on sled 0.34, journal first: a commit is applied to an overlay in memory and appended to a journal; values are folded into
//! the records in the background.
//!
//! Invariant: an acknowledged commit is in the journal or among the records, synced; a restart replays the journal's tail. Measured: appending costs a
//! small fraction of rewriting records, and many commits share one sync. Only this folder names sled.

mod committer;
mod counts;
mod digest;
mod disk;
mod folder;
mod journal;
mod mark;
mod meta;
mod overlay;
mod queue;
mod records;
mod salvage;
mod scan;
mod shared;
mod snapshot;
mod space;

#[cfg(test)]
mod tests;

pub use self::disk::lock as lock_directory;
pub use self::salvage::{Salvaged, salvage};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::counts::Counts;
use self::digest::Digests;
use self::disk::Disk;
use self::journal::Commit;
use self::meta::{Folded, Format};
use self::overlay::{Dirty, Overlay};
use self::shared::{Opened, Shared};
use super::batch::{Effect, Resolved, check_limits, resolve};
use super::{
    Answer, Batch, Engine, EngineStatistics, Merge, Outcome, PARTITIONS_DEFAULT, Partition, Rows,
    Scan, Snapshot, StoreError, Stored, Ticket,
};

/// Where and how large a store on disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SledOptions {
    /// The store's own directory; created if absent.
    pub directory: PathBuf,
    /// Partitions of a store yet to be created, at least 1; an existing one keeps its own number.
    pub partitions: u16,
    /// Page cache of sled, bytes; measured, it takes more than this.
    pub cache_bytes: u64,
    /// Changed values held in memory at most, bytes; beyond it commits are refused until folding has caught up.
    pub overlay_bytes_max: u64,
    /// Changed values, or journal, that start a folding pass before its time, bytes.
    pub fold_after_bytes: u64,
    /// Longest time between two folding passes.
    pub fold_interval: Duration,
    /// Free space of the file system below which commits are refused, bytes; 0 for no such limit.
    pub free_bytes_min: u64,
}

impl SledOptions {
    /// Defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        SledOptions {
            directory: directory.into(),
            partitions: PARTITIONS_DEFAULT,
            cache_bytes: 256 * 1024 * 1024,
            overlay_bytes_max: 512 * 1024 * 1024,
            fold_after_bytes: 64 * 1024 * 1024,
            fold_interval: Duration::from_secs(10),
            free_bytes_min: 0,
        }
    }
}

/// The engine on sled. Dropped without [`Engine::close`] it stops as a killed process would: what was durable is replayed at the next opening.
pub struct SledEngine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SledEngine {
    /// Opens or creates a store and replays its journal. Refuses a directory in use, a damaged store and a newer format, each with what to do.
    pub fn open(options: SledOptions, merge: Arc<dyn Merge>) -> Result<SledEngine, StoreError> {
        let opened = open(&options)?;
        let engine = SledEngine {
            shared: Arc::new(Shared::new(options, merge, opened)),
            threads: Mutex::default(),
        };
        engine.start("store-committer", committer::run)?;
        engine.start("store-folder", folder::run)?;
        Ok(engine)
    }

    fn start(&self, name: &str, run: fn(&Shared)) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(&shared))
            .map_err(|error| {
                StoreError::passing(format!("thread {name} did not start: {error}"))
            })?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }

    fn stop(&self) {
        self.shared.give_up_cut();
        self.shared.queue.stop();
        self.shared.fold_signal.stop();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
            // The committer is the first to go; a folder waiting for what it will no longer write has to be let go.
            self.shared.fail(StoreError::lasting("it was closed"));
        }
        self.shared.release();
    }

    fn apply(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        check_limits(&batch)?;
        self.admit()?;
        let shared = &*self.shared;
        let mut overlay = shared.overlay(partition.0)?;
        let effects = match resolve(partition, batch, &*shared.merge, |key| {
            lookup(shared, &overlay, partition, key)
        })? {
            Resolved::Changed(effects) => effects,
            Resolved::Conflict(key) => {
                shared.counts.conflicted();
                return Ok(Outcome::Conflict { key });
            }
        };
        let version = overlay.sequence + 1;
        let ticket = shared.queue.push(Commit {
            partition: partition.0,
            version,
            effects: effects.clone(),
        })?;
        let mut grown = 0;
        for Effect { key, value } in effects {
            overlay.sequence = version;
            grown += overlay.set(key, Dirty { version, value });
        }
        drop(overlay);
        shared.counts.overlay_grown(grown);
        shared.counts.committed();
        Ok(Outcome::Committed(ticket))
    }

    /// Refuses commits while the disk fails or folding is too far behind.
    fn admit(&self) -> Result<(), StoreError> {
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        self.shared.reserve.check()?;
        let (held, options) = (self.shared.counts.overlay_bytes(), &self.shared.options);
        if held >= options.fold_after_bytes {
            self.shared.fold_signal.ask();
        }
        if held >= options.overlay_bytes_max {
            return Err(StoreError::passing(format!(
                "{held} bytes of changes wait to be folded into the records; slow down"
            )));
        }
        Ok(())
    }

    fn read_now(&self, partition: Partition, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        let overlay = self.shared.overlay(partition.0)?;
        if let Some(dirty) = overlay.dirty.get(key) {
            return Ok(dirty.stored());
        }
        drop(overlay);
        self.shared
            .with_disk(|disk| disk.records.read(partition.0, key))
    }

    async fn close_now(&self) -> Result<(), StoreError> {
        if self.shared.released() {
            return Ok(());
        }
        self.shared.queue.close();
        self.shared.give_up_cut();
        self.flush().await?;
        folder::pass(&self.shared)?;
        self.shared.with_disk(|disk| self.shared.sync(disk))?;
        self.stop();
        Ok(())
    }
}

fn lookup(
    shared: &Shared,
    overlay: &Overlay,
    partition: Partition,
    key: &[u8],
) -> Result<Option<Stored>, StoreError> {
    match overlay.dirty.get(key) {
        Some(dirty) => Ok(dirty.stored()),
        None => shared.with_disk(|disk| disk.records.read(partition.0, key)),
    }
}

fn open(options: &SledOptions) -> Result<Opened, StoreError> {
    let lock = disk::lock(&options.directory)?;
    let disk = Disk::open(&options.directory, options.cache_bytes, 0)?;
    let format = match disk.format()? {
        Some(format) => format,
        None => create(&disk, options)?,
    };
    let folded = disk
        .folded()?
        .unwrap_or_else(|| Folded::nothing(format.partitions));
    let mut overlays: Vec<Overlay> = (0..usize::from(format.partitions))
        .map(|partition| folded.sequences.get(partition).copied().unwrap_or(0))
        .map(|sequence| Overlay {
            sequence,
            folded_sequence: sequence,
            ..Overlay::default()
        })
        .collect();
    let counts = Counts::opened(folded.keys);
    disk.trim()?;
    let next_row = replay(&disk, folded.first_row, &mut overlays, &counts)?;
    mark::compare(&options.directory, next_row)?;
    let digests = added_up(&disk, format.partitions);
    digests.compare(&folded, &options.directory)?;
    Ok(Opened {
        lock,
        disk,
        overlays,
        folded: Folded { digests, ..folded },
        next_row,
        counts,
    })
}

/// What the records come to. Where some cannot be read, whoever asks for them is told; the rest is served.
fn added_up(disk: &Disk, partitions: u16) -> Digests {
    let (digests, unreadable) = disk.records.digests(partitions);
    for error in unreadable {
        tracing::error!(%error, "records cannot be read: hermod check says which, hermod repair takes the others into a new directory");
    }
    digests
}

fn create(disk: &Disk, options: &SledOptions) -> Result<Format, StoreError> {
    let format = Format {
        partitions: options.partitions.max(1),
    };
    disk.set_format(format)?;
    disk.sync()?;
    Ok(format)
}

/// Replays the journal into the overlays; the number of the next row. Every row from `first` on has to be there.
fn replay(
    disk: &Disk,
    first: u64,
    overlays: &mut [Overlay],
    counts: &Counts,
) -> Result<u64, StoreError> {
    let mut next = first;
    let mut before = None;
    let mut group = Vec::new();
    for row in disk.journal() {
        let (number, bytes) = row?;
        counts.journal_grown(1, bytes.len() as u64);
        if number < first {
            // Folded already: a stop came before its removal, which the next pass does.
            continue;
        }
        let (place, stretch) = journal::decode(number, &bytes)?;
        if number != next || !place.follows(before) {
            return Err(StoreError::Corrupt {
                what: format!(
                    "row {next} is missing before row {number}; keep a copy of the directory, then restore the last backup, or take what is left with hermod repair"
                ),
                place: "journal".into(),
            });
        }
        before = Some(place);
        next = number + 1;
        group.extend_from_slice(stretch);
        if place.is_last() {
            replay_group(journal::entries(number, &group)?, overlays, counts)?;
            group.clear();
        }
    }
    Ok(next)
}

fn replay_group(
    entries: Vec<journal::Entry>,
    overlays: &mut [Overlay],
    counts: &Counts,
) -> Result<(), StoreError> {
    let partitions = u16::try_from(overlays.len()).unwrap_or(u16::MAX);
    for entry in entries {
        let partition = entry.partition;
        let overlay =
            overlays
                .get_mut(usize::from(partition))
                .ok_or(StoreError::UnknownPartition {
                    partition,
                    partitions,
                })?;
        counts.overlay_grown(overlay.replay(entry));
    }
    Ok(())
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Engine for SledEngine {
    fn partitions(&self) -> u16 {
        self.shared.partitions()
    }

    fn read<'a>(
        &'a self,
        partition: Partition,
        key: &'a [u8],
    ) -> Answer<'a, Result<Option<Stored>, StoreError>> {
        Answer::ready(self.read_now(partition, key))
    }

    fn commit<'a>(
        &'a self,
        partition: Partition,
        batch: Batch,
    ) -> Answer<'a, Result<Outcome, StoreError>> {
        Answer::ready(self.apply(partition, batch))
    }

    fn scan<'a>(
        &'a self,
        partition: Partition,
        request: Scan,
    ) -> Answer<'a, Result<Rows, StoreError>> {
        Answer::ready(scan::page(&self.shared, partition, &request))
    }

    /// Folds on the calling thread first: call it where blocking does no harm.
    fn snapshot<'a>(&'a self) -> Answer<'a, Result<Snapshot, StoreError>> {
        Answer::ready(snapshot::take(&self.shared))
    }

    fn durable<'a>(&'a self, ticket: Ticket) -> Answer<'a, Result<(), StoreError>> {
        self.shared.durable(ticket.min(self.shared.queue.last()))
    }

    fn flush<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        self.shared.durable(self.shared.queue.last())
    }

    fn health(&self) -> Result<(), StoreError> {
        match self.shared.failure() {
            Some(failure) => Err(failure),
            None => self.shared.reserve.check(),
        }
    }

    fn statistics(&self) -> EngineStatistics {
        let unfolded =
            (0..self.partitions()).filter_map(|partition| self.shared.overlay(partition).ok());
        EngineStatistics {
            unfolded_keys: unfolded.map(|overlay| overlay.dirty.len() as u64).sum(),
            stored_bytes: self.shared.with_disk(|disk| Ok(disk.bytes())).unwrap_or(0),
            ..self.shared.counts.statistics()
        }
    }

    /// Folds on the calling thread: call it last, where blocking does no harm. After an error it may be called again.
    fn close<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        Answer::pending(self.close_now())
    }
}
