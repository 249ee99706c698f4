//! The use cases under faults: commits refused, conflicts made up, flushes slow or failing, crashes between any two steps, and a clock that
//! jumps backwards and over changes of daylight saving time.
//!
//! Invariant: a history follows from its seed. What is promised: an acknowledged event counts once and for ever, an answer whose commit
//! was flushed is given again, sums are what the touches add up to, and every call ends.
mod audit;
mod call;
mod crew;
mod engine;
mod history;
mod witness;

use serde::Serialize;

use crate::lab::LabError;
use crate::lab::parallel::{Progress, in_parallel};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "faults",
    about: "thousands of histories under failing commits, slow flushes, crashes and a jumping clock",
};

/// Violations that a report names.
const NAMED_MAX: usize = 20;

/// Histories, and what goes wrong in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Histories.
    pub histories: u64,
    /// Seed of the first.
    pub seed: u64,
    /// Steps of each; a call takes a few.
    pub steps: u64,
    /// Chance that a commit is refused.
    pub refused: f64,
    /// Chance that a conditional commit is told of a conflict that is none.
    pub conflict: f64,
    /// Chance that a flush fails.
    pub flush_fails: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            histories: 2_000,
            seed: 1,
            steps: 1_500,
            refused: 0.03,
            conflict: 0.1,
            flush_fails: 0.05,
        }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// The seed of the history.
    pub seed: u64,
    /// What was seen.
    pub what: String,
}

/// All that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Histories.
    pub histories: u64,
    /// Calls sent.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls refused.
    pub refused: u64,
    /// Calls cut off by a crash.
    pub cut_off: u64,
    /// Crashes.
    pub crashes: u64,
    /// Commits that crashes took.
    pub commits_lost: u64,
    /// Commits refused on purpose.
    pub commits_refused: u64,
    /// Conflicts made up.
    pub conflicts: u64,
    /// Flushes that failed on purpose.
    pub flushes_failed: u64,
    /// Acknowledged events looked for at the end.
    pub events_promised: u64,
    /// Histories that broke a promise.
    pub broken: u64,
    /// The first broken promises.
    pub violations: Vec<Violation>,
    /// Says whether two runs were the same.
    pub digest: u64,
}

/// Plays the histories.
///
/// # Errors
/// The options make no history, or something failed that no fault explains.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    let is_chance = |chance: f64| (0.0..=0.5).contains(&chance);
    if ![options.refused, options.conflict, options.flush_fails]
        .into_iter()
        .all(is_chance)
    {
        return Err(LabError::Nothing(
            "chances of faults must be 0 to 0.5".to_owned(),
        ));
    }
    let seeds: Vec<u64> = (0..options.histories)
        .map(|at| options.seed.wrapping_add(at))
        .collect();
    progress.begin("histories", options.histories);
    let lived = in_parallel(&seeds, |seed| {
        let lived = history::live(options, *seed)?;
        progress.advance(1);
        Ok(lived)
    })?;
    Ok(lived.into_iter().fold(Report::default(), Report::with))
}

// === impl Report ===

impl Report {
    fn with(mut self, lived: history::Lived) -> Self {
        let [refused, conflicts, flushes] = lived.struck;
        self.histories += 1;
        self.calls += lived.calls;
        self.answered += lived.answered;
        self.refused += lived.refused;
        self.cut_off += lived.calls - lived.answered - lived.refused;
        self.crashes += lived.crashes;
        self.commits_lost += lived.commits_lost;
        self.commits_refused += refused;
        self.conflicts += conflicts;
        self.flushes_failed += flushes;
        self.events_promised += lived.promised;
        self.broken += u64::from(!lived.violations.is_empty());
        self.digest = self.digest.rotate_left(1) ^ lived.digest;
        for what in lived.violations {
            if self.violations.len() < NAMED_MAX {
                self.violations.push(Violation {
                    seed: lived.seed,
                    what,
                });
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(histories: u64) -> Options {
        Options {
            histories,
            ..Options::default()
        }
    }

    #[test]
    fn no_promise_is_broken_under_faults() {
        let report = run(&options(60), &()).unwrap();
        assert_eq!(report.violations, []);
        let happened = [
            report.crashes,
            report.commits_lost,
            report.commits_refused,
            report.conflicts,
            report.flushes_failed,
            report.events_promised,
            report.cut_off,
        ];
        assert!(happened.iter().all(|count| *count > 100), "{report:?}");
    }

    #[test]
    fn a_history_follows_from_its_seed() {
        let one = run(&options(4), &()).unwrap();
        assert_eq!(run(&options(4), &()).unwrap(), one);
        let other = Options {
            seed: 77,
            ..options(4)
        };
        assert_ne!(run(&other, &()).unwrap().digest, one.digest);
    }
}
