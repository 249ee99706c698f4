//! Judging the drift of flows about once a day: which half-lives predict best, and whether a rate changed, which raises an alert.
//!
//! Invariant: a judgement and its alerts are one commit and take effect only after the store took it, so a restart goes on from there
//! and a change is told once.
use jiff::Timestamp;

use crate::domain::alert::{Alert, AlertKind};
use crate::domain::change_point::ChangePoint;
use crate::domain::drift::{Drift, Evidence};
use crate::domain::experiment::{Experiment, ExperimentKind, Objective};
use crate::store::records::{self, key};
use crate::store::{Batch, Change, Outcome, pace};

use super::registry::Live;
use super::{App, AppError, HOME};

impl App {
    /// Judges every flow whose last judgement is a day old, and raises an alert for every change of a rate that is noticed.
    pub(super) async fn judge_drift(&self) -> Result<(), AppError> {
        let now = self.now();
        for live in self.registry.lives() {
            pace::breathe();
            let mut drift = live.drift();
            if live.experiment().settings.kind == ExperimentKind::Flow && drift.is_due(now) {
                let changes = self.judge_one(&live, &mut drift, now);
                self.keep_drift(&live, drift, &changes).await?;
            }
        }
        Ok(())
    }

    fn judge_one(&self, live: &Live, drift: &mut Drift, now: Timestamp) -> Vec<ChangePoint> {
        let experiment = live.experiment();
        let expected = |tenant, objective| self.registry.expected_rate(tenant, objective);
        let beliefs = live.beliefs(&expected);
        let belief = beliefs.of(experiment.settings.objective);
        let cells = live.sums().due_tracks(now);
        let evidence = Evidence {
            cells: &cells,
            variants: experiment.variants.len(),
            objective: experiment.settings.objective,
            prior: belief.prior,
            curve: &belief.curve,
        };
        drift.judge(&evidence, now)
    }

    async fn keep_drift(
        &self,
        live: &Live,
        drift: Drift,
        changes: &[ChangePoint],
    ) -> Result<(), AppError> {
        let experiment = live.experiment();
        let _turn = self.alerts.turn.lock().await;
        let now = self.now();
        let told = changes.iter().map(|change| alert(&experiment, change, now));
        let alerts: Vec<Alert> = told.collect();
        let mut batch = self.alerts.changes(live.tenant, &alerts)?;
        batch.push(Change::Put {
            key: key::drift(live.tenant, experiment.uid),
            value: records::encode(&drift)?,
            expected: None,
        });
        let committed = self.engine.commit(HOME, Batch { changes: batch }).await?;
        if let Outcome::Committed(ticket) = committed {
            if !alerts.is_empty() {
                self.engine.durable(ticket).await?;
            }
            live.set_drift(drift);
            self.alerts.publish(live.tenant, alerts);
        }
        Ok(())
    }
}

/// The alert about a change: who, from what to what, and about when.
fn alert(experiment: &Experiment, change: &ChangePoint, now: Timestamp) -> Alert {
    let ChangePoint {
        variant,
        changed_at_ms,
        noticed_at_ms: _,
        rate_before,
        rate_after,
    } = *change;
    let variant = variant.and_then(|at| Some(experiment.variant(at)?.id.clone()));
    let who = match &variant {
        Some(id) => format!("variant {id} of experiments/{}", experiment.id),
        None => format!("all variants of experiments/{}", experiment.id),
    };
    let changed_at = Timestamp::from_millisecond(changed_at_ms).unwrap_or(now);
    Alert {
        kind: AlertKind::RateChanged,
        experiment: Some(experiment.id.clone()),
        variant,
        text: format!(
            "the rate of {} of {who} went from {:.3} % to {:.3} % about {}; look for what changed then",
            response(experiment.settings.objective),
            100.0 * rate_before,
            100.0 * rate_after,
            changed_at.strftime("%Y-%m-%d %H:%M UTC"),
        ),
        numbers: vec![
            ("rate_before".to_owned(), rate_before),
            ("rate_after".to_owned(), rate_after),
            ("change_unix_seconds".to_owned(), changed_at_ms as f64 / 1e3),
        ],
        raised_at: now,
    }
}

/// The kind of response whose rate drift is judged by.
fn response(objective: Objective) -> &'static str {
    match objective.counted() {
        Objective::Open => "opens",
        Objective::Conversion | Objective::Value => "conversions",
        Objective::Click | Objective::Utility => "clicks",
    }
}
