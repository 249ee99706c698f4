//! The decision log: every recorded decision with all it was made of, for as long as the retention says.
//!
//! Invariant: an entry is in the same atomic commit as its touch, and what it names by content was committed before it. Of a person
//! without consent to content nothing is logged. Comparing and estimating are left to the domain.
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::{HashSet, HashSetExt as _};

use crate::domain::content_id::ContentId;

mod erasure;
mod grounds;
mod joined;
mod replay;
mod retention;
mod writing;

pub use joined::Joined;
pub use replay::{ReplaySummary, ReplayTarget, Replayed};
pub(super) use writing::Entry;

/// Names remembered as written; with more of them the memory starts anew, and things are written again.
const WRITTEN_MAX: usize = 200_000;
const DAY_MS: i64 = 86_400_000;
/// The program's version, as entries carry it.
const CODE: &str = env!("CARGO_PKG_VERSION");

/// What the decision log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionLogSettings {
    /// Whether decisions are logged.
    pub enabled: bool,
    /// How long they are kept, milliseconds.
    pub retention_ms: i64,
}

impl Default for DecisionLogSettings {
    /// Everything, for 30 days.
    fn default() -> Self {
        Self {
            enabled: true,
            retention_ms: 30 * DAY_MS,
        }
    }
}

/// Counters of the decision log since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Decisions logged.
    pub written: u64,
    /// Bytes of those, what they rest on included.
    pub written_bytes: u64,
    /// Decisions deleted after their time.
    pub expired: u64,
    /// When the oldest entry was decided as last looked, milliseconds since 1970; none before the first look or when the log is empty.
    pub oldest_at_ms: Option<i64>,
}

/// What the log remembers between decisions.
#[derive(Default)]
pub(super) struct DecisionLog {
    written: Mutex<Written>,
    entries: AtomicU64,
    bytes: AtomicU64,
    expired: AtomicU64,
    oldest_at_ms: AtomicI64,
}

/// Names of what was written for the decisions of one day.
#[derive(Default)]
struct Written {
    day: i32,
    ids: HashSet<ContentId>,
}

// === impl DecisionLog ===

impl DecisionLog {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, day: i32, id: ContentId) -> bool {
        let written = self.written();
        written.day == day && written.ids.contains(&id)
    }

    fn keep(&self, day: i32, id: ContentId) {
        let mut written = self.written();
        if written.day != day || written.ids.len() >= WRITTEN_MAX {
            *written = Written {
                day,
                ids: HashSet::new(),
            };
        }
        written.ids.insert(id);
    }

    /// The counters.
    pub fn statistics(&self) -> LogStatistics {
        let oldest = self.oldest_at_ms.load(Ordering::Relaxed);
        LogStatistics {
            written: self.entries.load(Ordering::Relaxed),
            written_bytes: self.bytes.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            oldest_at_ms: (oldest != 0).then_some(oldest),
        }
    }
}

/// The day of an instant, whose things lie together; days since 1970.
fn day_of(at_ms: i64) -> i32 {
    i32::try_from(at_ms.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}
