//! Retention: entries, outcomes and what they name are deleted once they are older than the retention.
//!
//! Invariant: what an entry names is kept as long as the entry: both lie by time, and whole days of names go after their last entry.
use std::sync::atomic::Ordering;

use crate::app::{App, AppError, HOME};
use crate::store::records::key;
use crate::store::{Batch, Change, Partition, Rows, Scan, pace};

use super::{LogStatistics, day_of};

/// Rows of one step: few enough that a partition is held for about a millisecond.
const ROWS_PER_STEP: usize = 1_000;
/// Most steps over one partition at a time; the rest is left to the next call.
const STEPS_MAX: usize = 16;

impl App {
    /// Deletes what is older than the retention, in steps; answers how many decisions.
    pub async fn prune_decision_log(&self) -> Result<usize, AppError> {
        let now_ms = self.now().as_millisecond();
        let until_ms = now_ms.saturating_sub(self.settings.decision_log.retention_ms);
        let mut expired = 0;
        let mut oldest: Option<i64> = None;
        let past =
            |key: &[u8]| key::parse::logged(key).is_some_and(|at| at.decided_at_ms < until_ms);
        for partition in (0..self.engine.partitions()).map(Partition) {
            expired += self.prune(partition, key::DECISIONS, past).await?;
            self.prune(partition, key::OUTCOMES, past).await?;
            let first = self.first_of(partition).await?;
            oldest = [oldest, first].into_iter().flatten().min();
        }
        let last_day = day_of(until_ms);
        self.prune(HOME, key::GROUNDS, |key| {
            key::parse::ground_day(key).is_some_and(|day| day < last_day)
        })
        .await?;
        self.log
            .expired
            .fetch_add(expired as u64, Ordering::Relaxed);
        self.log
            .oldest_at_ms
            .store(oldest.unwrap_or(0), Ordering::Relaxed);
        Ok(expired)
    }

    /// Counters of the decision log.
    pub fn log_statistics(&self) -> LogStatistics {
        self.log.statistics()
    }

    /// Deletes rows from the front of a prefix while they are past their time.
    async fn prune(
        &self,
        partition: Partition,
        prefix: &[u8],
        is_past: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, AppError> {
        let mut pruned = 0;
        for _ in 0..STEPS_MAX {
            pace::breathe();
            let rows = self
                .engine
                .scan(partition, step(prefix, None, ROWS_PER_STEP))
                .await?;
            let changes: Vec<Change> = rows
                .into_iter()
                .map(|(key, _)| key)
                .take_while(|key| is_past(key))
                .map(|key| Change::Delete {
                    key,
                    expected: None,
                })
                .collect();
            let count = changes.len();
            if count > 0 {
                self.engine.commit(partition, Batch { changes }).await?;
            }
            pruned += count;
            if count < ROWS_PER_STEP {
                break;
            }
        }
        Ok(pruned)
    }

    async fn first_of(&self, partition: Partition) -> Result<Option<i64>, AppError> {
        let rows = self
            .engine
            .scan(partition, step(key::DECISIONS, None, 1))
            .await?;
        let first = rows.first().and_then(|(key, _)| key::parse::logged(key));
        Ok(first.map(|at| at.decided_at_ms))
    }

    /// One page of a part of the log.
    pub(super) async fn log_page(
        &self,
        partition: Partition,
        prefix: &[u8],
        after: Option<Vec<u8>>,
    ) -> Result<Rows, AppError> {
        Ok(self
            .engine
            .scan(partition, step(prefix, after, ROWS_PER_STEP))
            .await?)
    }
}

fn step(prefix: &[u8], after: Option<Vec<u8>>, limit: usize) -> Scan {
    Scan {
        prefix: prefix.to_vec(),
        after,
        limit,
    }
}
