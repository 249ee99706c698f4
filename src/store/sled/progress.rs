//! How far commits are durable, and who waits for that.
//!
//! Invariant: who waits is woken once, when there is an answer for them, and not for what others wait for. Of those who wait on one thread only one is
//! woken by the committer, and wakes the others there: waking another thread costs a call of the system, and a thousand callers share one sync.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;

use crate::store::{StoreError, Ticket};

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    waker: Waker,
    /// Where they waited when last asked.
    thread: ThreadId,
}

/// By ticket, and by who came first.
type Waiting = BTreeMap<(u64, u64), Waiter>;

#[derive(Debug, Default)]
struct State {
    /// Every commit up to this ticket is durable.
    durable: u64,
    /// Why writing does not work at present.
    failure: Option<StoreError>,
    waiting: Waiting,
    /// Whom those who were woken are to wake, by the number of who was.
    handed: HashMap<u64, Vec<Waker>>,
    waiters: u64,
}

/// How far the committer is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    is_failing: AtomicBool,
}

/// The answer once a commit is durable, or cannot be made so at present.
pub(super) struct Durable<'a> {
    progress: &'a Progress,
    ticket: Ticket,
    /// Under which number it waits.
    number: Option<u64>,
}

// === impl State ===

impl State {
    /// What is to be said of a ticket by now.
    fn answer(&self, ticket: Ticket) -> Option<Result<(), StoreError>> {
        match &self.failure {
            _ if self.durable >= ticket.0 => Some(Ok(())),
            Some(failure) => Some(Err(failure.clone())),
            None => None,
        }
    }

    /// One of each thread, who will wake the others of theirs.
    fn leaders(&mut self, ready: Waiting) -> Vec<Waker> {
        let mut leaders: Vec<(ThreadId, u64, Waker)> = Vec::new();
        for ((_, number), Waiter { waker, thread }) in ready {
            match leaders.iter().find(|(of, ..)| *of == thread) {
                Some((_, leader, _)) => self.handed.entry(*leader).or_default().push(waker),
                None => leaders.push((thread, number, waker)),
            }
        }
        leaders.into_iter().map(|(.., waker)| waker).collect()
    }
}

// === impl Progress ===

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to the ticket is durable, and any failure is over.
    pub(super) fn advance(&self, ticket: Ticket) {
        let mut state = self.state();
        state.durable = state.durable.max(ticket.0);
        state.failure = None;
        self.is_failing.store(false, Ordering::Release);
        let behind = (state.durable.saturating_add(1), 0);
        let later = state.waiting.split_off(&behind);
        let ready = std::mem::replace(&mut state.waiting, later);
        let leaders = state.leaders(ready);
        drop(state);
        leaders.into_iter().for_each(Waker::wake);
    }

    /// Writing does not work at present.
    pub(super) fn fail(&self, error: StoreError) {
        let mut state = self.state();
        state.failure = Some(error);
        self.is_failing.store(true, Ordering::Release);
        let ready = std::mem::take(&mut state.waiting);
        let leaders = state.leaders(ready);
        drop(state);
        leaders.into_iter().for_each(Waker::wake);
    }

    /// Why writing does not work at present.
    pub(super) fn failure(&self) -> Option<StoreError> {
        if self.is_failing.load(Ordering::Acquire) {
            self.state().failure.clone()
        } else {
            None
        }
    }

    /// What is to be said of a ticket by now, if anything is.
    pub(super) fn answer(&self, ticket: Ticket) -> Option<Result<(), StoreError>> {
        self.state().answer(ticket)
    }

    /// Waits for an answer.
    pub(super) fn durable(&self, ticket: Ticket) -> Durable<'_> {
        Durable {
            progress: self,
            ticket,
            number: None,
        }
    }
}

// === impl Durable ===

impl Durable<'_> {
    /// Waits no longer: whoever else was to be woken by this one.
    fn leave(&mut self, state: &mut State) -> Vec<Waker> {
        let Some(number) = self.number.take() else {
            return Vec::new();
        };
        state.waiting.remove(&(self.ticket.0, number));
        state.handed.remove(&number).unwrap_or_default()
    }
}

impl Future for Durable<'_> {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let progress = self.progress;
        let mut state = progress.state();
        // Woken or asked for another reason: the others must not depend on what becomes of this one.
        let others = self.leave(&mut state);
        let answer = state.answer(self.ticket);
        if answer.is_none() {
            state.waiters += 1;
            let number = state.waiters;
            let waiter = Waiter {
                waker: context.waker().clone(),
                thread: std::thread::current().id(),
            };
            state.waiting.insert((self.ticket.0, number), waiter);
            self.number = Some(number);
        }
        drop(state);
        others.into_iter().for_each(Waker::wake);
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Durable<'_> {
    fn drop(&mut self) {
        if self.number.is_some() {
            let progress = self.progress;
            let others = self.leave(&mut progress.state());
            others.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::task::Wake;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    impl Woken {
        fn times(&self) -> u64 {
            self.0.load(Ordering::Acquire)
        }
    }

    fn poll(durable: &mut Durable<'_>, woken: &Arc<Woken>) -> Poll<Result<(), StoreError>> {
        let waker = Waker::from(Arc::clone(woken));
        Pin::new(durable).poll(&mut Context::from_waker(&waker))
    }

    /// Waiters for these tickets, polled once.
    fn waiting<'a>(progress: &'a Progress, tickets: &[u64]) -> Vec<(Durable<'a>, Arc<Woken>)> {
        tickets
            .iter()
            .map(|ticket| {
                let (mut durable, woken) = (progress.durable(Ticket(*ticket)), Arc::default());
                assert!(poll(&mut durable, &woken).is_pending());
                (durable, woken)
            })
            .collect()
    }

    fn times(waiting: &[(Durable<'_>, Arc<Woken>)]) -> Vec<u64> {
        waiting.iter().map(|(_, woken)| woken.times()).collect()
    }

    #[test]
    fn one_of_a_thread_is_woken_and_wakes_the_others_who_have_an_answer() {
        let progress = Progress::default();
        let mut waiters = waiting(&progress, &[1, 3, 2, 5]);
        progress.advance(Ticket(3));
        assert_eq!(times(&waiters), [1, 0, 0, 0]);
        let (first, woken) = &mut waiters[0];
        assert_eq!(poll(first, woken), Poll::Ready(Ok(())));
        assert_eq!(times(&waiters), [1, 1, 1, 0]);
        progress.advance(Ticket(9));
        assert_eq!(times(&waiters), [1, 1, 1, 1]);
        assert_eq!(progress.answer(Ticket(9)), Some(Ok(())));
        assert_eq!(progress.answer(Ticket(10)), None);
    }

    #[test]
    fn who_goes_away_wakes_the_others_all_the_same_and_leaves_nothing_behind() {
        let progress = Progress::default();
        let mut waiters = waiting(&progress, &[1, 2, 3]);
        progress.advance(Ticket(2));
        waiters.remove(0);
        assert_eq!(times(&waiters), [1, 0]);
        waiters.clear();
        let state = progress.state();
        assert!(state.waiting.is_empty() && state.handed.is_empty());
    }

    #[test]
    fn a_failure_answers_everybody_until_writing_works_again() {
        let progress = Progress::default();
        let mut waiters = waiting(&progress, &[1, 2]);
        let error = StoreError::passing("a test broke the disk");
        progress.fail(error.clone());
        for (durable, woken) in &mut waiters {
            assert_eq!(poll(durable, woken), Poll::Ready(Err(error.clone())));
        }
        assert_eq!(progress.failure(), Some(error));
        // Woken by the failure, and asked when it was over already: waits on.
        let mut late = waiting_after_failure(&progress);
        assert!(poll(&mut late.0, &late.1).is_pending());
        progress.advance(Ticket(4));
        assert_eq!(late.1.times(), 2);
        assert_eq!(poll(&mut late.0, &late.1), Poll::Ready(Ok(())));
        assert_eq!(progress.failure(), None);
    }

    fn waiting_after_failure(progress: &Progress) -> (Durable<'_>, Arc<Woken>) {
        progress.advance(Ticket(2));
        let waiter = waiting(progress, &[4]).remove(0);
        progress.fail(StoreError::passing("again"));
        progress.advance(Ticket(3));
        waiter
    }

    #[test]
    fn those_of_another_thread_are_woken_by_one_of_their_own() {
        let progress = Progress::default();
        let here = waiting(&progress, &[1, 1]);
        let there = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| waiting(&progress, &[1, 1]));
            waiting.join().unwrap()
        });
        progress.advance(Ticket(1));
        assert_eq!((times(&here), times(&there)), (vec![1, 0], vec![1, 0]));
    }
}
