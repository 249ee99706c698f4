//! Watching over experiments: quarantine, warnings, the end of probation, the stopping rule and the check of shares.
//!
//! Invariant: what is done and the alert about it are one commit, and only one is made at a time. A change by a person in between is
//! respected: whatever is done is decided again on the experiment as it is then.
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::alert::{Alert, AlertKind, Condition};
use crate::domain::event::DecisionEvent;
use crate::domain::experiment::{Experiment, ExperimentState, Objective, VariantState};
use crate::domain::guardrail::{Lateness, Measure, QUARANTINE_ABOVE, Reading, WARN_ABOVE};
use crate::domain::name::{ExperimentUid, Slug, TenantId, VariantIndex};
use crate::domain::oversight::{Oversight, Signal};
use crate::domain::reporting::Detail;
use crate::domain::sample_ratio;
use crate::store::records::{self, key};
use crate::store::{Batch, Change, Outcome, pace};

use super::registry::{Check, Live};
use super::{App, AppError, HOME, Results, SAFE_RELATIVE_LOSS};

mod texts;

use texts::{concludable, passed, skewed, stopped, warned};

/// The stopping rule no longer holds once the relative loss has grown to this many times its bound.
const LOSS_GROWN: f64 = 2.0;

// === impl App ===

impl App {
    /// After an event: tests the guardrails of its variant, at once. What cannot be done now is left to the maintenance.
    pub(super) async fn heed(
        &self,
        tenant: TenantId,
        uid: ExperimentUid,
        variant: VariantIndex,
        event: &DecisionEvent,
    ) {
        if !Measure::is_moved_by(event.kind) {
            return;
        }
        let Some(live) = self.registry.by_uid(tenant, uid) else {
            return;
        };
        let lateness = self.lateness(&live);
        if let Err(error) = self.guard(&live, variant, &lateness).await {
            tracing::warn!(%error, "a guardrail could not be acted on; the maintenance will");
        }
    }

    /// Checks every experiment that changed since it was last checked: the harm of its variants, then its results.
    pub async fn oversee(&self) -> Result<(), AppError> {
        self.check_all(Check::Harm).await?;
        self.check_all(Check::Whole).await
    }

    /// Checks every experiment that changed since it was last checked for this.
    pub(super) async fn check_all(&self, check: Check) -> Result<(), AppError> {
        let mut failed = None;
        for live in self.registry.lives() {
            pace::breathe();
            if !live.begin_check(check) || !is_watched(&live.experiment()) {
                continue;
            }
            let checked = match check {
                Check::Harm => self.guard_each(&live).await,
                Check::Whole => self.judge(&live).await,
            };
            failed = checked.err().or(failed);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Tests the guardrails of every variant.
    async fn guard_each(&self, live: &Arc<Live>) -> Result<(), AppError> {
        let lateness = self.lateness(live);
        for variant in live.experiment().live_variants() {
            pace::breathe();
            self.guard(live, variant, &lateness).await?;
        }
        Ok(())
    }

    /// Judges the results: probation, the stopping rule, the check of shares.
    async fn judge(&self, live: &Arc<Live>) -> Result<(), AppError> {
        let experiment = live.experiment();
        let lateness = self.lateness(live);
        let results = self.results_in(live.tenant, &experiment.id, Detail::Standing)?;
        for variant in experiment.variants_on_probation() {
            self.consider_probation(live, &results, &lateness, variant)
                .await?;
        }
        self.consider_whole(live, &results).await
    }

    /// How late harm comes in an experiment, by what it has seen so far.
    fn lateness(&self, live: &Live) -> Lateness {
        let of_clicks = live.delay(Objective::Click).curve;
        Lateness::judged(&of_clicks, &live.sums().harm_delays(self.now()))
    }

    fn readings(
        &self,
        live: &Live,
        variant: VariantIndex,
        lateness: &Lateness,
        now: Timestamp,
    ) -> Vec<Reading> {
        let experiment = live.experiment();
        let total = live.sums().harm(experiment.uid, variant, now);
        let half_life_hours = experiment.half_life_hours();
        let oversight = live.oversight();
        let evidence = oversight.evidence(variant, &total, half_life_hours, now);
        experiment.settings.guardrails.readings(&evidence, lateness)
    }

    /// Quarantines a variant whose guardrail is broken; warns, or ends a warning, otherwise.
    async fn guard(
        &self,
        live: &Arc<Live>,
        variant: VariantIndex,
        lateness: &Lateness,
    ) -> Result<(), AppError> {
        let experiment = live.experiment();
        let is_eligible = experiment
            .variant(variant)
            .is_some_and(|variant| variant.state.is_eligible());
        if !is_watched(&experiment) || !is_eligible {
            return Ok(());
        }
        let now = self.now();
        let readings = self.readings(live, variant, lateness, now);
        if broken(&readings).is_some() {
            return self.quarantine(live, variant, lateness).await;
        }
        let noted = readings.iter().map(|reading| {
            let condition = Condition::warning(variant, reading.measure);
            let alert = || warned(&experiment, variant, reading, now);
            (condition, Signal::of(reading), alert)
        });
        self.note(live, noted).await
    }

    async fn quarantine(
        &self,
        live: &Arc<Live>,
        variant: VariantIndex,
        lateness: &Lateness,
    ) -> Result<(), AppError> {
        let _turn = self.alerts.turn.lock().await;
        let now = self.now();
        // Read again: a person may have put the variant back while this waited for its turn.
        let readings = self.readings(live, variant, lateness, now);
        let Some(reading) = broken(&readings) else {
            return Ok(());
        };
        let reason = reading.describe();
        let alerts = |after: &Experiment| stopped(after, variant, reading, now);
        let id = live.experiment().id.clone();
        let along = |after: &Experiment| Ok(self.alerts.changes(live.tenant, &alerts(after))?);
        let (after, is_changed) = self
            .change_along(
                live.tenant,
                &id,
                None,
                |experiment, _| {
                    experiment.quarantine(variant, &reason);
                    Ok(())
                },
                along,
            )
            .await?;
        if is_changed {
            self.alerts.publish(live.tenant, alerts(&after));
        }
        Ok(())
    }

    /// Makes a variant live that has matured on probation and has no guardrail against it.
    async fn consider_probation(
        &self,
        live: &Arc<Live>,
        results: &Results,
        lateness: &Lateness,
        variant: VariantIndex,
    ) -> Result<(), AppError> {
        let now = self.now();
        let experiment = live.experiment();
        let trials_min = experiment.settings.probation.matured_trials_min as f64;
        let shown = results.variants.get(usize::from(variant.0));
        let trials = shown.map_or(0.0, |shown| shown.effective_trials);
        let readings = self.readings(live, variant, lateness, now);
        let is_clean = readings
            .iter()
            .all(|reading| reading.probability <= WARN_ABOVE);
        if trials < trials_min || !is_clean {
            return Ok(());
        }
        let _turn = self.alerts.turn.lock().await;
        let alerts = |after: &Experiment| vec![passed(after, variant, trials, now)];
        let along = |after: &Experiment| Ok(self.alerts.changes(live.tenant, &alerts(after))?);
        let (after, is_changed) = self
            .change_along(
                live.tenant,
                &experiment.id,
                None,
                |experiment, _| {
                    experiment.end_probation(variant);
                    Ok(())
                },
                along,
            )
            .await?;
        if is_changed {
            self.alerts.publish(live.tenant, alerts(&after));
        }
        Ok(())
    }

    /// The stopping rule and the check of shares.
    async fn consider_whole(&self, live: &Arc<Live>, results: &Results) -> Result<(), AppError> {
        let experiment = &results.experiment;
        let conclude = match results.safe_to_conclude {
            true => Signal::Raised,
            false if results.relative_loss > LOSS_GROWN * SAFE_RELATIVE_LOSS => Signal::Calm,
            false => Signal::Unclear,
        };
        let evidence = results.ratio.evidence;
        let ratio = if results.ratio.alarm {
            Signal::Raised
        } else if evidence < sample_ratio::CALM_BELOW {
            Signal::Calm
        } else {
            Signal::Unclear
        };
        let safe: &(dyn Fn() -> Alert + Sync) = &|| concludable(experiment, results);
        let skewed: &(dyn Fn() -> Alert + Sync) = &|| skewed(experiment, results);
        let noted = [
            (Condition::of(AlertKind::SafeToConclude), conclude, safe),
            (Condition::of(AlertKind::SampleRatio), ratio, skewed),
        ];
        self.note(live, noted.into_iter()).await
    }

    /// Remembers which conditions began or ended, and raises alerts about those that began.
    async fn note(
        &self,
        live: &Arc<Live>,
        noted: impl Iterator<Item = (Condition, Signal, impl Fn() -> Alert)>,
    ) -> Result<(), AppError> {
        let noted: Vec<_> = noted.collect();
        let mut glimpse = live.oversight().clone();
        let is_news = |(condition, signal, _): &(Condition, Signal, _)| {
            glimpse.note(*condition, *signal).is_some()
        };
        if !noted.iter().any(is_news) {
            return Ok(());
        }
        let _turn = self.alerts.turn.lock().await;
        let mut oversight = live.oversight().clone();
        let mut alerts = Vec::new();
        for (condition, signal, alert) in &noted {
            if oversight.note(*condition, *signal) == Some(Signal::Raised) {
                alerts.push(alert());
            }
        }
        let mut changes = self.alerts.changes(live.tenant, &alerts)?;
        changes.push(oversight_change(
            live.tenant,
            live.experiment().uid,
            &oversight,
        )?);
        if let Outcome::Committed(ticket) = self.engine.commit(HOME, Batch { changes }).await? {
            self.engine.durable(ticket).await?;
            *live.oversight() = oversight;
            self.alerts.publish(live.tenant, alerts);
        }
        Ok(())
    }

    /// Puts a paused or quarantined variant back.
    ///
    /// The evidence so far does not quarantine it again: guardrails go by what comes after. A variant that joined a started
    /// experiment comes back on probation.
    pub async fn resume_variant(
        &self,
        tenant: TenantId,
        id: &Slug,
        variant: &str,
    ) -> Result<Arc<Experiment>, AppError> {
        let live = self
            .registry
            .by_name(tenant, id)
            .ok_or_else(|| AppError::no_experiment(id.as_str()))?;
        let _turn = self.alerts.turn.lock().await;
        let now = self.now();
        let before = live.experiment();
        let quarantined = before.variant_index(variant).filter(|index| {
            before
                .variant(*index)
                .is_some_and(|variant| variant.state == VariantState::Quarantined)
        });
        let oversight = quarantined.map(|index| {
            let evidence = live.sums().harm(before.uid, index, now);
            let mut oversight = live.oversight().clone();
            oversight.start_afresh(index, evidence, now);
            oversight
        });
        let along = |after: &Experiment| match &oversight {
            Some(oversight) => Ok(vec![oversight_change(tenant, after.uid, oversight)?]),
            None => Ok(Vec::new()),
        };
        let apply = |experiment: &mut Experiment, _| {
            experiment.changeable()?;
            Ok(experiment.move_variant(variant, VariantState::Live, "")?)
        };
        let (after, is_changed) = self.change_along(tenant, id, None, apply, along).await?;
        if let Some(oversight) = oversight.filter(|_| is_changed) {
            *live.oversight() = oversight;
        }
        Ok(after)
    }
}

/// The guardrail that is most certainly broken.
fn broken(readings: &[Reading]) -> Option<&Reading> {
    readings
        .iter()
        .filter(|reading| reading.probability > QUARANTINE_ABOVE)
        .max_by(|one, other| one.probability.total_cmp(&other.probability))
}

fn is_watched(experiment: &Experiment) -> bool {
    matches!(
        experiment.state,
        ExperimentState::Running | ExperimentState::Paused
    )
}

fn oversight_change(
    tenant: TenantId,
    uid: ExperimentUid,
    oversight: &Oversight,
) -> Result<Change, AppError> {
    Ok(Change::Put {
        key: key::oversight(tenant, uid),
        value: records::encode(oversight)?,
        expected: None,
    })
}
