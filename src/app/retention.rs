//! Cleaning what is past its time: recipients without activity, touches, marks of erasures; a bounded number of records per run.
//!
//! Invariant: a run goes on where the last one stopped, and one pass over all records begins at most once a day. What was counted stays
//! in the sums; only an erasure takes it out. What goes when is left to the domain.
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::name::TenantId;
use crate::domain::recipient::Recipient;
use crate::domain::retention::{Fate, RetentionRules};
use crate::store::records::{self, RecipientCount, key};
use crate::store::{Batch, Change, Outcome, Partition, Scan, Stored, pace};

use super::{App, AppError};

/// Records looked at in one run.
const ROWS_PER_RUN: usize = 5_000;
/// Shortest time from the begin of one pass to the next, milliseconds.
const PASS_INTERVAL_MS: i64 = 24 * 3_600_000;
const DAY_MS: i64 = 24 * 3_600_000;

/// How long people are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// How long a record is kept after the last decision, event or update, milliseconds.
    pub recipient_kept_ms: i64,
}

impl Default for RetentionSettings {
    /// Thirteen months.
    fn default() -> Self {
        Self {
            recipient_kept_ms: 395 * DAY_MS,
        }
    }
}

/// What was cleaned since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionStatistics {
    /// Records of recipients that went.
    pub recipients: u64,
    /// Records reduced to what the person forbade.
    pub reduced: u64,
    /// Touches.
    pub touches: u64,
    /// Marks of erasures.
    pub erasures: u64,
    /// When the last pass over all records was finished, milliseconds since 1970; none before the first.
    pub finished_at_ms: Option<i64>,
}

/// Where the pass is.
#[derive(Default)]
pub(super) struct Cleaning {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun_at_ms: Option<i64>,
    /// Where to go on; none between passes.
    place: Option<(Partition, Option<Vec<u8>>)>,
    statistics: RetentionStatistics,
}

// === impl Cleaning ===

impl Cleaning {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to go on; none when no pass is due. A clock that went back makes one due.
    fn begin(&self, now_ms: i64) -> Option<(Partition, Option<Vec<u8>>)> {
        let mut state = self.state();
        if state.place.is_some() {
            return state.place.clone();
        }
        let age_ms = state.begun_at_ms.map(|at_ms| now_ms - at_ms);
        if age_ms.is_some_and(|age_ms| (0..PASS_INTERVAL_MS).contains(&age_ms)) {
            return None;
        }
        state.begun_at_ms = Some(now_ms);
        state.place = Some((Partition(0), None));
        state.place.clone()
    }
}

// === impl App ===

impl App {
    /// What was cleaned so far.
    pub fn retention_statistics(&self) -> RetentionStatistics {
        self.cleaning.state().statistics
    }

    /// Cleans one run's worth of records.
    pub(super) async fn clean(&self) -> Result<(), AppError> {
        let now_ms = self.now().as_millisecond();
        let Some((mut partition, mut after)) = self.cleaning.begin(now_ms) else {
            return Ok(());
        };
        let mut left = ROWS_PER_RUN;
        while partition.0 < self.engine.partitions() {
            let scan = Scan {
                prefix: key::RECIPIENTS.to_vec(),
                after: after.clone(),
                limit: left,
            };
            let rows = self.engine.scan(partition, scan).await?;
            let (is_last, count) = (rows.len() < left, rows.len());
            after = rows.last().map(|(key, _)| key.clone()).or(after);
            for (key, stored) in rows {
                pace::breathe();
                self.clean_record(partition, key, &stored).await?;
            }
            if is_last {
                (partition, after) = (Partition(partition.0 + 1), None);
            }
            left -= count;
            self.cleaning.state().place = Some((partition, after.clone()));
            if left == 0 {
                return Ok(());
            }
        }
        let mut state = self.cleaning.state();
        state.place = None;
        state.statistics.finished_at_ms = Some(now_ms);
        Ok(())
    }

    async fn clean_record(
        &self,
        partition: Partition,
        key: Vec<u8>,
        stored: &Stored,
    ) -> Result<(), AppError> {
        // What cannot be read is reported where it is needed.
        let (Some(tenant), Ok(recipient)) = (
            key::parse::tenant(&key),
            records::decode::<Recipient>(&stored.value),
        ) else {
            return Ok(());
        };
        let rules = RetentionRules {
            recipient_kept_ms: self.settings.retention.recipient_kept_ms,
            default_consent: self.settings.default_consent,
        };
        let expected = Some(stored.version);
        let fate = rules.fate(&recipient, self.now());
        let changes = match &fate {
            Fate::Stays => return Ok(()),
            Fate::LosesTouches(rest, _) | Fate::IsReduced(rest) => vec![Change::Put {
                key,
                value: records::encode(rest)?,
                expected,
            }],
            Fate::Goes | Fate::MarkGoes => vec![
                Change::Delete { key, expected },
                Change::Merge {
                    key: key::recipient_count(tenant),
                    operand: records::encode(&RecipientCount(-1))?,
                },
            ],
        };
        // Somebody who changed it in between has shown activity.
        if let Outcome::Committed(_) = self.engine.commit(partition, Batch { changes }).await? {
            self.count_cleaned(tenant, &fate);
        }
        Ok(())
    }

    fn count_cleaned(&self, tenant: TenantId, fate: &Fate) {
        let mut state = self.cleaning.state();
        let statistics = &mut state.statistics;
        match fate {
            Fate::Stays => {}
            Fate::LosesTouches(_, touches) => statistics.touches += *touches as u64,
            Fate::IsReduced(_) => statistics.reduced += 1,
            Fate::Goes => statistics.recipients += 1,
            Fate::MarkGoes => statistics.erasures += 1,
        }
        if matches!(fate, Fate::Goes | Fate::MarkGoes) {
            self.tenants.of(tenant).add_recipients(-1);
        }
    }
}
