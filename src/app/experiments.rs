//! Creating, changing and ending experiments and their variants.
//!
//! Invariant: a change is durable before it is answered, and decisions go by it from then on.
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::experiment::{Experiment, ExperimentState, Variant, VariantState};
use crate::domain::name::{Slug, TenantId};
use crate::domain::policy::Policy;
use crate::store::records::{self, key};
use crate::store::{Batch, Change, Outcome};

use super::registry::Live;
use super::writes::TRIES_MAX;
use super::{App, AppError, HOME, Kind};

mod creation;
mod deletion;

pub use creation::NewExperiment;

/// Most items of a page.
const PAGE_MAX: usize = 1_000;

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

    /// Adds a variant; a fixed policy gives it no share until its weights are updated. The same variant again changes nothing: it is a retry.
    pub async fn add_variant(
        &self,
        tenant: TenantId,
        id: &Slug,
        variant: (Slug, String),
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, now| {
            let is_same =
                |known: &Variant| known.id == variant.0 && known.display_name == variant.1;
            if experiment.variants.iter().any(is_same) {
                return Ok(());
            }
            experiment.add_variant(new_variant(&variant, now))?;
            if let Policy::Fixed { weights } = &mut experiment.settings.policy {
                weights.resize(experiment.variants.len(), 0.0);
            }
            Ok(())
        })
        .await
    }

    /// Takes a variant to another state; [`App::resume_variant`] puts it back.
    pub async fn move_variant(
        &self,
        tenant: TenantId,
        id: &Slug,
        variant: &str,
        to: VariantState,
        reason: &str,
    ) -> Result<Arc<Experiment>, AppError> {
        self.change_experiment(tenant, id, None, |experiment, _| {
            experiment.changeable()?;
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
        let nothing = |_: &Experiment| Ok(Vec::new());
        let changed = self.change_along(tenant, id, revision, apply, nothing);
        Ok(changed.await?.0)
    }

    /// Applies a change and stores it durably, with others of the first partition along in the same commit; also answers whether
    /// there was anything to change.
    pub(super) async fn change_along(
        &self,
        tenant: TenantId,
        id: &Slug,
        revision: Option<u64>,
        apply: impl Fn(&mut Experiment, Timestamp) -> Result<(), AppError>,
        along: impl Fn(&Experiment) -> Result<Vec<Change>, AppError>,
    ) -> Result<(Arc<Experiment>, bool), AppError> {
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
                // Perhaps changed a moment ago, by a call that could not be answered: it lasts, and decisions go by it, all the same.
                self.engine.flush().await?;
                if live.experiment().revision < before.revision {
                    self.serve_changed(&live, Arc::new(before), now);
                }
                return Ok((live.experiment(), false));
            }
            experiment.revision += 1;
            experiment.updated_at = now;
            let put = Change::Put {
                key: store_key,
                value: records::encode(&experiment)?,
                expected: Some(stored.version),
            };
            let mut changes = along(&experiment)?;
            changes.push(put);
            if let Outcome::Committed(ticket) = self.engine.commit(HOME, Batch { changes }).await? {
                self.engine.durable(ticket).await?;
                let experiment = Arc::new(experiment);
                self.serve_changed(&live, experiment.clone(), now);
                return Ok((experiment, true));
            }
        }
        Err(AppError::contended())
    }

    /// Decisions go by the changed experiment from now on.
    fn serve_changed(&self, live: &Live, experiment: Arc<Experiment>, now: Timestamp) {
        let expected = |tenant, objective| self.registry.expected_rate(tenant, objective);
        live.rebuild(experiment, now, &expected);
        self.changes.send_modify(|count| *count += 1);
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
