//! Moving what has waited long enough to where it counts, in the store: planned trials to their cells, hours of mails to the settled ones.
//!
//! Invariant: the sums in memory have moved by themselves; this keeps the store from collecting slots. A move is one atomic commit.
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use crate::domain::hour_activity::{SETTLED_DAY, is_matured};
use crate::domain::send_plan::hour_of;
use crate::store::records::key;
use crate::store::{Batch, Change, Outcome, Partition, Scan, pace};

use super::{App, AppError};

/// Rows looked at in one pass over a partition, and at a time: most passes find a few whose time has come, and all others behind them.
const ROWS_PER_PASS: usize = 1_000;
const ROWS_PER_PAGE: usize = 64;
/// A planned trial is committed within this time of being worked out, milliseconds, by far.
const COMMIT_MS_MAX: i64 = 3_600_000;
/// Places in hours older than this are forgotten.
const PLACES_KEPT_HOURS: i64 = 48;

/// Until when planned trials have been moved, so that a pass need not walk over those that went.
#[derive(Default)]
pub(super) struct Moved {
    /// When the last whole pass began, milliseconds since 1970; 0 before the first.
    until_ms: AtomicI64,
}

// === impl Moved ===

impl Moved {
    /// The key before which no planned trial is left; none where that is not known.
    fn planned_after(&self, now: Timestamp) -> Option<Vec<u8>> {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        let is_known = until_ms > 0 && until_ms <= now.as_millisecond();
        is_known.then(|| key::planned_from(until_ms.saturating_sub(COMMIT_MS_MAX)))
    }
}

impl App {
    /// Moves everything whose time has come; answers how many rows.
    pub async fn fold(&self) -> Result<usize, AppError> {
        let now = self.now();
        let (after, mut folded, mut is_whole) = (self.moved.planned_after(now), 0, true);
        for partition in (0..self.engine.partitions()).map(Partition) {
            let planned = self.fold_planned(partition, after.clone(), now).await?;
            is_whole &= planned < ROWS_PER_PASS;
            let hours = scan(key::HOURS, None, ROWS_PER_PASS);
            let target = |key: &[u8]| hour_target(key, now);
            let (hours, _) = self.fold_rows(partition, hours, target).await?;
            folded += planned + hours;
            self.forget_passed_places(partition, now).await?;
        }
        if is_whole {
            self.moved
                .until_ms
                .store(now.as_millisecond(), Ordering::Relaxed);
        }
        let today = hour_of(now) - PLACES_KEPT_HOURS;
        for live in self.registry.lives() {
            live.sums().plan.forget_before(today);
        }
        Ok(folded)
    }

    /// Places in hours that have passed are of no use to anybody.
    async fn forget_passed_places(
        &self,
        partition: Partition,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let scan = scan(key::SEND_PLANS, None, ROWS_PER_PASS);
        let has_passed = |key: &[u8]| {
            key::parse::send_plan(key)
                .is_some_and(|(_, _, hour)| hour < hour_of(now) - PLACES_KEPT_HOURS)
        };
        let rows = self.engine.scan(partition, scan).await?;
        let changes: Vec<Change> = rows
            .into_iter()
            .filter(|(key, _)| has_passed(key))
            .map(|(key, _)| Change::Delete {
                key,
                expected: None,
            })
            .collect();
        if !changes.is_empty() {
            self.engine.commit(partition, Batch { changes }).await?;
        }
        Ok(())
    }

    /// Moves the planned trials of a partition whose time has come; they lie by time.
    async fn fold_planned(
        &self,
        partition: Partition,
        mut after: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<usize, AppError> {
        let mut folded = 0;
        while folded < ROWS_PER_PASS {
            let page = scan(key::PLANNED, after, ROWS_PER_PAGE);
            let target = |key: &[u8]| planned_target(key, now);
            let (moved, last) = self.fold_rows(partition, page, target).await?;
            folded += moved;
            let is_due = |key: &Vec<u8>| target(key).is_some();
            if moved == 0 || !last.as_ref().is_some_and(is_due) {
                break;
            }
            after = last;
        }
        Ok(folded)
    }

    /// Moves those rows of a page that have a target; how many, and the last key of a page that was full.
    async fn fold_rows(
        &self,
        partition: Partition,
        scan: Scan,
        target: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(usize, Option<Vec<u8>>), AppError> {
        let limit = scan.limit;
        let rows = self.engine.scan(partition, scan).await?;
        let last = rows.last().filter(|_| rows.len() >= limit);
        let last = last.map(|(key, _)| key.clone());
        let mut folded = 0;
        for (from, stored) in rows {
            pace::breathe();
            let Some(to) = target(&from) else { continue };
            let delete = Change::Delete {
                key: from,
                expected: Some(stored.version),
            };
            let merge = Change::Merge {
                key: to,
                operand: stored.value.to_vec(),
            };
            let batch = Batch {
                changes: vec![delete, merge],
            };
            if let Outcome::Committed(_) = self.engine.commit(partition, batch).await? {
                folded += 1;
            }
        }
        Ok((folded, last))
    }
}

fn scan(prefix: &[u8], after: Option<Vec<u8>>, limit: usize) -> Scan {
    Scan {
        prefix: prefix.to_vec(),
        after,
        limit,
    }
}

/// The cell of a planned trial whose time has come.
fn planned_target(from: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let (until_ms, tenant, id) = key::parse::planned(from)?;
    (until_ms <= now.as_millisecond()).then(|| key::cell(tenant, id))
}

/// The settled hour of mails that have matured.
fn hour_target(from: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let (tenant, day, hour) = key::parse::hour(from)?;
    (day != SETTLED_DAY && is_matured(day, now)).then(|| key::hour(tenant, SETTLED_DAY, hour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::TenantId;

    #[test]
    fn hours_move_once_their_day_has_matured_and_only_once() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let today = crate::domain::hour_activity::day_of(now);
        let key = |day| key::hour(TenantId(1), day, 9);
        assert_eq!(hour_target(&key(today - 4), now), Some(key(SETTLED_DAY)));
        assert_eq!(hour_target(&key(today), now), None);
        assert_eq!(hour_target(&key(SETTLED_DAY), now), None);
    }

    #[test]
    fn a_pass_begins_an_hour_before_the_last_one_and_at_the_beginning_when_the_clock_went_back() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let moved = Moved::default();
        assert_eq!(moved.planned_after(now), None);
        moved
            .until_ms
            .store(now.as_millisecond(), Ordering::Relaxed);
        let from = key::planned_from(now.as_millisecond() - 3_600_000);
        assert_eq!(moved.planned_after(now), Some(from));
        let before = Timestamp::from_second(1_799_999_999).unwrap();
        assert_eq!(moved.planned_after(before), None);
    }
}
