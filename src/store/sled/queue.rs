//! Commits on their way to the one committer thread, and the tickets they get.
//!
//! Invariant: tickets ascend in the order in which commits are queued, which within a partition is the order of its sequence. Commits that somebody
//! waits for are written at once, unless many did so for the last ones: those gather for a moment, as all do that nobody waits for, since a sync costs
//! as much for one as for a thousand (`commit_delay` and `commit_siblings` of PostgreSQL).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::journal::Commit;
use crate::store::{StoreError, Ticket};

/// Longest time that commits gather while nobody waits for them.
const GATHERING_MAX: Duration = Duration::from_millis(10);
/// Longest time that commits gather while many wait for theirs.
const SIBLINGS_GATHERING_MAX: Duration = Duration::from_millis(2);
/// How many are many.
const SIBLINGS_MIN: u64 = 8;
/// Bytes that are written without gathering more.
const GATHERED_BYTES_MAX: usize = 256 * 1024;

#[derive(Default)]
struct Waiting {
    commits: Vec<Commit>,
    /// Bytes of their keys and values.
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    last: u64,
    /// The last ticket that somebody waits for.
    wanted: u64,
    /// How many wait for one of these, and how many did for those written last.
    siblings: u64,
    siblings_before: u64,
    closing: bool,
    mending: bool,
    stopped: bool,
}

// === impl Waiting ===

impl Waiting {
    /// How long commits may still gather; nothing when they are to be written now.
    fn gathers_for(&self) -> Option<Duration> {
        if self.closing || self.bytes >= GATHERED_BYTES_MAX {
            return None;
        }
        let gathering_max = match self.is_wanted(self.wanted) {
            false => GATHERING_MAX,
            true if self.siblings_before >= SIBLINGS_MIN => SIBLINGS_GATHERING_MAX,
            true => return None,
        };
        let left = gathering_max.checked_sub(self.since?.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// Whether the commit of a ticket has not been taken yet.
    fn is_wanted(&self, ticket: u64) -> bool {
        let taken = self.last - self.commits.len() as u64;
        ticket > taken
    }

    fn take(&mut self) -> Vec<Commit> {
        self.bytes = 0;
        self.since = None;
        self.siblings_before = std::mem::take(&mut self.siblings);
        std::mem::take(&mut self.commits)
    }
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
        let was_gathering = waiting.bytes < GATHERED_BYTES_MAX;
        waiting.bytes += commit.bytes();
        waiting.commits.push(commit);
        let is_first = waiting.commits.len() == 1;
        if is_first {
            waiting.since = Some(Instant::now());
        }
        if is_first || was_gathering && waiting.bytes >= GATHERED_BYTES_MAX {
            self.signal.notify_all();
        }
        Ok(Ticket(waiting.last))
    }

    /// Somebody waits until this ticket is durable.
    pub(super) fn want(&self, ticket: Ticket) {
        let mut waiting = self.waiting();
        if !waiting.is_wanted(ticket.0) {
            return;
        }
        waiting.wanted = waiting.wanted.max(ticket.0);
        waiting.siblings += 1;
        // For the others it makes no difference, and waking somebody costs more than all of this.
        if waiting.siblings == 1 {
            self.signal.notify_all();
        }
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
            waiting = if waiting.commits.is_empty() {
                let waited = self.signal.wait(waiting);
                waited.unwrap_or_else(PoisonError::into_inner)
            } else if let Some(left) = waiting.gathers_for() {
                let waited = self.signal.wait_timeout(waiting, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let last = Ticket(waiting.last);
                return Work::Write(waiting.take(), last);
            };
        }
    }

    /// Takes everything queued so far away, for a caller who will write the overlays instead; the last ticket among it.
    pub(super) fn supersede(&self) -> Ticket {
        let mut waiting = self.waiting();
        drop(waiting.take());
        waiting.mending = false;
        Ticket(waiting.last)
    }

    /// Ticket of the last commit.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.waiting().last)
    }

    /// Refuses commits from now on, and has those there are written.
    pub(super) fn close(&self) {
        self.waiting().closing = true;
        self.signal.notify_all();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Bytes;
    use crate::store::batch::Effect;

    fn commit(bytes: usize) -> Commit {
        let value = Some(Bytes::from(vec![7; bytes]));
        let key = Bytes::from(b"key".as_slice());
        Commit {
            partition: 0,
            version: 1,
            effects: vec![Effect { key, value }],
        }
    }

    fn gathers(queue: &Queue) -> bool {
        queue.waiting().gathers_for().is_some()
    }

    #[test]
    fn commits_gather_until_somebody_waits_for_one_of_them() {
        let queue = Queue::default();
        let first = queue.push(commit(10)).unwrap();
        let second = queue.push(commit(10)).unwrap();
        assert!(gathers(&queue));
        queue.want(first);
        assert!(!gathers(&queue));
        assert!(
            matches!(queue.take(), Work::Write(commits, last) if commits.len() == 2 && last == second)
        );
        queue.push(commit(10)).unwrap();
        queue.want(second);
        assert!(gathers(&queue), "what was waited for is written");
    }

    #[test]
    fn where_many_waited_for_the_last_commits_the_next_gather_although_somebody_waits() {
        let queue = Queue::default();
        let commits = |count| {
            for _ in 0..count {
                let ticket = queue.push(commit(10)).unwrap();
                queue.want(ticket);
            }
        };
        commits(SIBLINGS_MIN);
        assert!(!gathers(&queue), "nobody waited before");
        assert!(matches!(queue.take(), Work::Write(..)));
        commits(1);
        let left = queue.waiting().gathers_for();
        assert!(left.is_none_or(|left| left <= SIBLINGS_GATHERING_MAX));
        assert!(matches!(queue.take(), Work::Write(commits, _) if commits.len() == 1));
        commits(1);
        assert!(!gathers(&queue), "one waited before");
    }

    #[test]
    fn commits_do_not_gather_for_long_nor_beyond_a_size_nor_while_closing() {
        let queue = Queue::default();
        queue.push(commit(10)).unwrap();
        // Nobody waits for it: taken when its time is over.
        assert!(matches!(queue.take(), Work::Write(commits, _) if commits.len() == 1));
        queue.push(commit(GATHERED_BYTES_MAX)).unwrap();
        assert!(!gathers(&queue));
        assert!(matches!(queue.take(), Work::Write(..)));
        queue.push(commit(10)).unwrap();
        queue.close();
        assert!(!gathers(&queue));
    }
}
