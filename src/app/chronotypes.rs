//! Fitting the chronotypes of a tenant to a sample of its recipients, about once a day, and keeping what was found; with the same sample
//! it is counted where people live.
//!
//! Invariant: the sample is whole partitions, so it is random by the keyed hash; only recipients whose hours may be used for themselves are
//! read, and one who was erased is missing from the next fit. Decisions use a fit once the next model is made.
use crate::domain::name::TenantId;
use crate::domain::recipient::{ConsentLevel, Recipient};
use crate::domain::send_time::chronotypes::fit::{Habits, fit};
use crate::domain::send_time::{Chronotypes, SendTimeModel, ZoneTally};
use crate::store::records::{self, key};
use crate::store::{Batch, Change, Partition, SCAN_ROWS_MAX, Scan, pace};

use super::load::foreign_key;
use super::tenants::Learned;
use super::zones::{Reckoned, Whose};
use super::{App, AppError, HOME, LoadReport};

/// Recipients at which no further partition is read.
const SAMPLE_MAX: usize = 10_000;
/// A fit younger than this is good enough: a start does not make one anew.
const FRESH_MS: i64 = 12 * 3_600_000;

/// What is read of the recipients.
#[derive(Default)]
struct Sample {
    habits: Vec<Habits>,
    zones: ZoneTally,
}

// === impl Sample ===

impl Sample {
    /// A person of unknown zone is read on the clocks of the zone that the hours speak for, and left out while they speak for none.
    fn add(&mut self, whose: Whose<'_>, reckoned: &Reckoned) {
        let (recipient, timing) = (whose.recipient, whose.allowed.timing);
        if timing >= ConsentLevel::Aggregate {
            let zone = recipient.zone.as_deref();
            zone.into_iter().for_each(|zone| self.zones.count(zone));
        }
        if timing == ConsentLevel::Individual && reckoned.is_sure {
            let moved = reckoned.moved(recipient);
            let activity = &moved.as_ref().unwrap_or(recipient).activity;
            let habits = Habits::of(&activity.read(whose.at), &recipient.segments);
            self.habits.extend(habits);
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
        let model = learned.model.load_full();
        let fitted_at_ms = model.chronotypes.fitted_at_ms;
        let age_ms = self.now().as_millisecond() - fitted_at_ms;
        if (0..FRESH_MS).contains(&age_ms) {
            return Ok(());
        }
        let mut sample = Sample::default();
        for partition in (0..self.engine.partitions()).map(Partition) {
            if sample.habits.len() >= SAMPLE_MAX {
                break;
            }
            self.sample_partition(partition, (tenant, &model), &mut sample)
                .await?;
        }
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

    async fn sample_partition(
        &self,
        partition: Partition,
        (tenant, model): (TenantId, &SendTimeModel),
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
                pace::breathe();
                // A damaged record is reported where it is needed; here one fewer person is read.
                let Ok(recipient) = records::decode::<Recipient>(&stored.value) else {
                    continue;
                };
                let whose = Whose {
                    tenant,
                    recipient: &recipient,
                    allowed: self.allowed(&recipient.consent),
                    model,
                    at: now,
                };
                sample.add(whose, &self.reckoned(None, whose));
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
