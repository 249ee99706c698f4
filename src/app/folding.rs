//! Moving what has waited long enough to where it counts, in the store: planned trials to their cells, hours of mails to the settled ones.
//!
//! Invariant: the sums in memory have moved by themselves; this keeps the store from collecting slots. A move is one atomic commit.
use jiff::Timestamp;

use crate::domain::hour_activity::{SETTLED_DAY, is_matured};
use crate::domain::send_plan::hour_of;
use crate::store::records::key;
use crate::store::{Batch, Change, Outcome, Partition, Scan};

use super::{App, AppError};

/// Rows looked at in one pass over a partition.
const ROWS_PER_PASS: usize = 1_000;
/// Places in hours older than this are forgotten.
const PLACES_KEPT_HOURS: i64 = 48;

impl App {
    /// Moves everything whose time has come; answers how many rows.
    pub async fn fold(&self) -> Result<usize, AppError> {
        let now = self.now();
        let mut folded = 0;
        for partition in (0..self.engine.partitions()).map(Partition) {
            folded += self
                .fold_rows(partition, key::PLANNED, |key| planned_target(key, now))
                .await?;
            folded += self
                .fold_rows(partition, key::HOURS, |key| hour_target(key, now))
                .await?;
            self.forget_passed_places(partition, now).await?;
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
        let scan = Scan {
            prefix: key::SEND_PLANS.to_vec(),
            after: None,
            limit: ROWS_PER_PASS,
        };
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

    async fn fold_rows(
        &self,
        partition: Partition,
        prefix: &[u8],
        target: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<usize, AppError> {
        let scan = Scan {
            prefix: prefix.to_vec(),
            after: None,
            limit: ROWS_PER_PASS,
        };
        let mut folded = 0;
        for (from, stored) in self.engine.scan(partition, scan).await? {
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
        Ok(folded)
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
}
