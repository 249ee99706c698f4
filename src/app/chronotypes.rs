//! Fitting the chronotypes of a tenant to a sample of its recipients, about once a day, and keeping what was found; with the same sample
//! it is counted where people live.
//!
//! Invariant: the sample is whole partitions, so it is random by the keyed hash; only recipients whose hours may be used for themselves are
//! read, and one who was erased is missing from the next fit. Decisions use a fit once the next model is made.
use jiff::Timestamp;

use crate::domain::decide::Allowed;
use crate::domain::name::TenantId;
use crate::domain::recipient::{ConsentLevel, Recipient};
use crate::domain::send_time::chronotypes::fit::{Habits, fit};
use crate::domain::send_time::{Chronotypes, ZoneTally};
use crate::store::records::{self, key};
use crate::store::{Batch, Change, Partition, SCAN_ROWS_MAX, Scan};

use super::load::foreign_key;
use super::tenants::Learned;
use super::{App, AppError, HOME, LoadReport};

/// Recipients at which no further partition is read.
const SAMPLE_MAX: usize = 10_000;

/// What is read of the recipients.
#[derive(Default)]
struct Sample {
    habits: Vec<Habits>,
    zones: ZoneTally,
    /// Whether a person of unknown zone can be taken to have the default one's time.
    is_plain: bool,
}

// === impl Sample ===

impl Sample {
    fn add(&mut self, recipient: &Recipient, allowed: Allowed, now: Timestamp) {
        if allowed.timing >= ConsentLevel::Aggregate {
            let zone = recipient.zone.as_deref();
            zone.into_iter().for_each(|zone| self.zones.count(zone));
        }
        let has_local_hours = self.is_plain || recipient.zone.is_some();
        if allowed.timing == ConsentLevel::Individual && has_local_hours {
            let reading = recipient.activity.read(now);
            self.habits
                .extend(Habits::of(&reading, &recipient.segments));
        }
    }
}

// === impl App ===

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
        let mut sample = Sample {
            is_plain: self.has_plain_zones(learned),
            ..Sample::default()
        };
        for partition in (0..self.engine.partitions()).map(Partition) {
            if sample.habits.len() >= SAMPLE_MAX {
                break;
            }
            self.sample_partition(partition, tenant, &mut sample)
                .await?;
        }
        let model = learned.model.load_full();
        let chronotypes = fit(
            &sample.habits,
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
        self.keep_zones(tenant, sample.zones).await
    }

    fn has_plain_zones(&self, learned: &Learned) -> bool {
        let zones = learned.zones.load();
        zones.is_plain(&self.settings.default_zone, self.now())
    }

    async fn sample_partition(
        &self,
        partition: Partition,
        tenant: TenantId,
        sample: &mut Sample,
    ) -> Result<(), AppError> {
        let now = self.now();
        let mut after = None;
        while sample.habits.len() < SAMPLE_MAX {
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
                sample.add(&recipient, self.allowed(&recipient.consent), now);
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
