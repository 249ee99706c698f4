//! Delayed feedback while arms come and go: the dynamic world of Chapelle and Li (2011), table 1.
//!
//! Invariant: at any step an arm may retire, and its successor is known at the next feedback only. Probabilities under Beta(1, 1) and without a floor; where
//! feedback comes so often that hardly two draws share a posterior, arms are drawn from their posteriors directly, which is the same distribution.
use rand_distr::{Beta, Distribution};
use serde::Serialize;

use crate::domain::allocation::Allocation;
use crate::domain::quadrature::best_arm;
use crate::domain::shape::BetaShape;
use crate::lab::LabError;
use crate::lab::at_once::Tally;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "chapelle-li",
    about: "feedback delayed by 1 to 1,000 trials while arms come and go (Chapelle and Li 2011, table 1)",
};

/// Delays and regrets of Thompson sampling in the paper's table, for a million trials.
pub const PAPER: [(u64, f64); 7] = [
    (1, 9_105.0),
    (3, 9_199.0),
    (10, 9_049.0),
    (32, 9_451.0),
    (100, 11_550.0),
    (316, 21_594.0),
    (1_000, 59_256.0),
];
/// Trials in the paper.
pub const PAPER_TRIALS: u64 = 1_000_000;
/// Arms in the paper.
const ARMS: usize = 10;
/// Probability that an arm retires at a step.
const RETIREMENT: f64 = 1e-3;
/// Both shapes of the Beta distribution that rates come from.
const RATE_SHAPE: f64 = 4.0;
/// From so many draws per posterior on, one quadrature is cheaper than the draws.
const QUADRATURE_FROM: u64 = 20;

/// How to play.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Delays: trials between two looks at the feedback.
    pub delays: Vec<u64>,
    /// Trials.
    pub trials: u64,
    /// First seed.
    pub seed: u64,
    /// Runs.
    pub seeds: u64,
}

/// What was measured at one delay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Trials between two looks at the feedback.
    pub delay: u64,
    /// Regret, with the interval over runs.
    pub regret: Estimate,
    /// What the paper says, if it speaks of this delay and so many trials.
    pub paper: Option<f64>,
    /// Regret over the paper's.
    pub ratio: Option<Estimate>,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How it was played.
    pub options: Options,
    /// One row for each delay.
    pub rows: Vec<Row>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delays: PAPER.map(|(delay, _)| delay).to_vec(),
            trials: PAPER_TRIALS,
            seed: 1,
            seeds: 24,
        }
    }
}

/// Plays every delay with every seed.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    if options.delays.is_empty() || options.delays.contains(&0) {
        return Err(LabError::Nothing(
            "needs delays of 1 trial or more".to_owned(),
        ));
    }
    if options.trials == 0 || options.seeds == 0 {
        return Err(LabError::Nothing("needs trials and runs".to_owned()));
    }
    let seeds = || options.seed..options.seed.saturating_add(options.seeds);
    let delays = options.delays.iter().enumerate();
    let jobs: Vec<(usize, u64, u64)> = delays
        .flat_map(|(at, delay)| seeds().map(move |seed| (at, *delay, seed)))
        .collect();
    progress.begin("runs", jobs.len() as u64);
    let regrets = in_parallel(&jobs, |(at, delay, seed)| {
        let regret = Game::new(*delay, *seed)?.play(options.trials)?;
        progress.advance(1);
        Ok((*at, regret))
    })?;
    let row = |(at, delay): (usize, &u64)| {
        let runs = regrets.iter().filter(|(of, _)| *of == at);
        let regret = Estimate::over_runs(&runs.map(|(_, regret)| *regret).collect::<Vec<_>>());
        let paper = PAPER
            .iter()
            .find(|(of, _)| of == delay && options.trials == PAPER_TRIALS);
        let paper = paper.map(|(_, regret)| *regret);
        Row {
            delay: *delay,
            regret,
            paper,
            ratio: paper.map(|paper| regret.times(1.0 / paper)),
        }
    };
    Ok(Report {
        options: options.clone(),
        rows: options.delays.iter().enumerate().map(row).collect(),
    })
}

/// An arm: what it is, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Item {
    rate: f64,
    /// What has been fed back.
    known: Tally,
    /// What will be at the next feedback.
    coming: Tally,
    /// Whether its predecessor retired after the last feedback.
    is_new: bool,
}

struct Game {
    delay: u64,
    items: Vec<Item>,
    rates: Beta<f64>,
    world: Stream,
    answers: Stream,
    choices: Stream,
}

/// How arms are chosen until the next feedback.
enum Choice {
    /// From the probabilities of being best.
    Exact(Allocation),
    /// By drawing all rates.
    Direct(Vec<Beta<f64>>),
}

// === impl Game ===

impl Game {
    fn new(delay: u64, seed: u64) -> Result<Self, LabError> {
        let stream = |purpose| {
            Stream::new(StreamName {
                seed,
                world: "chapelle-li",
                purpose,
            })
        };
        let rates = Beta::new(RATE_SHAPE, RATE_SHAPE)
            .map_err(|_| LabError::Defect("rates have no valid shape"))?;
        let mut game = Self {
            delay,
            items: Vec::new(),
            rates,
            // The same arms come and go at the same steps whatever the delay.
            world: stream("arms"),
            answers: stream("answers"),
            choices: stream("choices"),
        };
        for _ in 0..ARMS {
            let item = game.newcomer();
            game.items.push(item);
        }
        Ok(game)
    }

    fn newcomer(&mut self) -> Item {
        Item {
            rate: self.rates.sample(self.world.generator()),
            known: Tally::default(),
            coming: Tally::default(),
            is_new: true,
        }
    }

    fn play(mut self, trials: u64) -> Result<f64, LabError> {
        let (mut done, mut regret) = (0, 0.0);
        while done < trials {
            self.feed_back();
            let choice = self.choice()?;
            let batch = self.delay.min(trials - done);
            for _ in 0..batch {
                regret += self.step(&choice);
            }
            done += batch;
        }
        Ok(regret)
    }

    fn feed_back(&mut self) {
        for item in &mut self.items {
            if item.is_new {
                item.known = Tally::default();
                item.is_new = false;
            }
            item.known.add(item.coming.trials, item.coming.successes);
            item.coming = Tally::default();
        }
    }

    fn choice(&self) -> Result<Choice, LabError> {
        let posteriors: Vec<BetaShape> = self
            .items
            .iter()
            .map(|item| item.known.posterior())
            .collect();
        if self.delay >= QUADRATURE_FROM {
            return Allocation::new(&best_arm(&posteriors).probability, 0.0)
                .map(Choice::Exact)
                .map_err(|_| LabError::Defect("probabilities of being best are none"));
        }
        let drawn = posteriors
            .iter()
            .map(|shape| Beta::new(shape.alpha(), shape.beta()));
        drawn
            .collect::<Result<_, _>>()
            .map(Choice::Direct)
            .map_err(|_| LabError::Defect("a posterior cannot be drawn from"))
    }

    /// One trial; answers its regret.
    fn step(&mut self, choice: &Choice) -> f64 {
        if self.world.unit() < RETIREMENT {
            let leaves = self.world.below(ARMS);
            let newcomer = self.newcomer();
            if let Some(item) = self.items.get_mut(leaves) {
                // What was chosen before is the predecessor's, who is forgotten; the policy does not know yet.
                *item = Item {
                    known: item.known,
                    ..newcomer
                };
            }
        }
        let arm = match choice {
            Choice::Exact(allocation) => allocation.draw(self.choices.bits()),
            Choice::Direct(posteriors) => highest(posteriors, &mut self.choices),
        };
        let best = self.items.iter().map(|item| item.rate).fold(0.0, f64::max);
        let luck = self.answers.unit();
        let Some(item) = self.items.get_mut(arm) else {
            return 0.0;
        };
        item.coming.add(1.0, f64::from(luck < item.rate));
        best - item.rate
    }
}

/// Draws every rate from its posterior and takes the highest: Thompson sampling as it was invented (1933).
pub fn highest(posteriors: &[Beta<f64>], choices: &mut Stream) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (arm, posterior) in posteriors.iter().enumerate() {
        let rate = posterior.sample(choices.generator());
        if rate > best.1 {
            best = (arm, rate);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            delays: vec![10, 20, 1_000],
            trials: 30_000,
            seeds: 16,
            ..Options::default()
        }
    }

    #[test]
    fn later_feedback_costs_more_and_both_ways_of_drawing_agree() {
        let report = run(&small(), &()).unwrap();
        let [direct, exact, late] = report.rows.as_slice() else {
            panic!("{report:?}");
        };
        assert!(late.regret.mean > 2.0 * exact.regret.mean, "{report:?}");
        assert!(
            (direct.regret.mean / exact.regret.mean - 1.0).abs() < 0.15,
            "{report:?}"
        );
        // Choosing blindly loses about 0.24 a trial.
        assert!(exact.regret.mean < 0.06 * 30_000.0, "{report:?}");
        assert_eq!(exact.paper, None);
        assert_eq!(report, run(&small(), &()).unwrap());
    }

    #[test]
    fn a_world_that_cannot_be_is_refused() {
        for odd in [
            Options {
                delays: vec![0],
                ..small()
            },
            Options {
                delays: Vec::new(),
                ..small()
            },
            Options {
                trials: 0,
                ..small()
            },
            Options {
                seeds: 0,
                ..small()
            },
        ] {
            assert!(
                matches!(run(&odd, &()), Err(LabError::Nothing(_))),
                "{odd:?}"
            );
        }
    }
}
