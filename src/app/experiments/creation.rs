//! Creating an experiment: its number and its record become durable together.
use std::sync::Arc;

use jiff::Timestamp;

use crate::app::ledger::Sums;
use crate::app::registry::Live;
use crate::app::writes::TRIES_MAX;
use crate::app::{App, AppError, HOME, Kind};
use crate::domain::experiment::{EXPERIMENTS_MAX, Experiment, ExperimentState, Settings};
use crate::domain::name::{ExperimentUid, Slug, TenantId, fingerprint};
use crate::store::records::{self, LastUid, key};
use crate::store::{Batch, Change, Outcome};

use super::new_variant;

/// An experiment to create.
#[derive(Clone, Debug)]
pub struct NewExperiment {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub id: Slug,
    /// A name for people.
    pub display_name: String,
    /// Its variants: id and subject line.
    pub variants: Vec<(Slug, String)>,
    /// What its owner chooses; a fixed policy has weights in the order of the variants.
    pub settings: Settings,
    /// For retries; empty for none.
    pub request_id: String,
    /// Check only.
    pub validate_only: bool,
}

impl App {
    /// Creates an experiment; the same request again answers the one created first.
    pub async fn create_experiment(&self, new: NewExperiment) -> Result<Arc<Experiment>, AppError> {
        let request = fingerprint(&new.request_id);
        if let Some(live) = self.registry.by_name(new.tenant, &new.id) {
            let existing = live.experiment();
            if request != 0 && existing.request == request {
                return Ok(existing);
            }
            let message = format!(
                "experiments/{} exists; choose another experiment_id, or update it",
                new.id
            );
            return Err(AppError::new(
                Kind::AlreadyExists,
                "EXPERIMENT_EXISTS",
                message,
            ));
        }
        if self.registry.count(new.tenant) >= EXPERIMENTS_MAX {
            return Err(too_many());
        }
        let now = self.now();
        let experiment = experiment_of(&new, request, now);
        if new.validate_only {
            return Ok(Arc::new(experiment));
        }
        let experiment = self.store_new(new.tenant, experiment).await?;
        let expected = |tenant, objective| self.registry.expected_rate(tenant, objective);
        let live = Live::new(new.tenant, experiment, Sums::default(), &expected, now);
        Ok(self.registry.insert(live).experiment())
    }

    /// Numbers and stores an experiment; the number and the experiment become durable together.
    async fn store_new(
        &self,
        tenant: TenantId,
        mut experiment: Experiment,
    ) -> Result<Experiment, AppError> {
        for _ in 0..TRIES_MAX {
            let last = key::last_uid(tenant);
            let stored = self.engine.read(HOME, &last).await?;
            let (number, version) = match &stored {
                Some(stored) => (records::decode::<LastUid>(&stored.value)?.0, stored.version),
                None => (0, 0),
            };
            experiment.uid = ExperimentUid::nth(tenant, number + 1).ok_or_else(too_many)?;
            let put = |key: Vec<u8>, value: Vec<u8>, expected| Change::Put {
                key,
                value,
                expected: Some(expected),
            };
            let changes = vec![
                put(
                    last.clone(),
                    records::encode(&LastUid(number + 1))?,
                    version,
                ),
                put(
                    key::experiment(tenant, &experiment.id),
                    records::encode(&experiment)?,
                    0,
                ),
            ];
            match self.engine.commit(HOME, Batch { changes }).await? {
                Outcome::Committed(ticket) => {
                    self.engine.durable(ticket).await?;
                    return Ok(experiment);
                }
                Outcome::Conflict { key } if key != last => {
                    if let Some(stored) = self.stored(tenant, &experiment).await? {
                        return Ok(stored);
                    }
                    let message = format!(
                        "experiments/{} exists; choose another experiment_id",
                        experiment.id
                    );
                    return Err(AppError::new(
                        Kind::AlreadyExists,
                        "EXPERIMENT_EXISTS",
                        message,
                    ));
                }
                Outcome::Conflict { .. } => {}
            }
        }
        Err(AppError::contended())
    }

    /// The experiment as an earlier call of the same request stored it, which could not be answered.
    async fn stored(
        &self,
        tenant: TenantId,
        experiment: &Experiment,
    ) -> Result<Option<Experiment>, AppError> {
        let key = key::experiment(tenant, &experiment.id);
        let Some(stored) = self.engine.read(HOME, &key).await? else {
            return Ok(None);
        };
        let stored: Experiment = records::decode(&stored.value)?;
        self.engine.flush().await?;
        Ok((experiment.request != 0 && stored.request == experiment.request).then_some(stored))
    }
}

fn too_many() -> AppError {
    let message = format!(
        "a tenant has at most {EXPERIMENTS_MAX} experiments; delete those no longer needed"
    );
    AppError::new(Kind::ResourceExhausted, "TOO_MANY_EXPERIMENTS", message)
}

fn experiment_of(new: &NewExperiment, request: u64, now: Timestamp) -> Experiment {
    Experiment {
        id: new.id.clone(),
        uid: ExperimentUid(0),
        revision: 1,
        display_name: new.display_name.clone(),
        state: ExperimentState::Draft,
        variants: new
            .variants
            .iter()
            .map(|variant| new_variant(variant, now))
            .collect(),
        settings: new.settings.clone(),
        created_at: now,
        updated_at: now,
        started_at: None,
        concluded_at: None,
        winner: None,
        request,
    }
}
