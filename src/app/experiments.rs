//! Creating, changing and ending experiments and their variants.
//!
//! Invariant: a change is durable before it is answered, and decisions go by it from then on.
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::experiment::{
    EXPERIMENTS_MAX, Experiment, ExperimentState, LifecycleError, Settings, Variant, VariantState,
};
use crate::domain::name::{ExperimentUid, Slug, TenantId, fingerprint};
use crate::domain::policy::Policy;
use crate::store::records::{self, LastUid, key};
use crate::store::{Batch, Change, Outcome, Partition, SCAN_ROWS_MAX, Scan};

use super::ledger::Sums;
use super::registry::Live;
use super::writes::TRIES_MAX;
use super::{App, AppError, HOME, Kind};

/// Most items of a page.
const PAGE_MAX: usize = 1_000;

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

/// Changes to an experiment's settings.
pub struct SettingsChange<'a> {
    /// The revision that was read, if the caller insists.
    pub revision: Option<u64>,
    /// Names of the fields that change, as in the interface.
    pub fields: &'a [String],
    /// Applies them.
    pub apply: &'a (dyn Fn(&mut Experiment) -> Result<(), AppError> + Sync),
}

/// Asks for a page of experiments.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The last name of the page before.
    pub after: Option<Slug>,
    /// Only those in this state.
    pub state: Option<ExperimentState>,
    /// Most items.
    pub size: usize,
}

/// A page of experiments by name.
#[derive(Clone, Debug)]
pub struct ExperimentPage {
    /// The experiments.
    pub experiments: Vec<Arc<Experiment>>,
    /// Whether there are more.
    pub more: bool,
}

/// Fields that may change only before the first start.
pub const FIELDS_IN_DRAFT: [&str; 8] = [
    "objective",
    "kind",
    "attribution_window",
    "trial_on",
    "holdout_share",
    "segments",
    "daypart_start_hours",
    "half_life",
];

// === impl App ===

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
            let message = format!(
                "a tenant has at most {EXPERIMENTS_MAX} experiments; delete those no longer needed"
            );
            return Err(AppError::new(
                Kind::ResourceExhausted,
                "TOO_MANY_EXPERIMENTS",
                message,
            ));
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
            let last = self.engine.read(HOME, key::LAST_UID).await?;
            let (number, version) = match &last {
                Some(stored) => (records::decode::<LastUid>(&stored.value)?.0, stored.version),
                None => (0, 0),
            };
            experiment.uid = ExperimentUid(number + 1);
            let put = |key: Vec<u8>, value: Vec<u8>, expected| Change::Put {
                key,
                value,
                expected: Some(expected),
            };
            let changes = vec![
                put(
                    key::LAST_UID.to_vec(),
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
                Outcome::Conflict { key } if key != key::LAST_UID => {
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

    /// Reads an experiment.
    pub fn experiment(&self, tenant: TenantId, id: &Slug) -> Result<Arc<Experiment>, AppError> {
        self.registry
            .by_name(tenant, id)
            .map(|live| live.experiment())
            .ok_or_else(|| AppError::no_experiment(id.as_str()))
    }

    /// The states of all experiments of all tenants.
    pub fn experiment_states(&self) -> Vec<ExperimentState> {
        self.registry
            .lives()
            .iter()
            .map(|live| live.experiment().state)
            .collect()
    }

    /// One page of experiments by name.
    pub fn list_experiments(&self, request: &ListRequest) -> ExperimentPage {
        let size = request.size.clamp(1, PAGE_MAX);
        let lives = self.registry.after(request.tenant, request.after.as_ref());
        let mut found = lives
            .iter()
            .map(|live| live.experiment())
            .filter(|experiment| request.state.is_none_or(|state| experiment.state == state));
        let experiments: Vec<Arc<Experiment>> = found.by_ref().take(size).collect();
        ExperimentPage {
            experiments,
            more: found.next().is_some(),
        }
    }

    /// Changes settings.
    pub async fn update_experiment(
        &self,
        tenant: TenantId,
        id: &Slug,
        change: SettingsChange<'_>,
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, change.revision, |experiment, _| {
            let fixed: Vec<&str> = change
                .fields
                .iter()
                .map(String::as_str)
                .filter(|field| FIELDS_IN_DRAFT.contains(field))
                .collect();
            if experiment.state != ExperimentState::Draft && !fixed.is_empty() {
                let message = format!(
                    "{} cannot change once the experiment was started; create a new one",
                    fixed.join(", ")
                );
                return Err(AppError::new(
                    Kind::FailedPrecondition,
                    "FIXED_ONCE_STARTED",
                    message,
                ));
            }
            (change.apply)(experiment)
        })
        .await
    }

    /// Starts a draft, or goes on after a pause.
    pub async fn start_experiment(
        &self,
        tenant: TenantId,
        id: &Slug,
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, now| {
            if experiment.live_variants().is_empty() {
                let message = format!(
                    "experiments/{} has no live variant; add or resume one first",
                    experiment.id
                );
                return Err(AppError::new(
                    Kind::FailedPrecondition,
                    "NO_ELIGIBLE_VARIANT",
                    message,
                ));
            }
            Ok(experiment.start(now)?)
        })
        .await
    }

    /// Stops deciding for now.
    pub async fn pause_experiment(
        &self,
        tenant: TenantId,
        id: &Slug,
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, _| Ok(experiment.pause()?))
            .await
    }

    /// Ends it, with a winner or without.
    pub async fn conclude_experiment(
        &self,
        tenant: TenantId,
        id: &Slug,
        winner: Option<&str>,
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, now| {
            Ok(experiment.conclude(winner, now)?)
        })
        .await
    }

    /// Adds a variant; a fixed policy gives it no share until its weights are updated.
    pub async fn add_variant(
        &self,
        tenant: TenantId,
        id: &Slug,
        variant: (Slug, String),
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, now| {
            experiment.add_variant(new_variant(&variant, now))?;
            if let Policy::Fixed { weights } = &mut experiment.settings.policy {
                weights.resize(experiment.variants.len(), 0.0);
            }
            Ok(())
        })
        .await
    }

    /// Takes a variant to another state.
    pub async fn move_variant(
        &self,
        tenant: TenantId,
        id: &Slug,
        variant: &str,
        to: VariantState,
        reason: &str,
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, _| {
            if experiment.state == ExperimentState::Concluded {
                let error = LifecycleError::WrongState {
                    state: experiment.state,
                    step: "changing a variant",
                    needed: "DRAFT, RUNNING or PAUSED",
                };
                return Err(error.into());
            }
            Ok(experiment.move_variant(variant, to, reason)?)
        })
        .await
    }

    /// Applies a change, stores it durably, and answers by it from then on.
    async fn change_experiment(
        &self,
        tenant: TenantId,
        id: &Slug,
        revision: Option<u64>,
        apply: impl Fn(&mut Experiment, Timestamp) -> Result<(), AppError>,
    ) -> Result<Arc<Experiment>, AppError> {
        for _ in 0..TRIES_MAX {
            let live = self
                .registry
                .by_name(tenant, id)
                .ok_or_else(|| AppError::no_experiment(id.as_str()))?;
            let store_key = key::experiment(tenant, id);
            let stored = self
                .engine
                .read(HOME, &store_key)
                .await?
                .ok_or_else(|| AppError::no_experiment(id.as_str()))?;
            let before: Experiment = records::decode(&stored.value)?;
            if revision.is_some_and(|revision| revision != before.revision) {
                let message = "the experiment was changed since it was read; read it again and repeat the change";
                return Err(AppError::new(Kind::Aborted, "ETAG_MISMATCH", message));
            }
            let now = self.now();
            let mut experiment = before.clone();
            apply(&mut experiment, now)?;
            if experiment == before {
                return Ok(live.experiment());
            }
            experiment.revision += 1;
            experiment.updated_at = now;
            let put = Change::Put {
                key: store_key,
                value: records::encode(&experiment)?,
                expected: Some(stored.version),
            };
            if let Outcome::Committed(ticket) = self
                .engine
                .commit(HOME, Batch { changes: vec![put] })
                .await?
            {
                self.engine.durable(ticket).await?;
                let experiment = Arc::new(experiment);
                let expected = |tenant, objective| self.registry.expected_rate(tenant, objective);
                live.rebuild(experiment.clone(), now, &expected);
                self.changes.send_modify(|count| *count += 1);
                return Ok(experiment);
            }
        }
        Err(AppError::contended())
    }

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
        let delete = Change::Delete {
            key: key::experiment(tenant, id),
            expected: None,
        };
        self.engine
            .commit(
                HOME,
                Batch {
                    changes: vec![delete],
                },
            )
            .await?;
        self.registry.remove(tenant, &experiment);
        for partition in (0..self.engine.partitions()).map(Partition) {
            self.delete_prefix(partition, key::cells_of(tenant, experiment.uid))
                .await?;
            self.delete_prefix(partition, key::timeline_of(tenant, experiment.uid))
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

fn new_variant((id, display_name): &(Slug, String), now: Timestamp) -> Variant {
    Variant {
        id: id.clone(),
        display_name: display_name.clone(),
        state: VariantState::Live,
        created_at: now,
        quarantine_reason: String::new(),
    }
}
