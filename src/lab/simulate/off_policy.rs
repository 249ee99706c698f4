//! Off-policy evaluation of hermod's own logs against a known truth: how far off it is, and how often its intervals hold the truth.
//!
//! Invariant: the logs are adaptive, as real ones are: each part is drawn from what the parts before it taught. Feedback is at once, since only
//! matured decisions are evaluated.
mod logs;

use serde::Serialize;

use crate::domain::off_policy::{Evaluation, RunningMeans, Sample, Value};
use crate::lab::LabError;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "off-policy",
    about: "what another policy would have got, estimated from hermod's own log",
};

/// The world, and how often to play in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Sends in a log.
    pub sends: usize,
    /// True open rates of the variants.
    pub rates: Vec<f64>,
    /// Sends between two looks at the answers.
    pub refresh_sends: usize,
    /// Probability spread evenly over the variants, one log for each.
    pub floors: Vec<f64>,
    /// Weights above this are cut.
    pub weight_max: f64,
    /// First seed.
    pub seed: u64,
    /// Logs of each floor.
    pub seeds: u64,
    /// Logs made by the use cases and read from their decision log, at the first floor above zero; the check of all others.
    pub rig_seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sends: 20_000,
            rates: vec![0.20, 0.21, 0.22, 0.24],
            refresh_sends: 100,
            floors: vec![0.0, 0.02, 0.05, 0.10],
            weight_max: 1_000.0,
            seed: 1,
            seeds: 500,
            rig_seeds: 8,
        }
    }
}

/// The policy that is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Always the variant with the lowest rate.
    Worst,
    /// All variants alike.
    Uniform,
}

/// An estimator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Inverse propensity score.
    Ips,
    /// Self-normalised.
    Snips,
    /// Doubly robust.
    DoublyRobust,
    /// Doubly robust with weights that even out the variance.
    Adaptive,
}

/// How one estimator did for one policy on the logs of one floor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Probability spread evenly.
    pub floor: f64,
    /// Whether the logs came from the use cases and their decision log.
    pub through_use_cases: bool,
    /// Mean open rate of the logs.
    pub logged_rate: f64,
    /// The policy.
    pub target: Target,
    /// The estimator.
    pub estimator: Estimator,
    /// What the policy is worth in truth.
    pub truth: f64,
    /// Mean of the estimates, with its interval over logs.
    pub mean: Estimate,
    /// Mean error over the spread of the estimates: under a half is harmless.
    pub bias_in_errors: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Share of logs whose 95 % interval holds the truth, percent, with its interval over logs.
    pub coverage_percent: Estimate,
    /// Mean effective sample size.
    pub effective: f64,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The world.
    pub options: Options,
    /// By floor, policy and estimator.
    pub rows: Vec<Row>,
}

/// One log to make and evaluate.
#[derive(Clone, Copy)]
struct Job {
    floor: f64,
    seed: u64,
    through_use_cases: bool,
}

/// What came out of one log: an evaluation for each target.
struct Played([Evaluation; 2]);

const TARGETS: [Target; 2] = [Target::Worst, Target::Uniform];
const ESTIMATORS: [Estimator; 4] = [
    Estimator::Ips,
    Estimator::Snips,
    Estimator::DoublyRobust,
    Estimator::Adaptive,
];

// === impl Options ===

impl Options {
    fn check(&self) -> Result<(), LabError> {
        let share = |share: &f64| (0.0..=1.0).contains(share);
        let sound = self.sends > 0
            && self.refresh_sends > 0
            && (2..=1_000).contains(&self.rates.len())
            && self.rates.iter().all(share)
            && self.floors.iter().all(share)
            && !self.floors.is_empty()
            && self.weight_max > 0.0
            && self.seeds > 0;
        sound.then_some(()).ok_or_else(|| {
            LabError::Nothing(
                "off-policy: needs sends, seeds, looks and weights above 0, at least two rates, and rates and floors from 0 to 1"
                    .to_owned(),
            )
        })
    }

    fn jobs(&self) -> Vec<Job> {
        let of = |floor: f64, seeds: u64, through_use_cases| {
            (self.seed..self.seed.saturating_add(seeds)).map(move |seed| Job {
                floor,
                seed,
                through_use_cases,
            })
        };
        let plain = self
            .floors
            .iter()
            .flat_map(|floor| of(*floor, self.seeds, false));
        let first = self.floors.iter().copied().find(|floor| *floor > 0.0);
        let checked = first.map(|floor| of(floor, self.rig_seeds, true));
        plain.chain(checked.into_iter().flatten()).collect()
    }

    /// What a target is worth in truth.
    fn truth(&self, target: Target) -> f64 {
        self.probabilities(target)
            .iter()
            .zip(&self.rates)
            .map(|(probability, rate)| probability * rate)
            .sum()
    }

    /// The target's probabilities of the variants.
    fn probabilities(&self, target: Target) -> Vec<f64> {
        let arms = self.rates.len();
        match target {
            Target::Uniform => vec![1.0 / arms as f64; arms],
            Target::Worst => {
                let worst = (0..arms).min_by(|one, other| {
                    let rate = |arm: &usize| self.rates.get(*arm).copied().unwrap_or(1.0);
                    rate(one).total_cmp(&rate(other))
                });
                (0..arms)
                    .map(|arm| f64::from(u8::from(Some(arm) == worst)))
                    .collect()
            }
        }
    }
}

// === impl Estimator ===

impl Estimator {
    /// Its value in an evaluation.
    fn of(self, evaluation: &Evaluation) -> Value {
        match self {
            Self::Ips => evaluation.ips,
            Self::Snips => evaluation.snips,
            Self::DoublyRobust => evaluation.doubly_robust,
            Self::Adaptive => evaluation.adaptive,
        }
    }
}

/// Makes the logs and evaluates them.
///
/// # Errors
/// The options make no world, or a use case refused.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    options.check()?;
    let jobs = options.jobs();
    progress.begin("logs", jobs.len() as u64);
    let played = in_parallel(&jobs, |job| {
        let played = play(options, *job);
        progress.advance(1);
        played
    })?;
    let mut groups: Vec<(Job, Vec<&Played>)> = Vec::new();
    for (job, played) in jobs.iter().zip(&played) {
        let same = |of: &Job| {
            of.floor.to_bits() == job.floor.to_bits()
                && of.through_use_cases == job.through_use_cases
        };
        match groups.iter_mut().find(|(of, _)| same(of)) {
            Some((_, members)) => members.push(played),
            None => groups.push((*job, vec![played])),
        }
    }
    let rows = groups
        .iter()
        .flat_map(|(job, played)| rows(options, *job, played))
        .collect();
    Ok(Report {
        options: options.clone(),
        rows,
    })
}

fn play(options: &Options, job: Job) -> Result<Played, LabError> {
    let log = if job.through_use_cases {
        logs::through_use_cases(options, job.floor, job.seed)?
    } else {
        logs::from_snapshots(options, job.floor, job.seed)?
    };
    Ok(Played(TARGETS.map(|target| {
        let probabilities = options.probabilities(target);
        let samples: Vec<Sample> = log
            .iter()
            .map(|sample| Sample {
                target: probabilities.clone(),
                ..sample.clone()
            })
            .collect();
        Evaluation::of(&RunningMeans::choices(&samples), options.weight_max)
    })))
}

fn rows(options: &Options, job: Job, played: &[&Played]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, target) in TARGETS.into_iter().enumerate() {
        let evaluations: Vec<Evaluation> = played
            .iter()
            .filter_map(|Played(evaluations)| evaluations.get(at).copied())
            .collect();
        rows.extend(
            ESTIMATORS.map(|estimator| row(options, job, (target, estimator), &evaluations)),
        );
    }
    rows
}

fn row(
    options: &Options,
    job: Job,
    (target, estimator): (Target, Estimator),
    evaluations: &[Evaluation],
) -> Row {
    let truth = options.truth(target);
    let n = evaluations.len().max(1) as f64;
    let values: Vec<Value> = evaluations.iter().map(|of| estimator.of(of)).collect();
    let means: Vec<f64> = values.iter().map(|value| value.mean).collect();
    let mean = means.iter().sum::<f64>() / n;
    let spread = (means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / n).sqrt();
    let squares = means.iter().map(|m| (m - truth).powi(2)).sum::<f64>();
    let covered: Vec<f64> = values
        .iter()
        .map(|value| 100.0 * f64::from(u8::from(value.covers(truth))))
        .collect();
    Row {
        floor: job.floor,
        through_use_cases: job.through_use_cases,
        logged_rate: evaluations.iter().map(|of| of.logged.mean).sum::<f64>() / n,
        target,
        estimator,
        truth,
        mean: Estimate::over_runs(&means),
        bias_in_errors: if spread > 0.0 {
            (mean - truth) / spread
        } else {
            0.0
        },
        rmse: (squares / n).sqrt(),
        coverage_percent: Estimate::over_runs(&covered),
        effective: evaluations
            .iter()
            .map(|of| of.effective_choices)
            .sum::<f64>()
            / n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            sends: 2_000,
            floors: vec![0.2],
            seeds: 40,
            rig_seeds: 2,
            ..Options::default()
        }
    }

    #[test]
    fn estimates_are_near_the_truth_and_the_naive_mean_is_not() {
        let report = run(&small(), &()).unwrap();
        let rows = || report.rows.iter().filter(|row| !row.through_use_cases);
        assert_eq!(rows().count(), 8);
        for row in rows() {
            assert!(row.bias_in_errors.abs() < 0.8, "{row:?}");
            assert!(row.coverage_percent.mean > 80.0, "{row:?}");
            assert!(row.logged_rate > row.truth, "{row:?}");
        }
    }

    #[test]
    fn logs_of_the_use_cases_are_as_long_and_as_good() {
        let report = run(&small(), &()).unwrap();
        let rows = report.rows.iter().filter(|row| row.through_use_cases);
        for row in rows {
            assert!(
                (row.mean.mean - row.truth).abs() < 6.0 * row.rmse.max(0.01),
                "{row:?}"
            );
            assert!(row.effective > 30.0, "{row:?}");
        }
    }

    #[test]
    fn options_that_make_no_world_are_refused() {
        let bad = Options {
            rates: vec![0.2],
            ..small()
        };
        assert!(matches!(run(&bad, &()), Err(LabError::Nothing(_))));
    }
}
