//! Reading experiments and sums back at start. What cannot be read is reported and left alone; the rest is served.
use std::collections::HashMap;

use crate::domain::cell::CellDelta;
use crate::domain::civil::HourOfWeek;
use crate::domain::drift::Drift;
use crate::domain::experiment::Experiment;
use crate::domain::hour_activity::HourDelta;
use crate::domain::name::{ExperimentUid, TenantId};
use crate::domain::oversight::Oversight;
use crate::domain::send_plan::PlannedSends;
use crate::store::records::{self, Record, key};
use crate::store::{Bytes, Partition, SCAN_ROWS_MAX, Scan, StoreError};

use super::ledger::Sums;
use super::registry::Live;
use super::{App, AppError, HOME, LoadReport};

impl App {
    /// Loads everything that decisions need in memory.
    pub(super) async fn load(&self) -> Result<LoadReport, AppError> {
        let mut report = LoadReport::default();
        let mut experiments: Vec<(TenantId, Experiment)> = Vec::new();
        let mut sums: HashMap<ExperimentUid, Sums> = HashMap::new();
        self.each(HOME, key::EXPERIMENTS, &mut report, |key, value| {
            let tenant = key::parse::tenant(key).ok_or_else(|| foreign_key(key))?;
            experiments.push((tenant, records::decode(value)?));
            Ok(())
        })
        .await?;
        let mut oversights = self.load_oversights(&mut report).await?;
        for partition in (0..self.engine.partitions()).map(Partition) {
            self.load_sums(partition, &mut sums, &mut report).await?;
            self.load_hours(partition, &mut report).await?;
            self.load_recipient_counts(partition, &mut report).await?;
        }
        self.load_tenants(&mut report).await?;
        self.load_chronotypes(&mut report).await?;
        self.load_zones(&mut report).await?;
        let mut drifts = self.load_drifts(&mut report).await?;
        report.experiments = experiments.len();
        let now = self.now();
        for (tenant, experiment) in experiments {
            let sums = sums.remove(&experiment.uid).unwrap_or_default();
            let published = |_, objective| self.registry.expected_rate(tenant, objective);
            let oversight = oversights.remove(&experiment.uid).unwrap_or_default();
            let drift = drifts.remove(&experiment.uid);
            let live = Live::new(tenant, experiment, sums, &published, now);
            if let Some(drift) = drift {
                live.set_drift(drift);
            }
            self.registry.insert(live.overseen(oversight));
        }
        self.registry
            .lives()
            .iter()
            .for_each(|live| live.add(|_| {}));
        Ok(report)
    }

    async fn load_cells(
        &self,
        partition: Partition,
        sums: &mut HashMap<ExperimentUid, Sums>,
        report: &mut LoadReport,
    ) -> Result<(), AppError> {
        let mut cells = 0;
        self.each(partition, key::CELLS, report, |key, value| {
            let (_, id) = key::parse::cell(key).ok_or_else(|| foreign_key(key))?;
            let delta = CellDelta {
                id,
                planned_until_ms: None,
                cell: records::decode(value)?,
            };
            sums.entry(id.experiment).or_default().add_cell(&delta);
            cells += 1;
            Ok(())
        })
        .await?;
        report.cells += cells;
        self.each(partition, key::PLANNED, report, |key, value| {
            let (until_ms, _, id) = key::parse::planned(key).ok_or_else(|| foreign_key(key))?;
            let delta = CellDelta {
                id,
                planned_until_ms: Some(until_ms),
                cell: records::decode(value)?,
            };
            sums.entry(id.experiment).or_default().add_cell(&delta);
            Ok(())
        })
        .await
    }

    async fn load_sums(
        &self,
        partition: Partition,
        sums: &mut HashMap<ExperimentUid, Sums>,
        report: &mut LoadReport,
    ) -> Result<(), AppError> {
        self.load_cells(partition, sums, report).await?;
        self.each(partition, key::ARRIVALS, report, |key, value| {
            let (_, experiment) = key::parse::arrivals(key).ok_or_else(|| foreign_key(key))?;
            sums.entry(experiment)
                .or_default()
                .add_arrivals(&records::decode(value)?);
            Ok(())
        })
        .await?;
        self.each(partition, key::TIMELINES, report, |key, value| {
            let (_, slot) = key::parse::timeline(key).ok_or_else(|| foreign_key(key))?;
            sums.entry(slot.experiment)
                .or_default()
                .add_counts(&slot, &records::decode(value)?);
            Ok(())
        })
        .await?;
        self.each(partition, key::SEND_PLANS, report, |key, value| {
            let (_, experiment, hour) =
                key::parse::send_plan(key).ok_or_else(|| foreign_key(key))?;
            let PlannedSends(sends) = records::decode(value)?;
            sums.entry(experiment).or_default().plan.add(hour, sends);
            Ok(())
        })
        .await?;
        self.each(partition, key::SHADOWS, report, |key, value| {
            let (_, experiment, variant) =
                key::parse::shadow(key).ok_or_else(|| foreign_key(key))?;
            let sums = sums.entry(experiment).or_default();
            sums.add_shadow(variant, &records::decode(value)?);
            Ok(())
        })
        .await
    }

    /// Loads the alerts, and answers what is remembered about watching over experiments.
    async fn load_oversights(
        &self,
        report: &mut LoadReport,
    ) -> Result<HashMap<ExperimentUid, Oversight>, AppError> {
        let mut oversights = HashMap::new();
        self.each(HOME, key::OVERSIGHTS, report, |key, value| {
            let (_, uid) = key::parse::oversight(key).ok_or_else(|| foreign_key(key))?;
            oversights.insert(uid, records::decode(value)?);
            Ok(())
        })
        .await?;
        self.each(HOME, key::ALERTS, report, |key, value| {
            let (tenant, number) = key::parse::alert(key).ok_or_else(|| foreign_key(key))?;
            self.alerts.keep(tenant, number, records::decode(value)?);
            Ok(())
        })
        .await?;
        Ok(oversights)
    }

    async fn load_hours(
        &self,
        partition: Partition,
        report: &mut LoadReport,
    ) -> Result<(), AppError> {
        self.each(partition, key::HOURS, report, |key, value| {
            let (tenant, day, hour) = key::parse::hour(key).ok_or_else(|| foreign_key(key))?;
            let hour = HourOfWeek::new(hour).ok_or_else(|| foreign_key(key))?;
            self.tenants.of(tenant).hours.add(&HourDelta {
                day,
                hour,
                part: records::decode(value)?,
            });
            Ok(())
        })
        .await?;
        self.each(partition, key::INDIVIDUALITIES, report, |key, value| {
            let tenant = key::parse::tenant(key).ok_or_else(|| foreign_key(key))?;
            let learned = self.tenants.of(tenant);
            learned.hours.add_individuality(&records::decode(value)?);
            Ok(())
        })
        .await
    }

    async fn load_drifts(
        &self,
        report: &mut LoadReport,
    ) -> Result<HashMap<ExperimentUid, Drift>, AppError> {
        let mut drifts = HashMap::new();
        self.each(HOME, key::DRIFTS, report, |key, value| {
            let (_, experiment) = key::parse::drift(key).ok_or_else(|| foreign_key(key))?;
            drifts.insert(experiment, records::decode(value)?);
            Ok(())
        })
        .await?;
        Ok(drifts)
    }

    /// Calls `take` for every row of a prefix, page by page; a row that cannot be read is reported, a newer format stops the start.
    pub(super) async fn each(
        &self,
        partition: Partition,
        prefix: &[u8],
        report: &mut LoadReport,
        mut take: impl FnMut(&[u8], &Bytes) -> Result<(), StoreError>,
    ) -> Result<(), AppError> {
        let mut after = None;
        loop {
            let rows = self
                .engine
                .scan(
                    partition,
                    Scan {
                        prefix: prefix.to_vec(),
                        after,
                        limit: SCAN_ROWS_MAX,
                    },
                )
                .await?;
            for (key, stored) in &rows {
                match take(key, &stored.value) {
                    Ok(()) => {}
                    Err(error @ StoreError::NewerFormat { .. }) => return Err(error.into()),
                    Err(error) => report.unreadable.push(format!(
                        "partition {} key {}: {error}",
                        partition.0,
                        hex(key)
                    )),
                }
            }
            if rows.len() < SCAN_ROWS_MAX {
                return Ok(());
            }
            after = rows.last().map(|(key, _)| key.clone());
        }
    }
}

pub(super) fn foreign_key(key: &[u8]) -> StoreError {
    StoreError::Corrupt {
        what: "a key of no known shape".to_owned(),
        place: format!("{} {}", Experiment::NAME, hex(key)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
