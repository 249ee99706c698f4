//! Regret of Thompson sampling against the bound of Lai and Robbins (1985), in the worlds of Chapelle and Li (2011), figure 1.
//!
//! Invariant: probabilities come from the policy that answers on a server, under Beta(1, 1), updated every so many trials and without a floor. Regret is
//! expected regret given the probabilities, so that the draws add no noise to it.
use serde::Serialize;

use crate::domain::allocation::Allocation;
use crate::domain::policy::horizon::Progress as CampaignProgress;
use crate::domain::policy::{Arms, LazyBest, Policy};
use crate::domain::posterior::Posterior;
use crate::lab::LabError;
use crate::lab::at_once::Tally;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "lai-robbins",
    about: "regret of Thompson sampling over the bound of Lai and Robbins (Chapelle and Li 2011, figure 1)",
};

/// Rate of the best arm.
const BEST_RATE: f64 = 0.5;

/// A world: one arm is better than all others by the same gap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct World {
    /// Number of arms.
    pub arms: usize,
    /// How much the best arm is better.
    pub gap: f64,
    /// Trials, a power of ten from 1,000 on.
    pub trials: u64,
    /// Runs.
    pub seeds: u64,
}

/// The worlds, and how to play in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// The worlds.
    pub worlds: Vec<World>,
    /// Trials between two updates of the probabilities.
    pub update_every: u64,
    /// First seed.
    pub seed: u64,
}

/// What was measured in one world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The world.
    pub world: World,
    /// The bound: least regret per unit of `ln T`.
    pub constant: f64,
    /// Trials and regret at every power of ten from 100 on, with the interval over runs.
    pub regret: Vec<(u64, Estimate)>,
    /// Growth of regret per unit of `ln T` in the last decade over the constant.
    pub slope_ratio: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// One row for each.
    pub rows: Vec<Row>,
}

impl Default for Options {
    fn default() -> Self {
        let world = |arms, gap, trials, seeds| World {
            arms,
            gap,
            trials,
            seeds,
        };
        Self {
            worlds: vec![
                world(10, 0.1, 1_000_000, 100),
                world(10, 0.02, 10_000_000, 20),
                world(100, 0.1, 1_000_000, 16),
            ],
            update_every: 100,
            seed: 1,
        }
    }
}

/// Plays every world with every seed.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds = |world: &World| options.seed..options.seed.saturating_add(world.seeds);
    let mut jobs: Vec<(usize, World, u64)> = Vec::new();
    for (at, world) in options.worlds.iter().enumerate() {
        jobs.extend(seeds(world).map(|seed| (at, *world, seed)));
    }
    // Long ones first, so that no core is left alone with one at the end.
    let cost = |world: &World| world.trials * world.arms as u64;
    jobs.sort_by_key(|(_, world, _)| std::cmp::Reverse(cost(world)));
    progress.begin(
        "million trials times arms",
        jobs.iter()
            .map(|(_, world, _)| cost(world) / 1_000_000)
            .sum(),
    );
    let regrets = in_parallel(&jobs, |(at, world, seed)| {
        let regret = play(world, options.update_every, *seed)?;
        progress.advance(cost(world) / 1_000_000);
        Ok((*at, regret))
    })?;
    let row = |(at, world): (usize, &World)| {
        let runs = regrets
            .iter()
            .filter(|(of, _)| *of == at)
            .map(|(_, regret)| regret);
        Row::of(world, &runs.collect::<Vec<_>>())
    };
    Ok(Report {
        options: options.clone(),
        rows: options.worlds.iter().enumerate().map(row).collect(),
    })
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    if options.update_every == 0 || options.worlds.is_empty() {
        return refuse("needs a world, and a trial at least between two updates");
    }
    for world in &options.worlds {
        if !(2..=1_000).contains(&world.arms)
            || !(0.0..BEST_RATE).contains(&world.gap)
            || world.gap == 0.0
        {
            return refuse("needs 2 to 1,000 arms, and a gap between 0 and 0.5");
        }
        let power = world.trials.checked_ilog10().unwrap_or(0);
        if power < 3 || 10u64.checked_pow(power) != Some(world.trials) || world.seeds == 0 {
            return refuse("needs a power of ten of trials, 1,000 or more, and a run at least");
        }
    }
    Ok(())
}

/// Regret at 100, 1,000 ... trials.
fn play(world: &World, update_every: u64, seed: u64) -> Result<Vec<f64>, LabError> {
    let name = format!("{} arms, gap {}", world.arms, world.gap);
    let stream = |purpose| {
        Stream::new(StreamName {
            seed,
            world: &name,
            purpose,
        })
    };
    let (mut choices, mut answers) = (stream("choices"), stream("answers"));
    let mut tallies = vec![Tally::default(); world.arms];
    let (mut done, mut regret, mut decade, mut decades) = (0, 0.0, 100, Vec::new());
    while done < world.trials {
        let allocation = thompson(&tallies)?;
        let batch = update_every.min(decade - done);
        // The first arm is the best one.
        regret += batch as f64 * world.gap * (1.0 - allocation.propensity(0));
        for _ in 0..batch {
            let arm = allocation.draw(choices.bits());
            let rate = if arm == 0 {
                BEST_RATE
            } else {
                BEST_RATE - world.gap
            };
            let success = f64::from(answers.unit() < rate);
            if let Some(tally) = tallies.get_mut(arm) {
                tally.add(1.0, success);
            }
        }
        done += batch;
        if done == decade {
            decades.push(regret);
            decade *= 10;
        }
    }
    Ok(decades)
}

/// The probabilities that a server's policy gives arms under Beta(1, 1).
fn thompson(tallies: &[Tally]) -> Result<Allocation, LabError> {
    let posteriors: Vec<Posterior> = tallies
        .iter()
        .map(|tally| tally.posterior().into())
        .collect();
    let arms = Arms {
        posteriors: &posteriors,
        best: &LazyBest::default(),
        progress: CampaignProgress::default(),
    };
    Allocation::new(&Policy::Thompson.probabilities(&arms), 0.0)
        .map_err(|_| LabError::Defect("a policy's probabilities are none"))
}

// === impl World ===

impl World {
    /// `sum over worse arms of Delta / kl(theta, theta*)`: no consistent policy's regret grows slower per unit of `ln T` (Lai and Robbins 1985).
    pub fn constant(&self) -> f64 {
        let (worse, best) = (BEST_RATE - self.gap, BEST_RATE);
        let divergence =
            worse * (worse / best).ln() + (1.0 - worse) * ((1.0 - worse) / (1.0 - best)).ln();
        (self.arms - 1) as f64 * self.gap / divergence
    }
}

// === impl Row ===

impl Row {
    fn of(world: &World, runs: &[&Vec<f64>]) -> Self {
        let constant = world.constant();
        let at = |decade: usize| -> Vec<f64> {
            runs.iter()
                .filter_map(|run| run.get(decade).copied())
                .collect()
        };
        let decades = runs.first().map_or(0, |run| run.len());
        let regret = (0..decades).map(|decade| {
            let trials = 10u64.saturating_pow(decade as u32 + 2);
            (trials, Estimate::over_runs(&at(decade)))
        });
        let slopes = runs.iter().filter_map(|run| match run.as_slice() {
            [.., before, last] => Some((last - before) / std::f64::consts::LN_10 / constant),
            _ => None,
        });
        Self {
            world: *world,
            constant,
            regret: regret.collect(),
            slope_ratio: Estimate::over_runs(&slopes.collect::<Vec<_>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            worlds: vec![World {
                arms: 3,
                gap: 0.2,
                trials: 10_000,
                seeds: 24,
            }],
            ..Options::default()
        }
    }

    #[test]
    fn the_constants_are_those_of_the_formula() {
        for (arms, gap, constant) in [(10, 0.1, 44.7), (10, 0.02, 224.9), (100, 0.1, 491.7)] {
            let world = World {
                arms,
                gap,
                trials: 1_000,
                seeds: 1,
            };
            assert!(
                (world.constant() - constant).abs() < 0.06,
                "{}",
                world.constant()
            );
        }
    }

    #[test]
    fn regret_grows_like_the_logarithm_of_the_trials() {
        let report = run(&small(), &()).unwrap();
        let row = &report.rows[0];
        assert_eq!(row.regret.len(), 3);
        assert!(row.regret.is_sorted_by(|a, b| a.1.mean < b.1.mean));
        // Uniform choice would lose 0.2 * 2 / 3 of every trial, 150 times the bound in the last decade.
        assert!((0.5..1.6).contains(&row.slope_ratio.mean), "{row:?}");
        assert_eq!(report, run(&small(), &()).unwrap());
    }

    #[test]
    fn a_world_that_cannot_be_is_refused() {
        for odd in [
            (1, 0.1, 1_000, 1),
            (3, 0.0, 1_000, 1),
            (3, 0.5, 1_000, 1),
            (3, f64::NAN, 1_000, 1),
            (3, 0.1, 2_000, 1),
            (3, 0.1, 100, 1),
            (3, 0.1, 1_000, 0),
        ] {
            let (arms, gap, trials, seeds) = odd;
            let options = Options {
                worlds: vec![World {
                    arms,
                    gap,
                    trials,
                    seeds,
                }],
                ..small()
            };
            assert!(
                matches!(run(&options, &()), Err(LabError::Nothing(_))),
                "{odd:?}"
            );
        }
        let options = Options {
            update_every: 0,
            ..small()
        };
        assert!(run(&options, &()).is_err());
    }
}
