//! The one thread that makes commits durable: it drains the queue without lingering, so batches form by themselves while it syncs.
//!
//! Invariant: progress moves past a ticket only after the rows holding it are synced. After a failed write the same files are not asked again: they are
//! opened anew, what they had not made durable is dropped, and what was not durable is written again; all that is unfolded, should durable rows be
//! missing. It asks for little space, since a full disk is the usual cause.

use std::time::Duration;

use super::disk::{Disk, probe};
use super::guarded::let_go;
use super::journal::{Commit, Entry, Group, pack, pack_atomically};
use super::queue::Work;
use super::shared::{RELEASE_MAX, Shared, drop_within};
use crate::store::{StoreError, Ticket};

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Runs until the queue is stopped.
pub(super) fn run(shared: &Shared) {
    // What opening found is durable.
    let sequence = |partition| {
        shared
            .overlay(partition)
            .map_or(0, |overlay| overlay.sequence)
    };
    let mut committer = Committer {
        shared,
        durable: (0..shared.partitions()).map(sequence).collect(),
    };
    while committer.step() {}
}

struct Committer<'a> {
    shared: &'a Shared,
    /// By partition: the sequence up to which everything is durable.
    durable: Vec<u64>,
}

impl Committer<'_> {
    /// One drain of the queue; false when told to leave.
    fn step(&mut self) -> bool {
        let failed = match self.shared.queue.take() {
            Work::Stop => return false,
            Work::Mend => None,
            Work::Write(commits, ticket) => self.commit(commits, ticket).err(),
        };
        if let Some(error) = failed {
            self.shared.fail(error);
        }
        self.shared.failure().is_none() || self.mend()
    }

    fn commit(&mut self, commits: Vec<Commit>, ticket: Ticket) -> Result<(), StoreError> {
        let mut durable = self.durable.clone();
        for commit in &commits {
            if let Some(sequence) = durable.get_mut(usize::from(commit.partition)) {
                *sequence = commit.version;
            }
        }
        let groups = pack(commits, self.shared.next_row());
        write(self.shared, groups, ticket, Shared::mark)?;
        self.durable = durable;
        Ok(())
    }

    /// Tries until the disk is back; false when told to leave instead.
    fn mend(&mut self) -> bool {
        let mut pause = PAUSE_FIRST;
        loop {
            if self.shared.queue.pause(pause) {
                return false;
            }
            match self.reopen().and_then(|next| self.rewrite(next)) {
                Ok(()) => return true,
                Err(error) => self.shared.fail(error),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Opens the files anew; the number of the next journal row.
    fn reopen(&mut self) -> Result<u64, StoreError> {
        let shared = self.shared;
        // As long as this fails the old handle goes on answering reads.
        probe(&shared.options.directory)?;
        let mut slot = shared.disk_slot();
        let generation = shared.counts.next_generation();
        // sled locks its file: the old handle has to be gone before the new one can be.
        if let Some(disk) = slot.take() {
            drop_within(disk, RELEASE_MAX);
        }
        let disk = Disk::open(
            &shared.options.directory,
            shared.options.cache_bytes,
            generation,
        )?;
        let next = match self.trimmed(&disk) {
            Ok(next) => next,
            Err(error) => {
                let_go(disk);
                return Err(error);
            }
        };
        // Under the same hold, so that nobody pairs this opening with the number of another.
        shared.set_next_row(next);
        *slot = Some(disk);
        Ok(next)
    }

    /// Drops what files just opened anew have of rows that were not acknowledged; the number of the next row.
    fn trimmed(&mut self, disk: &Disk) -> Result<u64, StoreError> {
        let shared = self.shared;
        let first = disk.folded()?.map_or(1, |folded| folded.first_row);
        let is_whole = disk.check_journal(first).is_ok();
        // A disk that failed may show what it does not have.
        let behind_last = disk.trim(shared.next_row())?.map_or(1, |last| last + 1);
        let next = behind_last.max(first);
        if next < shared.next_row() || !is_whole {
            // Rows that were durable are gone: everything unfolded is written again.
            self.durable.fill(0);
        }
        Ok(next)
    }

    /// Writes every value that is not durable as one atomic group.
    fn rewrite(&mut self, next: u64) -> Result<(), StoreError> {
        let ticket = self.shared.queue.supersede();
        let mut entries: Vec<Entry> = Vec::new();
        let mut durable = self.durable.clone();
        for (partition, sequence) in (0..).zip(&mut durable) {
            let overlay = self.shared.overlay(partition)?;
            entries.extend(overlay.entries_after(partition, *sequence));
            *sequence = overlay.sequence;
        }
        let group = pack_atomically(entries, next);
        write(self.shared, vec![group], ticket, Shared::mark_durably)?;
        self.durable = durable;
        Ok(())
    }
}

fn write(
    shared: &Shared,
    groups: Vec<Group>,
    ticket: Ticket,
    mark: fn(&Shared, u64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let rows: u64 = groups.iter().map(|group| group.len() as u64).sum();
    let bytes: u64 = groups
        .iter()
        .flatten()
        .map(|row| row.bytes.len() as u64)
        .sum();
    let next = shared.next_row() + rows;
    shared.with_disk(|disk| {
        disk.append(&groups)?;
        shared.sync_journal(disk)
    })?;
    mark(shared, next)?;
    shared.counts.journal_grown(rows, bytes);
    shared.advance(ticket, next);
    Ok(())
}
