//! How exact the probabilities of being best are, and how long a refresh takes.
//!
//! Invariant: errors repeat with the seed; times are the machine's. The yardstick is computed another way in higher precision.
mod double_double;
mod reference;
mod sets;
mod timing;

use serde::Serialize;

use crate::domain::quadrature::best_arm;
use crate::lab::LabError;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;
use reference::reference;
pub use sets::Kind;
pub use timing::{RefreshTime, What};

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "best-arm",
    about: "probabilities of being best against high-precision references, and the time of a refresh",
};

/// Arms in the sets.
const ARMS: [usize; 5] = [2, 3, 10, 100, 1_000];
/// Sets of many arms are fewer: arms times sets are this at most.
const WORK_MAX: usize = 1_000;

/// How much to measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Sets of each kind and number of arms; fewer where there are many arms; 0 for none.
    pub sets: usize,
    /// Refreshes to time of 10 arms; a tenth of them of 1,000 arms; 0 for none.
    pub refreshes: usize,
    /// Fixes the sets.
    pub seed: u64,
}

/// Errors over the sets of one kind and number of arms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Arms in each set.
    pub arms: usize,
    /// Sets.
    pub sets: usize,
    /// Largest error of a probability.
    pub error_max: f64,
    /// Largest error of the expected maximum, an expected rate.
    pub maximum_error_max: f64,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How much was measured.
    pub options: Options,
    /// Errors.
    pub rows: Vec<Row>,
    /// Times of a refresh.
    pub times: Vec<RefreshTime>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sets: 20,
            refreshes: 5_000,
            seed: 1,
        }
    }
}

/// Compares all sets with their references, then takes the time.
///
/// # Errors
/// There is nothing to measure.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    if options.sets == 0 && options.refreshes == 0 {
        return Err(LabError::Nothing("needs a set or a refresh".to_owned()));
    }
    // Large sets first, so that no core is left alone with one at the end.
    let sizes = ARMS
        .into_iter()
        .rev()
        .flat_map(|arms| Kind::ALL.map(|kind| (kind, arms)));
    let sizes: Vec<(Kind, usize)> = sizes.collect();
    let jobs: Vec<(Kind, usize, usize)> = sizes
        .iter()
        .flat_map(|(kind, arms)| (0..options.sets_of(*arms)).map(|number| (*kind, *arms, number)))
        .collect();
    progress.begin("sets", jobs.len() as u64);
    let errors = in_parallel(&jobs, |(kind, arms, number)| {
        let errors = compare(*kind, *arms, *number, options.seed);
        progress.advance(1);
        Ok(errors)
    })?;
    let row = |(kind, arms): &(Kind, usize)| {
        let of_row = |job: &(Kind, usize, usize)| (job.0, job.1) == (*kind, *arms);
        let errors = jobs.iter().zip(&errors).filter(|(job, _)| of_row(job));
        let (error_max, maximum_error_max) = errors.fold((0.0f64, 0.0f64), |most, (_, errors)| {
            (most.0.max(errors.0), most.1.max(errors.1))
        });
        Row {
            kind: *kind,
            arms: *arms,
            sets: options.sets_of(*arms),
            error_max,
            maximum_error_max,
        }
    };
    let mut rows: Vec<Row> = sizes.iter().map(row).collect();
    rows.sort_by_key(|row| {
        (
            Kind::ALL.iter().position(|kind| *kind == row.kind),
            row.arms,
        )
    });
    Ok(Report {
        options: options.clone(),
        rows,
        times: timing::refreshes(options.refreshes, options.seed)?,
    })
}

/// Errors of the probabilities and of the expected maximum in one set.
fn compare(kind: Kind, arms: usize, number: usize, seed: u64) -> (f64, f64) {
    let mut stream = Stream::new(StreamName {
        seed,
        world: &format!("{kind:?}, {arms} arms"),
        purpose: &format!("set {number}"),
    });
    let arms = kind.arms(arms, &mut stream);
    let (got, exact) = (best_arm(&arms), reference(&arms));
    let errors = got.probability.iter().zip(&exact.probability);
    (
        errors
            .map(|(got, exact)| (got - exact).abs())
            .fold(0.0, f64::max),
        (got.expected_maximum - exact.expected_maximum).abs(),
    )
}

// === impl Options ===

impl Options {
    fn sets_of(&self, arms: usize) -> usize {
        self.sets.min((WORK_MAX / arms).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sets_of_every_kind_are_exact() {
        for kind in Kind::ALL {
            for arms in [2, 3, 10] {
                let (error, maximum_error) = compare(kind, arms, 0, 1);
                assert!(
                    error < 1e-9 && maximum_error < 1e-9,
                    "{kind:?}, {arms} arms: {error:e}, {maximum_error:e}"
                );
            }
        }
    }

    #[test]
    fn a_seed_fixes_the_sets() {
        assert_eq!(
            compare(Kind::Random, 3, 1, 7),
            compare(Kind::Random, 3, 1, 7)
        );
        let nothing = Options {
            sets: 0,
            refreshes: 0,
            seed: 1,
        };
        assert!(matches!(run(&nothing, &()), Err(LabError::Nothing(_))));
    }
}
