//! The one thread that makes commits durable: it drains the queue without lingering, so batches form by themselves while it syncs.
//!
//! Invariant: progress moves past a ticket only after the rows holding it are synced. After a failed write nothing sled still holds is trusted:
//! the files are opened anew and every value not yet folded is written again, so a page the kernel dropped is not missed.

use std::time::Duration;

use super::disk::{Disk, probe};
use super::journal::{Entry, Group, pack, pack_atomically};
use super::queue::Work;
use super::shared::Shared;
use crate::store::{StoreError, Ticket};

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Runs until the queue is stopped.
pub(super) fn run(shared: &Shared) {
    loop {
        let failed = match shared.queue.take() {
            Work::Stop => return,
            Work::Mend => None,
            Work::Write(commits, ticket) => {
                write(shared, pack(commits, shared.next_row()), ticket).err()
            }
        };
        if let Some(error) = failed {
            shared.fail(error);
        }
        if shared.failure().is_some() && !mend(shared) {
            return;
        }
    }
}

fn write(shared: &Shared, groups: Vec<Group>, ticket: Ticket) -> Result<(), StoreError> {
    let rows: u64 = groups.iter().map(|group| group.len() as u64).sum();
    let bytes: u64 = groups
        .iter()
        .flatten()
        .map(|row| row.bytes.len() as u64)
        .sum();
    let next = shared.next_row() + rows;
    shared.with_disk(|disk| {
        for group in groups {
            disk.append(group)?;
        }
        shared.sync(disk)
    })?;
    shared.counts.journal_grown(rows, bytes);
    shared.advance(ticket, next);
    Ok(())
}

/// Tries until the disk is back; false when told to leave instead.
fn mend(shared: &Shared) -> bool {
    let mut pause = PAUSE_FIRST;
    loop {
        if shared.queue.pause(pause) {
            return false;
        }
        match reopen(shared).and_then(|next| rewrite(shared, next)) {
            Ok(()) => return true,
            Err(error) => shared.fail(error),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Opens the files anew; the number of the next journal row.
fn reopen(shared: &Shared) -> Result<u64, StoreError> {
    // As long as this fails the old handle goes on answering reads.
    probe(&shared.options.directory)?;
    let mut slot = shared.disk_slot();
    let generation = shared.counts.next_generation();
    // sled locks its file: the old handle has to be gone before the new one can be.
    *slot = None;
    let disk = Disk::open(
        &shared.options.directory,
        shared.options.cache_bytes,
        generation,
    )?;
    let behind_last = disk.trim()?.map_or(1, |last| last + 1);
    let first = disk.folded()?.map_or(1, |folded| folded.first_row);
    let next = behind_last.max(first);
    // Under the same hold, so that nobody pairs this opening with the number of another.
    shared.set_next_row(next);
    *slot = Some(disk);
    Ok(next)
}

/// Writes every value that is not yet folded as one atomic group.
fn rewrite(shared: &Shared, next: u64) -> Result<(), StoreError> {
    let ticket = shared.queue.supersede();
    let entries: Vec<Entry> = (0..shared.partitions())
        .filter_map(|partition| {
            shared
                .overlay(partition)
                .map(|overlay| overlay.entries(partition))
                .ok()
        })
        .flatten()
        .collect();
    let group = pack_atomically(entries, next);
    write(shared, vec![group], ticket)
}
