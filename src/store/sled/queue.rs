//! Commits on their way to the one committer thread, and the tickets they get.
//!
//! Invariant: tickets ascend in the order in which commits are queued, which within a partition is the order of its sequence.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::journal::Commit;
use crate::store::{StoreError, Ticket};

#[derive(Default)]
struct Waiting {
    commits: Vec<Commit>,
    last: u64,
    closing: bool,
    mending: bool,
    stopped: bool,
}

/// What the committer is to do next.
pub(super) enum Work {
    /// Write these; the ticket is the last one among them.
    Write(Vec<Commit>, Ticket),
    /// Something else found the disk failing.
    Mend,
    /// Leave at once.
    Stop,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    signal: Condvar,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a commit; refused once the store is closing. A commit without effects gets the last ticket: it may rest on what it read.
    pub(super) fn push(&self, commit: Commit) -> Result<Ticket, StoreError> {
        let mut waiting = self.waiting();
        if waiting.closing {
            return Err(StoreError::lasting("it was closed"));
        }
        if commit.effects.is_empty() {
            return Ok(Ticket(waiting.last));
        }
        waiting.last += 1;
        waiting.commits.push(commit);
        if waiting.commits.len() == 1 {
            self.signal.notify_all();
        }
        Ok(Ticket(waiting.last))
    }

    /// Waits for work, and takes all there is.
    pub(super) fn take(&self) -> Work {
        let mut waiting = self.waiting();
        loop {
            if waiting.stopped {
                return Work::Stop;
            }
            if std::mem::take(&mut waiting.mending) {
                return Work::Mend;
            }
            if !waiting.commits.is_empty() {
                return Work::Write(std::mem::take(&mut waiting.commits), Ticket(waiting.last));
            }
            waiting = self
                .signal
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes everything queued so far away, for a caller who will write the overlays instead; the last ticket among it.
    pub(super) fn supersede(&self) -> Ticket {
        let mut waiting = self.waiting();
        waiting.commits.clear();
        waiting.mending = false;
        Ticket(waiting.last)
    }

    /// Ticket of the last commit.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.waiting().last)
    }

    /// Refuses commits from now on.
    pub(super) fn close(&self) {
        self.waiting().closing = true;
    }

    /// Asks the committer to mend the disk.
    pub(super) fn mend(&self) {
        self.waiting().mending = true;
        self.signal.notify_all();
    }

    /// Tells the committer to leave without writing more.
    pub(super) fn stop(&self) {
        let mut waiting = self.waiting();
        waiting.closing = true;
        waiting.stopped = true;
        self.signal.notify_all();
    }

    /// Waits out a pause between tries; whether the committer is to leave.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let waiting = self.waiting();
        let waited = self
            .signal
            .wait_timeout_while(waiting, pause, |waiting| !waiting.stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }
}
