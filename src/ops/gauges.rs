//! Reads what the use cases and the engine count, and passes it on as metrics.
use crate::app::App;
use crate::domain::experiment::ExperimentState;

/// States as metric labels, in the order of an experiment's life.
const STATES: [(ExperimentState, &str); 4] = [
    (ExperimentState::Draft, "draft"),
    (ExperimentState::Running, "running"),
    (ExperimentState::Paused, "paused"),
    (ExperimentState::Concluded, "concluded"),
];

/// Sets all gauges and absolute counters.
pub fn record(app: &App) {
    let states = app.experiment_states();
    for (state, label) in STATES {
        let count = states.iter().filter(|of| **of == state).count();
        metrics::gauge!("hermod_experiments", "state" => label).set(count as f64);
    }
    let engine = app.engine_statistics();
    metrics::counter!("hermod_store_commits_total").absolute(engine.commits);
    metrics::counter!("hermod_store_conflicts_total").absolute(engine.conflicts);
    metrics::counter!("hermod_store_flushes_total").absolute(engine.flushes);
    metrics::counter!("hermod_store_folds_total").absolute(engine.folds);
    metrics::gauge!("hermod_store_keys").set(engine.keys as f64);
    metrics::gauge!("hermod_store_bytes").set(engine.stored_bytes as f64);
    metrics::gauge!("hermod_store_unfolded_bytes").set(engine.unfolded_bytes as f64);
    metrics::gauge!("hermod_store_journal_bytes").set(engine.journal_bytes as f64);
    metrics::gauge!("hermod_store_healthy").set(f64::from(u8::from(app.health().is_ok())));
}
