//! Counts acknowledgements, and says when it is time for the next fault.
//!
//! Invariant: a fault falls after a number of acknowledgements that the seed decides, never after a time.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tonic::{Code, Status};

/// What the callers of one campaign count together.
#[derive(Default)]
pub struct Meter {
    until_fault: AtomicI64,
    due: Notify,
    down: AtomicBool,
    violations: Mutex<Vec<String>>,
    /// What was done.
    pub tally: Tally,
}

/// Sums over a whole campaign.
#[derive(Default)]
pub struct Tally {
    /// Acknowledged decisions.
    pub decisions: AtomicU64,
    /// Acknowledged events that counted.
    pub events: AtomicU64,
    /// Acknowledged repetitions of events, answered as duplicates.
    pub duplicates: AtomicU64,
    /// Acknowledged changes of recipients.
    pub updates: AtomicU64,
    /// Acknowledged erasures.
    pub erasures: AtomicU64,
    /// Acknowledged changes of experiments.
    pub changes: AtomicU64,
    /// Calls cut off by a fault and made again.
    pub retried: AtomicU64,
    /// Decisions answered though nothing could be written.
    pub unremembered: AtomicU64,
    /// Decisions answered before a fault and found remembered after it.
    pub remembered: AtomicU64,
    /// Decisions answered before a fault, not remembered, and attributed by their token.
    pub attributed: AtomicU64,
    /// Decisions answered before a fault that neither a record nor an event remembered when their recipient was erased.
    pub lost_unclaimed: AtomicU64,
    /// Calls refused with a status that says to try again.
    pub refused: AtomicU64,
    /// Acknowledged events reported again and answered as duplicates.
    pub confirmed: AtomicU64,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

// === impl Meter ===

impl Meter {
    /// A new life begins; the fault is due after so many acknowledgements.
    pub fn begin(&self, acknowledgements: u64) {
        self.down.store(false, Ordering::SeqCst);
        let until = i64::try_from(acknowledgements).unwrap_or(i64::MAX);
        self.until_fault.store(until, Ordering::SeqCst);
    }

    /// One more acknowledgement.
    pub fn acknowledged(&self, counter: &AtomicU64) {
        count(counter);
        self.step();
    }

    fn step(&self) {
        if self.until_fault.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.due.notify_one();
        }
    }

    /// Waits for the fault to be due.
    pub async fn fault_due(&self) {
        self.due.notified().await;
    }

    /// The server is being taken down: failures of calls are expected from now on.
    pub fn taking_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    /// Whether the server is being taken down.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// Notes that something was lost, doubled or wrong; there is nothing to wait for then, as acknowledgements may never come again.
    pub fn violation(&self, what: String) {
        self.due.notify_one();
        let mut violations = self
            .violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        violations.push(what);
    }

    /// A call failed: fine while the server goes down, a violation otherwise.
    pub fn failed(&self, call: &str, status: &Status) {
        let says_try_again = matches!(
            status.code(),
            Code::Unavailable | Code::ResourceExhausted | Code::Aborted
        );
        if says_try_again && !self.is_down() {
            count(&self.tally.refused);
            self.step();
        }
        if !self.is_down() && !says_try_again {
            self.violation(format!("{call} failed on a running server: {status:?}"));
        }
    }

    /// All that went wrong.
    pub fn violations(&self) -> Vec<String> {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
