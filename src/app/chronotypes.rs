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

use super::{App, AppError, HOME};

/// Recipients at which no further partition is read.
const SAMPLE_MAX: usize = 10_000;

impl App {
    /// Fits the chronotypes anew and keeps them.
    pub(super) async fn fit_chronotypes(&self) -> Result<(), AppError> {
        let tenant = TenantId::DEFAULT;
        let mut sample = Vec::new();
        for partition in (0..self.engine.partitions()).map(Partition) {
            if sample.len() >= SAMPLE_MAX {
                break;
            }
            self.sample_partition(partition, tenant, &mut sample)
                .await?;
        }
        let model = self.model.load_full();
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
        self.hours.set_chronotypes(chronotypes);
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

    /// Reads the last fit back at start.
    pub(super) async fn load_chronotypes(&self) -> Result<(), AppError> {
        let stored = self
            .engine
            .read(HOME, &key::chronotypes(TenantId::DEFAULT))
            .await?;
        if let Some(stored) = stored {
            self.hours
                .set_chronotypes(records::decode::<Chronotypes>(&stored.value)?);
        }
        Ok(())
    }
}
