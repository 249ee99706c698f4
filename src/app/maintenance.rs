//! What is done from time to time, off the path of decisions, and may commit: a list of steps, each with its own interval.
//!
//! Invariant: a step that fails is reported and tried again when it is next due; the others run all the same. The clock is the use
//! cases' own, so virtual time drives it as well. What a step does is left to the file it comes from.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::registry::Check;
use super::{App, AppError};

/// One thing done from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaintenanceStep {
    /// Moves planned trials and matured hours to where they count.
    Fold,
    /// Deletes logged decisions that are past the retention.
    PruneDecisionLog,
    /// Tests the guardrails of experiments, besides the test at each event that moves them.
    Guard,
    /// Judges the results of experiments: probation, the stopping rule, the check of shares. It integrates over all variants, which takes
    /// milliseconds an experiment, and nobody waits for it.
    Judge,
    /// Sees whether many answers were given as for somebody unknown.
    CheckFallbacks,
    /// Fits chronotypes to a sample of the recipients.
    Chronotypes,
    /// Judges the drift of flows.
    JudgeDrift,
    /// Cleans recipients, touches and marks of erasures that are past their time.
    Clean,
    /// Removes backups that are past their time.
    ExpireBackups,
}

/// What one round of maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// The steps that were due and succeeded, in order.
    pub done: Vec<MaintenanceStep>,
    /// The steps that were due and failed, with what went wrong.
    pub failed: Vec<(MaintenanceStep, AppError)>,
}

/// When each step last began, milliseconds since 1970.
#[derive(Default)]
pub(super) struct Schedule {
    begun_at_ms: Mutex<BTreeMap<MaintenanceStep, i64>>,
}

// === impl MaintenanceStep ===

impl MaintenanceStep {
    /// All steps, in the order in which they run.
    pub const ALL: [Self; 9] = [
        Self::Fold,
        Self::PruneDecisionLog,
        Self::Guard,
        Self::Judge,
        Self::CheckFallbacks,
        Self::Chronotypes,
        Self::JudgeDrift,
        Self::Clean,
        Self::ExpireBackups,
    ];

    /// Its name, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::PruneDecisionLog => "prune_decision_log",
            Self::Guard => "guard",
            Self::Judge => "judge",
            Self::CheckFallbacks => "check_fallbacks",
            Self::Chronotypes => "chronotypes",
            Self::JudgeDrift => "judge_drift",
            Self::Clean => "clean",
            Self::ExpireBackups => "expire_backups",
        }
    }

    /// Shortest time from one start to the next, milliseconds; 0 for every round.
    pub const fn interval_ms(self) -> i64 {
        match self {
            Self::Fold => 0,
            Self::PruneDecisionLog => 10_000,
            Self::Guard | Self::Clean => 5_000,
            Self::Judge | Self::CheckFallbacks | Self::JudgeDrift | Self::ExpireBackups => 60_000,
            Self::Chronotypes => 24 * 3_600_000,
        }
    }
}

// === impl Schedule ===

impl Schedule {
    /// Whether a step is due; if so it counts as begun now. A clock that went back makes it due.
    fn begin(&self, step: MaintenanceStep, now: Timestamp) -> bool {
        let now_ms = now.as_millisecond();
        let mut begun = self
            .begun_at_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let age_ms = begun.get(&step).map(|at_ms| now_ms - at_ms);
        let is_due = age_ms.is_none_or(|age_ms| !(0..step.interval_ms()).contains(&age_ms));
        if is_due {
            begun.insert(step, now_ms);
        }
        is_due
    }
}

// === impl App ===

impl App {
    /// Runs every step that is due; call it every few seconds, besides [`App::refresh`].
    pub async fn maintain(&self) -> MaintenanceReport {
        let mut report = MaintenanceReport::default();
        for step in MaintenanceStep::ALL {
            if !self.schedule.begin(step, self.now()) {
                continue;
            }
            match self.run(step).await {
                Ok(()) => report.done.push(step),
                Err(error) => report.failed.push((step, error)),
            }
        }
        report
    }

    async fn run(&self, step: MaintenanceStep) -> Result<(), AppError> {
        match step {
            MaintenanceStep::Fold => self.fold().await.map(|_| ()),
            MaintenanceStep::PruneDecisionLog => self.prune_decision_log().await.map(|_| ()),
            MaintenanceStep::Guard => self.check_all(Check::Harm).await,
            MaintenanceStep::Judge => self.check_all(Check::Whole).await,
            MaintenanceStep::CheckFallbacks => self.check_fallbacks().await,
            MaintenanceStep::Chronotypes => self.fit_chronotypes().await,
            MaintenanceStep::JudgeDrift => self.judge_drift().await.map(|_| ()),
            MaintenanceStep::Clean => self.clean().await,
            MaintenanceStep::ExpireBackups => {
                self.expire_backups();
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    #[test]
    fn a_step_is_due_at_first_and_again_after_its_interval_or_when_the_clock_went_back() {
        for step in MaintenanceStep::ALL {
            let schedule = Schedule::default();
            assert!(schedule.begin(step, at(0)), "{}", step.as_str());
            let again = step.interval_ms();
            assert_eq!(schedule.begin(step, at(again - 1)), again == 0);
            assert!(schedule.begin(step, at(again)));
            assert!(schedule.begin(step, at(-1)));
        }
    }

    #[test]
    fn names_of_steps_are_unique() {
        let mut names: Vec<&str> = MaintenanceStep::ALL.map(MaintenanceStep::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MaintenanceStep::ALL.len());
    }
}
