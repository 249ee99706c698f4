//! Reads what the use cases and the engine count, and passes it on as metrics.
use crate::app::{App, RetentionStatistics};
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
    let log = app.log_statistics();
    metrics::counter!("hermod_decision_log_entries_total").absolute(log.written);
    metrics::counter!("hermod_decision_log_bytes_total").absolute(log.written_bytes);
    metrics::counter!("hermod_decision_log_expired_total").absolute(log.expired);
    let age_ms = log
        .oldest_at_ms
        .map_or(0, |at_ms| app.now().as_millisecond() - at_ms);
    metrics::gauge!("hermod_decision_log_oldest_age_seconds").set(age_ms as f64 / 1_000.0);
    metrics::gauge!("hermod_recipients").set(app.recipients_kept_in_all() as f64);
    record_retention(app);
    let backups = app.backup_statistics();
    let seconds = backups
        .last_at_ms
        .map_or(0.0, |at_ms| at_ms as f64 / 1_000.0);
    metrics::gauge!("hermod_backup_last_timestamp_seconds").set(seconds);
    metrics::gauge!("hermod_backup_last_bytes").set(backups.last_bytes as f64);
    metrics::counter!("hermod_backup_failures_total").absolute(backups.failures);
    metrics::gauge!("hermod_store_healthy").set(f64::from(u8::from(app.health().is_ok())));
}

fn record_retention(app: &App) {
    let RetentionStatistics {
        recipients,
        reduced,
        touches,
        erasures,
        finished_at_ms,
    } = app.retention_statistics();
    let removed = [
        ("recipient", recipients),
        ("reduced", reduced),
        ("touch", touches),
        ("erasure_mark", erasures),
    ];
    for (what, count) in removed {
        metrics::counter!("hermod_retention_removed_total", "what" => what).absolute(count);
    }
    let age_ms = finished_at_ms.map_or(0, |at_ms| app.now().as_millisecond() - at_ms);
    metrics::gauge!("hermod_retention_pass_age_seconds").set(age_ms as f64 / 1_000.0);
}
