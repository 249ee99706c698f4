//! Limits on what one tenant can make the server keep and do: recipients, bytes of the decision log per day, requests per second.
//!
//! Invariant: a limit on what is kept never leaves a send without an answer; it only leaves the answer unrecorded or unlogged. Limits on single
//! requests are left to where they are read.
use std::collections::BTreeMap;

use crate::domain::allowance::{Allowance, Rate};
use crate::domain::name::TenantId;
use crate::store::records::{self, RecipientCount, key};
use crate::store::{Batch, Change, Partition, SCAN_ROWS_MAX, Scan};

use super::load::foreign_key;
use super::writes::Loaded;
use super::{App, AppError, Kind, LoadReport};

/// What one tenant can make the server keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Most recipients of whom anything is kept.
    pub recipients_max: u64,
    /// Most bytes that the decision log takes per day, in universal time; counted since the start of the process.
    pub decision_log_bytes_per_day_max: u64,
    /// Requests, items of batches and messages of streams per second; without limit where there is none.
    pub requests: Option<Rate>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            recipients_max: 50_000_000,
            decision_log_bytes_per_day_max: 16 << 30,
            requests: None,
        }
    }
}

/// Bytes that a tenant has had logged today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogBudget {
    day: i32,
    bytes: u64,
}

// === impl LogBudget ===

impl LogBudget {
    /// Whether there is room for more today.
    pub fn has_room(&mut self, day: i32, bytes_max: u64) -> bool {
        if self.day != day {
            *self = Self { day, bytes: 0 };
        }
        self.bytes < bytes_max
    }

    /// Counts what was logged.
    pub fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

// === impl App ===

impl App {
    /// Recipients of whom anything is kept, marks of erasures included.
    pub fn recipients_kept(&self, tenant: TenantId) -> u64 {
        u64::try_from(self.tenants.of(tenant).recipients()).unwrap_or(0)
    }

    /// The same over all tenants.
    pub fn recipients_kept_in_all(&self) -> u64 {
        let all = self.tenants.all();
        let kept = all.iter().map(|(_, learned)| learned.recipients());
        kept.map(|kept| u64::try_from(kept).unwrap_or(0)).sum()
    }

    /// Takes so many requests off a tenant's allowance.
    ///
    /// # Errors
    /// `RATE_LIMITED` with the time after which the same would be let through, if nothing else were asked meanwhile; nothing is taken then.
    pub fn spend(&self, tenant: TenantId, requests: usize) -> Result<(), AppError> {
        let Some(rate) = self.settings.limits.requests else {
            return Ok(());
        };
        let now = self.now();
        let learned = self.tenants.of(tenant);
        let mut allowance = learned.allowance();
        let allowance = allowance.get_or_insert_with(|| Allowance::full(rate, now));
        let spent = allowance.spend(rate, requests as u64, now);
        spent.map_err(|wait| {
            metrics::counter!("hermod_requests_rate_limited_total").increment(requests as u64);
            let message = format!(
                "this tenant sends more than {} requests per second; try again in {} ms, or have limits.requests_per_second_max raised",
                rate.per_second(),
                wait.as_millis().max(1)
            );
            AppError {
                retry_after: Some(wait),
                ..AppError::new(Kind::ResourceExhausted, "RATE_LIMITED", message)
            }
        })
    }

    /// Whether one more recipient may get a record.
    pub(super) fn has_room(&self, tenant: TenantId) -> bool {
        self.recipients_kept(tenant) < self.settings.limits.recipients_max
    }

    /// Refuses to begin a record where the tenant has no room for it.
    pub(super) fn refuse_beyond_room(
        &self,
        tenant: TenantId,
        loaded: &Loaded,
    ) -> Result<(), AppError> {
        if loaded.version != 0 || self.has_room(tenant) {
            return Ok(());
        }
        let most = self.settings.limits.recipients_max;
        let message = format!(
            "{most} recipients are kept, which is the limit; erase some, wait for the retention, or raise limits.recipients_max"
        );
        Err(AppError::new(
            Kind::ResourceExhausted,
            "TOO_MANY_RECIPIENTS",
            message,
        ))
    }

    /// Reads how many recipients a partition keeps; a store from before they were counted, or with a damaged count, is counted once.
    pub(super) async fn load_recipient_counts(
        &self,
        partition: Partition,
        report: &mut LoadReport,
    ) -> Result<(), AppError> {
        let mut counts: BTreeMap<TenantId, i64> = BTreeMap::new();
        let unreadable = report.unreadable.len();
        self.each(partition, key::RECIPIENT_COUNTS, report, |key, value| {
            let tenant = key::parse::tenant(key).ok_or_else(|| foreign_key(key))?;
            let RecipientCount(count) = records::decode(value)?;
            counts.insert(tenant, count);
            Ok(())
        })
        .await?;
        if counts.is_empty() || report.unreadable.len() > unreadable {
            counts = self.count_recipients(partition).await?;
        }
        for (tenant, count) in counts {
            self.tenants.of(tenant).add_recipients(count);
        }
        Ok(())
    }

    async fn count_recipients(
        &self,
        partition: Partition,
    ) -> Result<BTreeMap<TenantId, i64>, AppError> {
        let mut counts: BTreeMap<TenantId, i64> = BTreeMap::new();
        let mut after = None;
        loop {
            let scan = Scan {
                prefix: key::RECIPIENTS.to_vec(),
                after,
                limit: SCAN_ROWS_MAX,
            };
            let rows = self.engine.scan(partition, scan).await?;
            for tenant in rows.iter().filter_map(|(key, _)| key::parse::tenant(key)) {
                *counts.entry(tenant).or_default() += 1;
            }
            after = rows.last().map(|(key, _)| key.clone());
            if rows.len() < SCAN_ROWS_MAX {
                break;
            }
        }
        let put = |(tenant, count): (&TenantId, &i64)| {
            Ok(Change::Put {
                key: key::recipient_count(*tenant),
                value: records::encode(&RecipientCount(*count))?,
                expected: None,
            })
        };
        let changes: Vec<Change> = counts.iter().map(put).collect::<Result<_, AppError>>()?;
        if !changes.is_empty() {
            self.engine.commit(partition, Batch { changes }).await?;
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_full_at_its_limit_and_empty_the_next_day() {
        let mut budget = LogBudget::default();
        assert!(budget.has_room(20_000, 100));
        budget.add(99);
        assert!(budget.has_room(20_000, 100));
        budget.add(1);
        assert!(!budget.has_room(20_000, 100));
        assert!(budget.has_room(20_001, 100));
    }
}
