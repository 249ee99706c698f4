//! Deleting an experiment with all that was counted for it.
use crate::app::{App, AppError, HOME, Kind};
use crate::domain::experiment::ExperimentState;
use crate::domain::name::{Slug, TenantId};
use crate::store::records::key;
use crate::store::{Batch, Change, Partition, SCAN_ROWS_MAX, Scan};

impl App {
    /// Deletes an experiment with its statistics.
    pub async fn delete_experiment(
        &self,
        tenant: TenantId,
        id: &Slug,
        revision: Option<u64>,
        force: bool,
    ) -> Result<(), AppError> {
        let experiment = self.experiment(tenant, id)?;
        if revision.is_some_and(|revision| revision != experiment.revision) {
            let message = "the experiment was changed since it was read; read it again and repeat the deletion";
            return Err(AppError::new(Kind::Aborted, "ETAG_MISMATCH", message));
        }
        if experiment.state == ExperimentState::Running && !force {
            let message =
                format!("experiments/{id} is running; pause or conclude it first, or set force");
            return Err(AppError::new(
                Kind::FailedPrecondition,
                "EXPERIMENT_RUNNING",
                message,
            ));
        }
        let delete = |key| Change::Delete {
            key,
            expected: None,
        };
        let changes = vec![
            delete(key::experiment(tenant, id)),
            delete(key::oversight(tenant, experiment.uid)),
        ];
        self.engine.commit(HOME, Batch { changes }).await?;
        self.registry.remove(tenant, &experiment);
        for partition in (0..self.engine.partitions()).map(Partition) {
            self.delete_prefix(partition, key::cells_of(tenant, experiment.uid))
                .await?;
            self.delete_prefix(partition, key::drift(tenant, experiment.uid))
                .await?;
            self.delete_prefix(partition, key::timeline_of(tenant, experiment.uid))
                .await?;
            self.delete_prefix(partition, key::arrivals(tenant, experiment.uid))
                .await?;
            self.delete_prefix(partition, key::send_plan_of(tenant, experiment.uid))
                .await?;
            self.delete_prefix(partition, key::shadow_of(tenant, experiment.uid))
                .await?;
            let is_planned = |key: &[u8]| {
                key::parse::planned(key)
                    .is_some_and(|(_, of, id)| of == tenant && id.experiment == experiment.uid)
            };
            self.delete_rows(partition, key::PLANNED.to_vec(), is_planned)
                .await?;
        }
        self.engine.flush().await?;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn delete_prefix(&self, partition: Partition, prefix: Vec<u8>) -> Result<(), AppError> {
        self.delete_rows(partition, prefix, |_| true).await
    }

    /// Deletes the rows of a prefix whose key is meant, page by page.
    async fn delete_rows(
        &self,
        partition: Partition,
        prefix: Vec<u8>,
        is_meant: impl Fn(&[u8]) -> bool,
    ) -> Result<(), AppError> {
        let mut after = None;
        loop {
            let scan = Scan {
                prefix: prefix.clone(),
                after,
                limit: SCAN_ROWS_MAX,
            };
            let rows = self.engine.scan(partition, scan).await?;
            let count = rows.len();
            after = rows.last().map(|(key, _)| key.clone());
            let meant = rows
                .into_iter()
                .map(|(key, _)| key)
                .filter(|key| is_meant(key));
            let changes = meant
                .map(|key| Change::Delete {
                    key,
                    expected: None,
                })
                .collect();
            self.engine.commit(partition, Batch { changes }).await?;
            if count < SCAN_ROWS_MAX {
                return Ok(());
            }
        }
    }
}
