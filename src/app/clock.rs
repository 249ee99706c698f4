//! The time that the use cases go by: the machine's, or one that a test or simulation moves.
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct VirtualClock {
    microsecond: AtomicI64,
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.microsecond.load(Ordering::Acquire))
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

// === impl VirtualClock ===

impl VirtualClock {
    /// A clock that shows this instant.
    pub fn at(at: Timestamp) -> Self {
        Self {
            microsecond: AtomicI64::new(at.as_microsecond()),
        }
    }

    /// Moves the hands, also backwards.
    pub fn set(&self, at: Timestamp) {
        self.microsecond
            .store(at.as_microsecond(), Ordering::Release);
    }
}
