//! Batches take turns, in the order in which they came, and pause between their items, so that small calls are answered beside them.
//!
//! Invariant: the items of all batches under way are bounded, so that what was taken on is finished in a time that callers wait for; work whose
//! caller has gone or whose deadline has passed is dropped at its next turn, and costs nothing while it waits for its first.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{App, AppError, Kind};

/// Items that are worked on before others get their turn.
const ITEMS_PER_TURN: usize = 32;
/// Items under way at one time per core: about a second's work.
const ITEMS_PER_CORE: usize = 50_000;
/// When to come back: much of what is under way is done by then.
const RETRY_AFTER: Duration = Duration::from_millis(500);

thread_local! {
    /// Batches that come on one thread are worked on one after the other: together they would take as long, and each of them longer. A call
    /// stays on the thread of its connection, so turns that all threads shared would be taken by one of them while another has nothing to do.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// The batches under way.
#[derive(Debug)]
pub(super) struct Batches {
    items: AtomicUsize,
    items_max: usize,
}

/// A batch that was taken on, for as long as this lives.
#[derive(Debug)]
pub struct TakenOn<'a> {
    batches: &'a Batches,
    items: usize,
}

impl Default for Batches {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores.saturating_mul(ITEMS_PER_CORE))
    }
}

// === impl Batches ===

impl Batches {
    fn new(items_max: usize) -> Self {
        Self {
            items: AtomicUsize::new(0),
            items_max,
        }
    }

    fn take_on(&self, items: usize) -> Result<TakenOn<'_>, AppError> {
        let before = self.items.fetch_add(items, Ordering::Relaxed);
        let taken_on = TakenOn {
            batches: self,
            items,
        };
        // A batch alone is taken on whatever its size.
        if before > 0 && before.saturating_add(items) > self.items_max {
            metrics::counter!("hermod_requests_shed_total").increment(1);
            let message = "too many items of batches are under way; try again after a short wait";
            return Err(AppError {
                retry_after: Some(RETRY_AFTER),
                ..AppError::new(Kind::ResourceExhausted, "OVERLOADED", message)
            });
        }
        Ok(taken_on)
    }
}

impl Drop for TakenOn<'_> {
    fn drop(&mut self) {
        self.batches.items.fetch_sub(self.items, Ordering::Relaxed);
    }
}

// === impl App ===

impl App {
    /// Takes a batch on.
    ///
    /// # Errors
    /// `OVERLOADED` while the items of those under way are as many as there may be.
    pub fn take_on(&self, items: usize) -> Result<TakenOn<'_>, AppError> {
        self.batches.take_on(items)
    }

    /// Waits for the turn of a batch; it lasts until what this answers is dropped. A few items need none.
    pub async fn turn(&self, items: usize) -> Option<OwnedSemaphorePermit> {
        turn(items).await
    }
}

async fn turn(items: usize) -> Option<OwnedSemaphorePermit> {
    if items < ITEMS_PER_TURN {
        return None;
    }
    // Nobody closes the semaphore.
    TURN.with(Arc::clone).acquire_owned().await.ok()
}

/// Lets others have their turn before every 32nd item; `at` counts from 0.
pub async fn take_turns(at: usize) {
    if at % ITEMS_PER_TURN == ITEMS_PER_TURN - 1 {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn every_32nd_item_lets_others_have_their_turn() {
        let pauses = (0..128).filter(|at| take_turns(*at).now_or_never().is_none());
        assert_eq!(pauses.count(), 4);
    }

    #[test]
    fn batches_of_a_thread_come_one_after_the_other_and_small_ones_do_not_wait() {
        let first = turn(32).now_or_never().unwrap();
        assert!(first.is_some());
        let mut second = Box::pin(turn(32));
        assert!((&mut second).now_or_never().is_none());
        assert!(turn(31).now_or_never().unwrap().is_none());
        let elsewhere = std::thread::spawn(|| turn(32).now_or_never().flatten().is_some());
        assert!(
            elsewhere.join().unwrap(),
            "another thread has its own turns"
        );
        drop(first);
        assert!(second.now_or_never().unwrap().is_some());
    }

    #[test]
    fn items_under_way_are_bounded_and_a_refused_batch_leaves_no_trace() {
        let batches = Batches::new(100);
        let alone = batches.take_on(1_000).unwrap();
        let refused = batches.take_on(1).unwrap_err();
        assert_eq!(refused.reason, "OVERLOADED");
        assert_eq!(refused.retry_after, Some(RETRY_AFTER));
        drop(alone);
        let most = [batches.take_on(60).unwrap(), batches.take_on(40).unwrap()];
        assert!(batches.take_on(1).is_err());
        drop(most);
        assert_eq!(batches.items.load(Ordering::Relaxed), 0);
    }
}
