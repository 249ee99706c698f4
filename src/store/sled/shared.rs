//! What the callers, the committer, the folder and the compactor share: overlays, queue, runs, disk, progress.
//!
//! Invariant: locks are taken in the order folding or merging, folded, partition (several: ascending), queue or disk; the committer holds the disk exclusively
//! only while it holds none other.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use super::SledOptions;
use super::clean::Clean;
use super::counts::Counts;
use super::disk::Disk;
use super::guarded::let_go;
use super::mark::Mark;
use super::meta::{Folded, Format};
use super::overlay::Overlay;
use super::presence::Presence;
use super::progress::Progress;
use super::queue::Queue;
use super::renewal;
use super::space::Reserve;
use crate::store::runs::{List, Run, Runs};
use crate::store::{Answer, Merge, StoreError, Ticket};

/// sled's files are left as they are at a clean stop up to this size, bytes.
const SLED_BYTES_KEPT_MAX: u64 = 32 * 1024 * 1024;
/// Longest wait for sled to let go of its files.
pub(super) const RELEASE_MAX: Duration = Duration::from_secs(5);

/// Wakes a thread early, or for good.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<(bool, bool)>,
    signal: Condvar,
}

impl Signal {
    /// Asks for a pass.
    pub(super) fn ask(&self) {
        self.set(|state| state.0 = true);
    }

    /// Whether it was ended.
    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.set(|state| state.1 = true);
    }

    fn set(&self, change: impl FnOnce(&mut (bool, bool))) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.signal.notify_all();
    }

    /// Waits for the next pass; false when there will be none.
    pub(super) fn wait(&self, interval: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .signal
            .wait_timeout_while(state, interval, |(asked, stopped)| !*asked && !*stopped);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.0 = false;
        !state.1
    }
}

/// The engine's inside.
pub(super) struct Shared {
    pub(super) options: SledOptions,
    pub(super) merge: Arc<dyn Merge>,
    pub(super) queue: Queue,
    pub(super) fold_signal: Signal,
    pub(super) merge_signal: Signal,
    pub(super) runs: Runs,
    pub(super) counts: Counts,
    pub(super) reserve: Reserve,
    overlays: Vec<Mutex<Overlay>>,
    folding: Mutex<()>,
    /// How many wait for `folding`.
    folds_awaited: AtomicUsize,
    merging: Mutex<()>,
    folded: Mutex<Folded>,
    /// Whether writing `folded` failed last, so that what the disk has of it is not known.
    is_folded_uncertain: AtomicBool,
    /// Whether somebody reads a snapshot.
    pub(super) is_being_read: Arc<AtomicBool>,
    next_row: AtomicU64,
    mark: Mark,
    progress: Progress,
    disk: RwLock<Option<Disk>>,
    lock: Mutex<Option<File>>,
    #[cfg(test)]
    pub(super) broken: std::sync::atomic::AtomicBool,
}

/// What opening found.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) disk: Disk,
    pub(super) found: Found,
}

/// What the files said.
pub(super) struct Found {
    pub(super) overlays: Vec<Overlay>,
    pub(super) folded: Folded,
    pub(super) runs: Runs,
    pub(super) next_row: u64,
    pub(super) counts: Counts,
}

impl Shared {
    pub(super) fn new(options: SledOptions, merge: Arc<dyn Merge>, opened: Opened) -> Self {
        let Opened { lock, disk, found } = opened;
        Shared {
            reserve: Reserve::new(&options.directory, options.free_bytes_min),
            mark: Mark::of(&options.directory),
            options,
            merge,
            queue: Queue::default(),
            fold_signal: Signal::default(),
            merge_signal: Signal::default(),
            runs: found.runs,
            counts: found.counts,
            overlays: found.overlays.into_iter().map(Mutex::new).collect(),
            folding: Mutex::new(()),
            folds_awaited: AtomicUsize::new(0),
            merging: Mutex::new(()),
            folded: Mutex::new(found.folded),
            is_folded_uncertain: AtomicBool::new(false),
            is_being_read: Arc::default(),
            next_row: AtomicU64::new(found.next_row),
            progress: Progress::default(),
            disk: RwLock::new(Some(disk)),
            lock: Mutex::new(Some(lock)),
            #[cfg(test)]
            broken: std::sync::atomic::AtomicBool::new(false),
        }
    }

    pub(super) fn partitions(&self) -> u16 {
        u16::try_from(self.overlays.len()).unwrap_or(u16::MAX)
    }

    /// Holds one partition still.
    pub(super) fn overlay(&self, partition: u16) -> Result<MutexGuard<'_, Overlay>, StoreError> {
        let overlay =
            self.overlays
                .get(usize::from(partition))
                .ok_or(StoreError::UnknownPartition {
                    partition,
                    partitions: self.partitions(),
                })?;
        Ok(overlay.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps other folding passes out.
    pub(super) fn folding(&self) -> MutexGuard<'_, ()> {
        self.folds_awaited.fetch_add(1, Ordering::AcqRel);
        let alone = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        self.folds_awaited.fetch_sub(1, Ordering::AcqRel);
        alone
    }

    /// Whether somebody waits for the folding pass that is running.
    pub(super) fn is_fold_awaited(&self) -> bool {
        self.folds_awaited.load(Ordering::Acquire) > 0
    }

    /// Keeps others from merging runs: a second one would put values from before a fold behind what the first has merged with it.
    pub(super) fn merging(&self) -> MutexGuard<'_, ()> {
        self.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes another list of runs count, first on the disk, then for whoever reads. `change` says what is to be stored, and the list.
    ///
    /// With a generation it is refused once sled's files were opened anew since: rows may have got other numbers. Without one only the list may change,
    /// and it is refused while it is not known what the disk has.
    pub(super) fn switch(
        &self,
        generation: Option<u64>,
        change: impl FnOnce(&Folded, &List) -> (Folded, Vec<Arc<Run>>),
    ) -> Result<(), StoreError> {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if generation.is_none() && self.is_folded_uncertain.load(Ordering::Acquire) {
            return Err(StoreError::passing("the disk failed; a fold comes first"));
        }
        let (next, list) = change(&folded, &self.runs.list()?);
        self.with_disk(|disk| {
            if generation.is_some_and(|generation| generation != disk.generation) {
                return Err(StoreError::passing("the disk was reopened while folding"));
            }
            self.is_folded_uncertain.store(true, Ordering::Release);
            disk.set_folded(&next)?;
            self.sync(disk)
        })?;
        self.is_folded_uncertain.store(false, Ordering::Release);
        *folded = next;
        self.runs.replace(list);
        self.merge_signal.ask();
        Ok(())
    }

    /// Works on the disk, if it is open.
    pub(super) fn with_disk<T>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let slot = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(disk) => work(disk),
            None => Err(self
                .failure()
                .unwrap_or_else(|| StoreError::lasting("it was closed"))),
        }
    }

    /// The disk for exclusive use.
    pub(super) fn disk_slot(&self) -> RwLockWriteGuard<'_, Option<Disk>> {
        self.disk.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the files, and replaces sled's where that is asked for and worth it.
    pub(super) fn release(&self, renew: bool) {
        for overlay in &self.overlays {
            // A closed store answers nothing, not even what it remembers.
            let mut overlay = overlay.lock().unwrap_or_else(PoisonError::into_inner);
            overlay.clean = Clean::default();
            overlay.presence = Presence::default();
        }
        self.runs.close();
        let disk = self.disk_slot().take();
        if let Some(disk) = disk {
            let is_large = disk.bytes_of_sled() > SLED_BYTES_KEPT_MAX;
            let is_gone = drop_within(disk, RELEASE_MAX);
            // A pass that the reserve kept from folding has left the journal.
            if renew && is_large && is_gone && self.counts.journal_rows() == 0 {
                self.renew();
            }
        }
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn renew(&self) {
        let format = Format {
            partitions: self.partitions(),
        };
        let folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = renewal::renew(&self.options.directory, format, &folded) {
            // Whatever it left is put in order at the next opening.
            tracing::warn!(%error, "sled's files keep their size");
        }
    }

    /// Whether the files were let go of.
    pub(super) fn released(&self) -> bool {
        self.lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Syncs the store's own rows, counted.
    pub(super) fn sync(&self, disk: &Disk) -> Result<(), StoreError> {
        self.begin_sync()?;
        disk.sync()
    }

    /// Syncs the journal, counted.
    pub(super) fn sync_journal(&self, disk: &Disk) -> Result<(), StoreError> {
        self.begin_sync()?;
        disk.sync_journal()
    }

    fn begin_sync(&self) -> Result<(), StoreError> {
        #[cfg(test)]
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::passing("a test broke the disk"));
        }
        self.counts.flushed();
        Ok(())
    }

    /// Number of the row that the committer will write next; all before it are durable.
    pub(super) fn next_row(&self) -> u64 {
        self.next_row.load(Ordering::Acquire)
    }

    /// Goes on behind the rows found on a disk opened anew.
    pub(super) fn set_next_row(&self, next: u64) {
        self.next_row.store(next, Ordering::Release);
    }

    /// Notes beside the journal how far it is durable.
    pub(super) fn mark(&self, next_row: u64) -> Result<(), StoreError> {
        self.mark.write(next_row)
    }

    /// The same, so that it outlives a power cut: the mark there was may say more, of rows that are gone and were written again under lower numbers.
    pub(super) fn mark_durably(&self, next_row: u64) -> Result<(), StoreError> {
        self.mark.write(next_row)?;
        self.mark.sync()
    }

    /// Everything up to the ticket is durable, and any failure is over.
    pub(super) fn advance(&self, ticket: Ticket, next_row: u64) {
        self.set_next_row(next_row);
        self.progress.advance(ticket);
        if self.counts.journal_bytes() >= self.options.fold_after_bytes {
            self.fold_signal.ask();
        }
    }

    /// Writing does not work at present.
    pub(super) fn fail(&self, error: StoreError) {
        self.progress.fail(error);
    }

    /// Why writing does not work at present.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.progress.failure()
    }

    /// See [`crate::store::Engine::durable`].
    pub(super) fn durable(&self, ticket: Ticket) -> Answer<'_, Result<(), StoreError>> {
        if let Some(answer) = self.progress.answer(ticket) {
            return Answer::ready(answer);
        }
        self.queue.want(ticket);
        Answer::pending(self.progress.durable(ticket))
    }
}

/// Drops sled's handles on a thread of their own and waits for it a while.
///
/// Their drop flushes once more and was seen to wait for ever for a wake-up that never came. Everything is durable by then, so a
/// handle that does not go away by itself may stay until the process ends.
/// Answers whether they are gone.
pub(super) fn drop_within(disk: Disk, limit: Duration) -> bool {
    let (done, waiting) = std::sync::mpsc::channel();
    let releasing = std::thread::Builder::new()
        .name("hermod-release".to_owned())
        .spawn(move || {
            let_go(disk);
            // Nobody waits any more once the limit has passed.
            let _ = done.send(());
        });
    let is_gone = releasing.is_ok() && waiting.recv_timeout(limit).is_ok();
    if !is_gone {
        tracing::warn!(
            "the store's files were not let go of in time; nothing is lost, they are freed when the process ends"
        );
    }
    is_gone
}
