//! Draws from an alias table are Thompson draws: counted against the probabilities of being best and against draws from the posteriors.
//!
//! Invariant: draws are made as on a server, from the keyed hash of recipient and occasion. How exact the probabilities are is measured elsewhere.
mod counts;
mod use_cases;

use rand_distr::Beta;
use serde::Serialize;

use crate::domain::allocation::Allocation;
use crate::domain::draws::Seed;
use crate::domain::name::{ExperimentUid, RecipientKey};
use crate::domain::quadrature::best_arm;
use crate::domain::shape::BetaShape;
use crate::lab::LabError;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;
use super::chapelle_li::highest;
use counts::{ChiSquare, Weighted};

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "alias",
    about: "draws from an alias table against the probabilities of being best, and against draws from the posteriors",
};

/// The floor under which logged propensities are checked.
const FLOOR: f64 = 0.02;
/// Draws of one job.
const CHUNK: u64 = 500_000;
/// Direct draws are this many at most, times arms.
const DIRECT_WORK_MAX: u64 = 100_000_000;

/// How much to draw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Draws from each alias table.
    pub draws: u64,
    /// Draws straight from the posteriors; fewer where there are more than 50 arms.
    pub direct_draws: u64,
    /// Decisions through the use cases.
    pub decisions: u64,
    /// Fixes all draws.
    pub seed: u64,
}

/// What was counted for one set of posteriors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The posteriors.
    pub what: String,
    /// How many.
    pub arms: usize,
    /// Draws.
    pub draws: u64,
    /// Against the probabilities of being best; against the stated propensities in the row of the use cases.
    pub fit: ChiSquare,
    /// Against draws straight from the posteriors.
    pub direct: Option<ChiSquare>,
    /// Mean of `1{a} / p` under a floor of 2 %, averaged over the arms.
    pub identity: Weighted,
    /// Share of the arms whose own mean of `1{a} / p` is within three standard errors of one.
    pub arms_within: f64,
}

/// All that was counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How much was drawn.
    pub options: Options,
    /// One row for each set of posteriors, and one for the use cases.
    pub rows: Vec<Row>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            draws: 10_000_000,
            direct_draws: 2_000_000,
            decisions: 100_000,
            seed: 1,
        }
    }
}

/// Draws and counts.
///
/// # Errors
/// The options leave nothing to count.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    if options.draws < 10_000 || options.direct_draws < 1_000 || options.decisions < 1_000 {
        let what = "needs 10,000 draws, 1,000 direct draws and 1,000 decisions at least";
        return Err(LabError::Nothing(what.to_owned()));
    }
    let sets = posteriors(options.seed);
    let works = sets
        .iter()
        .map(|(_, arms)| options.jobs(arms.len()).len() as u64);
    progress.begin("half millions of draws", works.sum());
    let mut rows = Vec::new();
    for (what, arms) in sets {
        rows.push(counted(what, &arms, options, progress)?);
    }
    rows.push(use_cases::counted(options)?);
    Ok(Report {
        options: options.clone(),
        rows,
    })
}

/// A part of the draws of one set.
#[derive(Clone, Copy, Debug)]
enum Job {
    /// From the table, by recipients from one number to another.
    Alias { from: u64, to: u64 },
    /// From the posteriors, so many.
    Direct { number: u64, draws: u64 },
}

/// What a job counted, by arm.
enum Counted {
    Alias { plain: Vec<u64>, floored: Vec<u64> },
    Direct(Vec<u64>),
}

// === impl Options ===

impl Options {
    fn jobs(&self, arms: usize) -> Vec<Job> {
        let alias = (0..self.draws.div_ceil(CHUNK)).map(|chunk| Job::Alias {
            from: chunk * CHUNK,
            to: ((chunk + 1) * CHUNK).min(self.draws),
        });
        let direct = self.direct_draws.min(DIRECT_WORK_MAX / arms as u64);
        // Direct draws cost more for each arm.
        let share = (CHUNK / arms as u64).max(1);
        let direct = (0..direct.div_ceil(share)).map(|number| Job::Direct {
            number,
            draws: share.min(direct - number * share),
        });
        alias.chain(direct).collect()
    }
}

/// Three sets: an early campaign, one that is nearly decided, and a thousand subject lines.
fn posteriors(seed: u64) -> [(String, Vec<BetaShape>); 3] {
    let shape = |trials: f64, rate: f64| {
        BetaShape::clamped(1.0 + trials * rate, 9.0 + trials * (1.0 - rate))
    };
    let early = [0.20, 0.21, 0.22, 0.24].map(|rate| shape(300.0, rate));
    let late = (0..10).map(|arm| {
        shape(
            40_000.0 / f64::from(1 + arm),
            0.051 - 0.001 * f64::from(arm),
        )
    });
    let mut stream = Stream::new(StreamName {
        seed,
        world: "alias",
        purpose: "posteriors",
    });
    let many = (0..1_000).map(|_| {
        let trials = 10f64.powf(1.0 + 3.0 * stream.unit());
        shape(trials, 0.15 + 0.1 * stream.unit())
    });
    [
        ("early campaign".to_owned(), early.to_vec()),
        ("nearly decided".to_owned(), late.collect()),
        ("a thousand lines".to_owned(), many.collect()),
    ]
}

fn counted(
    what: String,
    arms: &[BetaShape],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Row, LabError> {
    let best = best_arm(arms).probability;
    let defect = |_| LabError::Defect("probabilities of being best are none");
    let (plain, floored) = (
        Allocation::new(&best, 0.0).map_err(defect)?,
        Allocation::new(&best, FLOOR).map_err(defect)?,
    );
    let direct: Vec<Beta<f64>> = arms
        .iter()
        .map(|shape| Beta::new(shape.alpha(), shape.beta()))
        .collect::<Result<_, _>>()
        .map_err(|_| LabError::Defect("a posterior cannot be drawn from"))?;
    let parts = in_parallel(&options.jobs(arms.len()), |job| {
        let counted = match *job {
            Job::Alias { from, to } => from_tables(&plain, &floored, options.seed, from..to),
            Job::Direct { number, draws } => {
                Counted::Direct(from_posteriors(&what, &direct, options.seed, number, draws))
            }
        };
        progress.advance(1);
        Ok(counted)
    })?;
    let mut sums = [(); 3].map(|()| vec![0; arms.len()]);
    for part in parts {
        let [from_plain, from_floored, from_direct] = &mut sums;
        match part {
            Counted::Alias { plain, floored } => {
                add(from_plain, &plain);
                add(from_floored, &floored);
            }
            Counted::Direct(direct) => add(from_direct, &direct),
        }
    }
    let [from_plain, from_floored, from_direct] = sums;
    Ok(Row {
        arms: arms.len(),
        draws: options.draws,
        fit: ChiSquare::against(&from_plain, &best),
        direct: Some(ChiSquare::between(&from_plain, &from_direct)),
        identity: Weighted::of(&from_floored, floored.probabilities()),
        arms_within: counts::share_within(&from_floored, floored.probabilities()),
        what,
    })
}

fn add(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// As a server draws: one recipient each, by the keyed hash.
fn from_tables(
    plain: &Allocation,
    floored: &Allocation,
    seed: u64,
    recipients: std::ops::Range<u64>,
) -> Counted {
    let arms = plain.probabilities().len();
    let (mut from_plain, mut from_floored) = (vec![0; arms], vec![0; arms]);
    let seed = Seed::from_number(seed);
    for recipient in recipients {
        let key = RecipientKey(u128::from(recipient).to_le_bytes());
        let draws = seed.draws(ExperimentUid(1), key, 0, 0);
        for (counts, allocation) in [(&mut from_plain, plain), (&mut from_floored, floored)] {
            if let Some(count) = counts.get_mut(allocation.draw(draws.variant)) {
                *count += 1;
            }
        }
    }
    Counted::Alias {
        plain: from_plain,
        floored: from_floored,
    }
}

/// As Thompson drew: all rates from their posteriors, and the highest wins.
fn from_posteriors(
    what: &str,
    posteriors: &[Beta<f64>],
    seed: u64,
    number: u64,
    draws: u64,
) -> Vec<u64> {
    let mut stream = Stream::new(StreamName {
        seed,
        world: what,
        purpose: &format!("direct draws {number}"),
    });
    let mut counts = vec![0; posteriors.len()];
    for _ in 0..draws {
        if let Some(count) = counts.get_mut(highest(posteriors, &mut stream)) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(seed: u64) -> Options {
        Options {
            draws: 200_000,
            direct_draws: 20_000,
            decisions: 2_000,
            seed,
        }
    }

    #[test]
    fn draws_follow_the_probabilities_of_being_best() {
        let report = run(&small(1), &()).unwrap();
        assert_eq!(report.rows.len(), 4);
        for row in &report.rows {
            assert!(row.fit.p_value > 0.001, "{row:?}");
            assert!(
                row.direct.is_none_or(|direct| direct.p_value > 0.001),
                "{row:?}"
            );
            assert!(row.identity.errors.abs() < 3.5, "{row:?}");
            assert!(row.arms_within > 0.98 || row.arms < 50, "{row:?}");
        }
        assert_eq!(report, run(&small(1), &()).unwrap());
    }

    #[test]
    fn a_wrong_table_is_found_out() {
        let arms = &posteriors(1)[0].1;
        let best = best_arm(arms).probability;
        let mut wrong = best.clone();
        wrong[3] += 0.05;
        let wrong = Allocation::new(&wrong, 0.0).unwrap();
        let Counted::Alias { plain, .. } = from_tables(&wrong, &wrong, 1, 0..200_000) else {
            panic!("other draws were made");
        };
        assert!(ChiSquare::against(&plain, &best).p_value < 1e-6);
        assert!(Weighted::of(&plain, &best).errors.abs() > 3.0);
    }

    #[test]
    fn too_little_to_count_is_refused() {
        let options = Options {
            draws: 10,
            ..small(1)
        };
        assert!(matches!(run(&options, &()), Err(LabError::Nothing(_))));
    }
}
