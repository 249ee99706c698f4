//! Fitting the chronotypes of a tenant to a sample of its recipients, about once a day, and keeping what was found.
//!
//! Invariant: the sample is whole partitions, so it is random by the keyed hash; only recipients whose hours may be used for themselves are
//! read, and one who was erased is missing from the next fit. Decisions use a fit once the next model is made.
use crate::domain::name::TenantId;
use crate::domain::recipient::{ConsentLevel, Recipient};
use crate::domain::send_time::Chronotypes;
use crate::domain::send_time::chronotypes::fit::{Habits, fit};
use crate::store::records::{self, key};
use crate::store::{Batch, Change, Partition, SCAN_ROWS_MAX, Scan};

use super::load::foreign_key;
use super::tenants::Learned;
use super::{App, AppError, HOME, LoadReport};

/// Recipients at which no further partition is read.
const SAMPLE_MAX: usize = 10_000;
/// A fit younger than this is good enough: a start does not make one anew.
const FRESH_MS: i64 = 12 * 3_600_000;

impl App {
    /// Fits the chronotypes of every tenant anew and keeps them.
    pub(super) async fn fit_chronotypes(&self) -> Result<(), AppError> {
        for (tenant, learned) in self.tenants.all() {
            self.fit_chronotypes_of(tenant, &learned).await?;
        }
        Ok(())
    }

    async fn fit_chronotypes_of(
        &self,
        tenant: TenantId,
        learned: &Learned,
    ) -> Result<(), AppError> {
        let fitted_at_ms = learned.model.load().chronotypes.fitted_at_ms;
        let age_ms = self.now().as_millisecond() - fitted_at_ms;
        if (0..FRESH_MS).contains(&age_ms) {
            return Ok(());
        }
        let mut sample = Vec::new();
        for partition in (0..self.engine.partitions()).map(Partition) {
            if sample.len() >= SAMPLE_MAX {
                break;
            }
            self.sample_partition(partition, tenant, &mut sample)
                .await?;
        }
        let model = learned.model.load_full();
        let chronotypes = fit(
            &sample,
            &model.everyone,
            &model.parameters,
            self.now().as_millisecond(),
        );
        let put = Change::Put {
            key: key::chronotypes(tenant),
            value: records::encode(&chronotypes)?,
            expected: None,
        };
        let batch = Batch { changes: vec![put] };
        self.engine.commit(HOME, batch).await?;
        learned.hours.set_chronotypes(chronotypes);
        Ok(())
    }

    async fn sample_partition(
        &self,
        partition: Partition,
        tenant: TenantId,
        sample: &mut Vec<Habits>,
    ) -> Result<(), AppError> {
        let now = self.now();
        let mut after = None;
        while sample.len() < SAMPLE_MAX {
            let scan = Scan {
                prefix: key::recipients_of(tenant),
                after,
                limit: SCAN_ROWS_MAX,
            };
            let rows = self.engine.scan(partition, scan).await?;
            for (_, stored) in &rows {
                // A damaged record is reported where it is needed; here one fewer person is read.
                let Ok(recipient) = records::decode::<Recipient>(&stored.value) else {
                    continue;
                };
                if self.allowed(&recipient.consent).timing == ConsentLevel::Individual {
                    let reading = recipient.activity.read(now);
                    sample.extend(Habits::of(&reading, &recipient.segments));
                }
            }
            if rows.len() < SCAN_ROWS_MAX {
                return Ok(());
            }
            after = rows.last().map(|(key, _)| key.clone());
        }
        Ok(())
    }

    /// Reads the last fits back at start.
    pub(super) async fn load_chronotypes(&self, report: &mut LoadReport) -> Result<(), AppError> {
        self.each(HOME, key::CHRONOTYPES, report, |key, value| {
            let tenant = key::parse::tenant(key).ok_or_else(|| foreign_key(key))?;
            let chronotypes: Chronotypes = records::decode(value)?;
            self.tenants.of(tenant).hours.set_chronotypes(chronotypes);
            Ok(())
        })
        .await
    }
}
