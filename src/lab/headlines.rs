//! Lost clicks on real headline tests: hermod against the simple policies anybody could run instead.
//!
//! Protocol: each test is played again from its first impression to its last under every policy, with the test's own rates as the truth. All
//! policies meet the same luck, so that differences between them are measured far better than their levels.
pub mod data;
pub mod hermod;
pub mod players;
pub mod shares;
pub mod truth;

use std::path::Path;

use serde::Serialize;

use data::LeftOut;
use hermod::Horizon;
use players::{Game, Tally};
use truth::{Truth, World};

use super::LabError;
use super::estimate::{Estimate, Share};
use super::parallel::{Progress, in_parallel};
use super::streams::{Stream, StreamName};

/// Games of the comparison between use cases and snapshots.
const CHECKED_TESTS: usize = 20;
const CHECKED_SEEDS: u64 = 2;

/// How hermod is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every mail through the use cases.
    UseCases,
    /// Drawn from the snapshots that the use cases answer from.
    Snapshots,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// So many tests drawn by the seed; none for all.
    pub tests: Option<usize>,
    /// Equal batches of feedback.
    pub batches: u64,
    /// How hermod is run.
    pub method: Method,
    /// What is taken for the true rates.
    pub truth: Truth,
    /// Whether tests with doubtful randomisation are kept.
    pub with_risky: bool,
}

/// The policies compared, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Player {
    /// hermod, told how many mails there will be.
    HermodPlanned,
    /// hermod, not told.
    HermodUnknown,
    /// Thompson sampling from flat priors, updated after each mail.
    ThompsonAtOnce,
    /// The same in batches.
    ThompsonBatches,
    /// A classical test that never ends.
    Uniform,
    /// The classical test on a tenth, then the winner.
    ExploreTenth,
    /// The classical test on a fifth, then the winner.
    ExploreFifth,
}

/// One policy's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The policy.
    pub player: Player,
    /// Clicks lost against always showing the best, percent, with the interval over seeds.
    pub lost_percent: Estimate,
    /// Loss over the loss of Thompson sampling at once, interval over seeds.
    pub ratio_over_seeds: Estimate,
    /// The same, interval over tests.
    pub ratio_over_tests: Estimate,
}

/// Whether snapshots and use cases agree, on a few games.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossCheck {
    /// Tests and seeds played both ways.
    pub games: usize,
    /// Clicks lost through the use cases, percent.
    pub use_cases_percent: f64,
    /// Clicks lost through the snapshots, percent.
    pub snapshots_percent: f64,
    /// Use cases less snapshots in percent of the clicks, with the interval over games.
    pub difference_percent: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Tests played.
    pub tests: usize,
    /// Tests in the file that could be played.
    pub tests_available: usize,
    /// What was left out of the file.
    pub left_out: LeftOut,
    /// Mails of one seed.
    pub sends: u64,
    /// Concentration of the rates within a test, fitted to all usable tests of the file.
    pub kappa: f64,
    /// What was taken for the true rates.
    pub truth: Truth,
    /// How hermod was run.
    pub method: Method,
    /// First seed.
    pub seed: u64,
    /// Seeds.
    pub seeds: u64,
    /// Batches.
    pub batches: u64,
    /// The policies.
    pub rows: Vec<Row>,
    /// The check of the snapshots, when hermod was run through them.
    pub cross_check: Option<CrossCheck>,
}

// === impl Player ===

impl Player {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::HermodPlanned,
        Self::HermodUnknown,
        Self::ThompsonAtOnce,
        Self::ThompsonBatches,
        Self::Uniform,
        Self::ExploreTenth,
        Self::ExploreFifth,
    ];

    fn play(self, game: &Game<'_>, method: Method) -> Result<Vec<Tally>, LabError> {
        let hermod = |horizon| match method {
            Method::UseCases => game.hermod_use_cases(horizon),
            Method::Snapshots => game.hermod_snapshots(horizon),
        };
        match self {
            Self::HermodPlanned => hermod(Horizon::Planned),
            Self::HermodUnknown => hermod(Horizon::Unknown),
            Self::ThompsonAtOnce => game.thompson_at_once(),
            Self::ThompsonBatches => game.thompson_in_batches(),
            Self::Uniform => game.uniform(),
            Self::ExploreTenth => Ok(game.explore_then_commit(0.1)),
            Self::ExploreFifth => Ok(game.explore_then_commit(0.2)),
        }
    }

    fn lost(self, game: &Game<'_>, method: Method) -> Result<f64, LabError> {
        let sends: Vec<u64> = self.play(game, method)?.iter().map(|t| t.sends).collect();
        Ok(game.world.lost(&sends))
    }
}

/// Plays the tests of a file.
///
/// # Errors
/// The file cannot be read or used.
pub fn run(path: &Path, options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    let archive = data::load(path, options.with_risky)?;
    let kappa = truth::fit_kappa(&archive.tests);
    let mut worlds = truth::worlds(&archive.tests, options.truth, kappa);
    let tests_available = worlds.len();
    draw(&mut worlds, options);
    let results = Results::play(&worlds, options, progress)?;
    let cross_check = match options.method {
        Method::UseCases => None,
        Method::Snapshots => Some(cross_check(&worlds, options, progress)?),
    };
    Ok(Report {
        tests: worlds.len(),
        tests_available,
        left_out: archive.left_out,
        sends: worlds.iter().map(|world| world.sends).sum(),
        kappa,
        truth: options.truth,
        method: options.method,
        seed: options.seed,
        seeds: options.seeds,
        batches: options.batches,
        rows: results.rows(options.seed),
        cross_check,
    })
}

/// Keeps as many worlds as asked for, drawn by the seed.
fn draw(worlds: &mut Vec<World>, options: &Options) {
    if let Some(tests) = options.tests {
        let name = StreamName {
            seed: options.seed,
            world: "archive",
            purpose: "sample",
        };
        Stream::new(name).shuffle(worlds);
        worlds.truncate(tests.max(1));
    }
}

/// Expected losses of every player in every game.
struct Results {
    worlds: usize,
    best: Vec<f64>,
    /// By seed, then world, each with all players.
    lost: Vec<[f64; Player::ALL.len()]>,
}

// === impl Results ===

impl Results {
    fn play(
        worlds: &[World],
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Self, LabError> {
        let games: Vec<Game<'_>> = (0..options.seeds)
            .flat_map(|at| {
                worlds.iter().map(move |world| Game {
                    world,
                    seed: options.seed.wrapping_add(at),
                    batches: options.batches,
                })
            })
            .collect();
        progress.begin("mails", games.iter().map(|game| game.world.sends).sum());
        let lost = in_parallel(&games, |game| {
            let mut lost = [0.0; Player::ALL.len()];
            for (slot, player) in lost.iter_mut().zip(Player::ALL) {
                *slot = player.lost(game, options.method)?;
            }
            progress.advance(game.world.sends);
            Ok(lost)
        })?;
        Ok(Self {
            worlds: worlds.len(),
            best: worlds.iter().map(World::best_successes).collect(),
            lost,
        })
    }

    fn by_seed(&self, player: usize) -> Vec<f64> {
        self.lost
            .chunks(self.worlds.max(1))
            .map(|seed| seed.iter().filter_map(|lost| lost.get(player)).sum())
            .collect()
    }

    fn by_world(&self, player: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.worlds];
        for seed in self.lost.chunks(self.worlds.max(1)) {
            for (sum, lost) in sums.iter_mut().zip(seed) {
                *sum += lost.get(player).copied().unwrap_or(0.0);
            }
        }
        sums
    }

    fn rows(&self, seed: u64) -> Vec<Row> {
        let best: f64 = self.best.iter().sum();
        let yardstick = Player::ALL
            .iter()
            .position(|player| *player == Player::ThompsonAtOnce)
            .unwrap_or(0);
        let (seeds_of, worlds_of) = (self.by_seed(yardstick), self.by_world(yardstick));
        let row = |(at, player): (usize, &Player)| {
            let by_seed = self.by_seed(at);
            let ratios: Vec<f64> = by_seed
                .iter()
                .zip(&seeds_of)
                .map(|(lost, other)| lost / other.max(f64::MIN_POSITIVE))
                .collect();
            let units: Vec<Share> = self
                .by_world(at)
                .into_iter()
                .zip(&worlds_of)
                .map(|(part, whole)| Share {
                    part,
                    whole: *whole,
                })
                .collect();
            Row {
                player: *player,
                lost_percent: Estimate::over_runs(&by_seed)
                    .times(100.0 / best.max(f64::MIN_POSITIVE)),
                ratio_over_seeds: Estimate::over_runs(&ratios),
                ratio_over_tests: Estimate::over_units(&units, seed),
            }
        };
        Player::ALL.iter().enumerate().map(row).collect()
    }
}

/// Plays a few games both ways; the smaller tests, so that it takes seconds.
fn cross_check(
    worlds: &[World],
    options: &Options,
    progress: &dyn Progress,
) -> Result<CrossCheck, LabError> {
    let mut checked: Vec<&World> = worlds.iter().collect();
    checked.sort_by_key(|world| world.sends);
    checked.truncate((worlds.len() / 2).max(1));
    Stream::new(StreamName {
        seed: options.seed,
        world: "archive",
        purpose: "cross-check",
    })
    .shuffle(&mut checked);
    checked.truncate(CHECKED_TESTS);
    let games: Vec<Game<'_>> = (0..CHECKED_SEEDS)
        .flat_map(|at| {
            checked.iter().map(move |world| Game {
                world,
                seed: options.seed.wrapping_add(at),
                batches: options.batches,
            })
        })
        .collect();
    progress.begin(
        "mails decided one by one",
        games.iter().map(|game| game.world.sends).sum(),
    );
    let pairs = in_parallel(&games, |game| {
        let lost = |method| -> Result<f64, LabError> {
            let planned = Player::HermodPlanned.lost(game, method)?;
            Ok(planned + Player::HermodUnknown.lost(game, method)?)
        };
        let pair = (lost(Method::UseCases)?, lost(Method::Snapshots)?);
        progress.advance(game.world.sends);
        Ok(pair)
    })?;
    // Two players each game.
    let best: f64 = games
        .iter()
        .map(|game| 2.0 * game.world.best_successes())
        .sum();
    let percent = |lost: f64| 100.0 * lost / best.max(f64::MIN_POSITIVE);
    let units: Vec<Share> = pairs
        .iter()
        .zip(&games)
        .map(|((full, fast), game)| Share {
            part: full - fast,
            whole: 2.0 * game.world.best_successes(),
        })
        .collect();
    Ok(CrossCheck {
        games: games.len(),
        use_cases_percent: percent(pairs.iter().map(|(full, _)| full).sum()),
        snapshots_percent: percent(pairs.iter().map(|(_, fast)| fast).sum()),
        difference_percent: Estimate::over_units(&units, options.seed).times(100.0),
    })
}

#[cfg(test)]
mod tests;
