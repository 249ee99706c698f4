//! The engine on sled 0.34, journal first: a commit is applied to an overlay in memory and appended to a journal; values are folded into runs of
//! sorted records in the background. What of the files counts is in rows of sled.
//!
//! Invariant: an acknowledged commit is in the journal or in a run that the store names, synced; a restart replays the journal's tail. Measured:
//! appending costs a small fraction of rewriting records, and many commits share one sync. Only this folder names sled.

mod changed;
mod clean;
mod committer;
mod compactor;
mod counts;
mod digest;
mod disk;
mod earlier;
mod folder;
mod guarded;
mod journal;
mod mark;
mod meta;
mod opening;
mod overlay;
mod presence;
mod progress;
mod queue;
mod renewal;
mod salvage;
mod scan;
mod segments;
mod shared;
mod snapshot;
mod space;
mod warming;

#[cfg(test)]
mod tests;

pub use self::disk::lock as lock_directory;
pub use self::salvage::{Salvaged, salvage};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::journal::Commit;
use self::opening::open;
use self::overlay::{Dirty, Overlay};
use self::shared::Shared;
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
    /// Page cache of sled, which holds the store's own rows, bytes; measured, it takes more than this.
    pub cache_bytes: u64,
    /// Records kept in memory, bytes.
    pub records_bytes: u64,
    /// Changed values held in memory at most, bytes; beyond it commits are refused until folding has caught up.
    pub overlay_bytes_max: u64,
    /// Changed values, or journal, that start a folding pass before its time, bytes.
    pub fold_after_bytes: u64,
    /// Longest time between two folding passes.
    pub fold_interval: Duration,
    /// Free space of the file system below which commits are refused, bytes; 0 for no such limit.
    pub free_bytes_min: u64,
    /// Prefix of keys whose values are read into memory after the opening, as far as half of `records_bytes` reaches; empty for none.
    pub warm_prefix: Vec<u8>,
    /// Prefix of keys that come and go in great number, which are merged into when they are not there yet; empty for none. Which of them are
    /// there is kept in memory, 32 bytes each, so that a new one is not looked for on disk.
    pub passing_prefix: Vec<u8>,
}

impl SledOptions {
    /// Defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        SledOptions {
            directory: directory.into(),
            partitions: PARTITIONS_DEFAULT,
            cache_bytes: 1024 * 1024,
            records_bytes: 224 * 1024 * 1024,
            overlay_bytes_max: 512 * 1024 * 1024,
            fold_after_bytes: 128 * 1024 * 1024,
            fold_interval: Duration::from_secs(10),
            free_bytes_min: 0,
            warm_prefix: Vec::new(),
            passing_prefix: Vec::new(),
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
        engine.start("store-compactor", compactor::run)?;
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

    /// Stops the threads and lets go of the files; `renew` says whether sled's are to be replaced by small ones.
    fn stop(&self, renew: bool) {
        self.shared.queue.stop();
        self.shared.fold_signal.stop();
        self.shared.merge_signal.stop();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
            // The committer is the first to go; a folder waiting for what it will no longer write has to be let go.
            self.shared.fail(StoreError::lasting("it was closed"));
        }
        self.shared.release(renew);
    }

    fn apply(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        check_limits(&batch)?;
        self.admit()?;
        let shared = &*self.shared;
        let mut overlay = shared.overlay(partition.0)?;
        let effects = match resolve(partition, batch, &*shared.merge, |key| {
            lookup(shared, &mut overlay, partition, key)
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
        let mut overlay = self.shared.overlay(partition.0)?;
        if let Some(found) = overlay.find(key) {
            return Ok(found);
        }
        let dropped = overlay.dropped;
        // Not held while the disk is read, which may take a while.
        drop(overlay);
        let found = self.shared.runs.read(partition.0, key)?;
        self.shared
            .overlay(partition.0)?
            .remember(key, dropped, &found);
        Ok(found)
    }

    async fn close_now(&self) -> Result<(), StoreError> {
        if self.shared.released() {
            return Ok(());
        }
        self.shared.queue.close();
        self.flush().await?;
        folder::pass(&self.shared)?;
        self.shared.with_disk(|disk| self.shared.sync(disk))?;
        self.stop(true);
        Ok(())
    }
}

fn lookup(
    shared: &Shared,
    overlay: &mut Overlay,
    partition: Partition,
    key: &[u8],
) -> Result<Option<Stored>, StoreError> {
    match overlay.find(key) {
        Some(found) => Ok(found),
        None => shared.runs.read(partition.0, key),
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        self.stop(false);
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
            keys: self.shared.runs.keys(),
            stored_bytes: self.shared.with_disk(|disk| Ok(disk.bytes())).unwrap_or(0)
                + self.shared.runs.bytes(),
            ..self.shared.counts.statistics()
        }
    }

    /// Folds on the calling thread: call it last, where blocking does no harm. After an error it may be called again.
    fn close<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        Answer::pending(self.close_now())
    }
}
