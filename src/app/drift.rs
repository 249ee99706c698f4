//! Judging the drift of flows about once a day: which half-lives predict best, and whether a rate changed.
//!
//! Invariant: a judgement takes effect only after the store took it, so a restart goes on from there.
use std::sync::Arc;

use crate::domain::change_point::ChangePoint;
use crate::domain::drift::Evidence;
use crate::domain::experiment::ExperimentKind;
use crate::store::records::{self, key};
use crate::store::{Batch, Change};

use super::registry::Live;
use super::{App, AppError, HOME};

impl App {
    /// Judges every flow whose last judgement is a day old; answers the changes of rates that were noticed.
    pub(super) async fn judge_drift(&self) -> Result<Vec<(Arc<Live>, ChangePoint)>, AppError> {
        let now = self.now();
        let mut noticed = Vec::new();
        for live in self.registry.lives() {
            let experiment = live.experiment();
            let mut drift = live.drift();
            if experiment.settings.kind != ExperimentKind::Flow || !drift.is_due(now) {
                continue;
            }
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
            let changes = drift.judge(&evidence, now);
            let put = Change::Put {
                key: key::drift(live.tenant, experiment.uid),
                value: records::encode(&drift)?,
                expected: None,
            };
            let batch = Batch { changes: vec![put] };
            self.engine.commit(HOME, batch).await?;
            live.set_drift(drift);
            for change in changes {
                tracing::info!(experiment = %experiment.id, ?change, "a rate changed");
                noticed.push((live.clone(), change));
            }
        }
        Ok(noticed)
    }
}
