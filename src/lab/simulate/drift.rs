//! An always-on flow whose rates stay, wander or jump: what each half-life of evidence loses, and what hermod's choice among them loses.
//!
//! Invariant: all half-lives meet the same rates. What is measured is the expected number of successes lost against always sending the
//! variant that is best at that moment. Evidence is kept and weighed by the domain's own functions, as the use cases do.
mod flow;
mod use_cases;
mod world;

use serde::Serialize;

use crate::domain::delay::DelayCurve;
use crate::domain::experiment::Objective;
use crate::domain::snapshot::default_curve;
use crate::lab::LabError;
use crate::lab::estimate::{Estimate, Share};
use crate::lab::parallel::{Progress, in_parallel};

pub use world::Regime;

use flow::{Flow, Played};
use world::World;

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "drift",
    about: "an always-on flow whose rates stay, wander or jump, by half-life of evidence",
};

/// Half-lives that are fixed in hindsight, days; none for evidence that never fades.
pub const FIXED_DAYS: [Option<f64>; 7] = [
    None,
    Some(2.0),
    Some(5.0),
    Some(10.0),
    Some(20.0),
    Some(45.0),
    Some(90.0),
];

/// The worlds, and how often to play in each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Variants.
    pub arms: usize,
    /// Rate that variants scatter around.
    pub base_rate: f64,
    /// Standard deviation of a variant's effect in log-odds.
    pub effect_sd: f64,
    /// Mails a day.
    pub sends_per_day: u32,
    /// Days to play.
    pub days: u32,
    /// Refreshes of the snapshot a day.
    pub looks_per_day: u32,
    /// Median of the time until an open, hours; 0 for answers at once.
    pub delay_median_hours: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Of these, how many are also played through the use cases.
    pub use_case_seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arms: 4,
            base_rate: 0.22,
            effect_sd: 0.15,
            sends_per_day: 2_000,
            days: 180,
            looks_per_day: 4,
            delay_median_hours: 5.0,
            seed: 1,
            seeds: 24,
            use_case_seeds: 0,
        }
    }
}

impl Options {
    /// Time from one look to the next, hours.
    fn step_hours(&self) -> f64 {
        24.0 / f64::from(self.looks_per_day)
    }

    /// Mails from one look to the next.
    fn sends_per_look(&self) -> u64 {
        u64::from(self.sends_per_day / self.looks_per_day)
    }
}

/// How evidence fades.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fading {
    /// With one half-life, days; none for never.
    Fixed(Option<f64>),
    /// With hermod's mixture of half-lives, weighed by how well each predicts.
    Weighed,
}

/// What one way of fading lost in one world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// How evidence fades.
    pub fading: Fading,
    /// Successes lost of 1,000 mails, with the interval over seeds.
    pub lost_per_thousand: Estimate,
}

/// One world's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorldReport {
    /// The world.
    pub regime: Regime,
    /// The fixed half-lives, then hermod's choice.
    pub rows: Vec<Row>,
    /// The fixed half-life that lost least, days.
    pub best_fixed_days: Option<f64>,
    /// hermod's loss over that of the best fixed half-life, with the interval over seeds (bootstrap).
    pub times_best_fixed: Estimate,
    /// Changes reported of single variants, per 500 days of a variant.
    pub variant_changes_per_500_days: Estimate,
    /// Changes reported of the overall level, per 500 days.
    pub level_changes_per_500_days: Estimate,
    /// Mean weights of the half-lives on the last day: configured, 5, 11 and 60 days, never.
    pub weights: Vec<f64>,
    /// hermod through its use cases, on the first seeds, and by its functions alone on the same.
    pub use_cases: Option<(Estimate, Estimate)>,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// World by world.
    pub worlds: Vec<WorldReport>,
}

struct Job {
    regime: Regime,
    seed: u64,
    through_use_cases: bool,
}

/// What one seed of one world gave.
struct Outcome {
    played: Vec<Played>,
    use_cases: Option<f64>,
}

/// Plays every world with every half-life and with hermod's choice, once for each seed.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds = || (0..options.seeds).map(|at| (at, options.seed.wrapping_add(at)));
    let jobs: Vec<Job> = Regime::ALL
        .into_iter()
        .flat_map(|regime| {
            seeds().map(move |(at, seed)| Job {
                regime,
                seed,
                through_use_cases: at < options.use_case_seeds,
            })
        })
        .collect();
    progress.begin("flows", jobs.len() as u64);
    let outcomes = in_parallel(&jobs, |job| {
        let outcome = play(options, job);
        progress.advance(1);
        outcome
    })?;
    let of_world = |regime: &Regime| -> Vec<&Outcome> {
        let pairs = jobs.iter().zip(&outcomes);
        pairs
            .filter(|(job, _)| job.regime == *regime)
            .map(|(_, outcome)| outcome)
            .collect()
    };
    let worlds = Regime::ALL
        .iter()
        .map(|regime| report(options, *regime, &of_world(regime)));
    Ok(Report {
        options: options.clone(),
        worlds: worlds.collect(),
    })
}

fn fadings() -> impl Iterator<Item = Fading> {
    FIXED_DAYS
        .into_iter()
        .map(Fading::Fixed)
        .chain([Fading::Weighed])
}

fn curve(options: &Options) -> DelayCurve {
    if options.delay_median_hours > 0.0 {
        default_curve(Objective::Open)
    } else {
        DelayCurve::instant()
    }
}

fn play(options: &Options, job: &Job) -> Result<Outcome, LabError> {
    let world = World::new(options, job.regime, job.seed)?;
    let played = fadings()
        .map(|fading| Flow::new(&world, fading, curve(options))?.play())
        .collect::<Result<Vec<_>, _>>()?;
    let use_cases = job
        .through_use_cases
        .then(|| use_cases::lost(&world))
        .transpose()?;
    Ok(Outcome { played, use_cases })
}

fn report(options: &Options, regime: Regime, outcomes: &[&Outcome]) -> WorldReport {
    let looks = options.days * options.looks_per_day;
    let sends = options.sends_per_look() as f64 * f64::from(looks);
    let lost = |at: usize| -> Vec<f64> {
        let played = outcomes.iter().filter_map(|outcome| outcome.played.get(at));
        played.map(|played| played.lost / sends * 1_000.0).collect()
    };
    let rows: Vec<Row> = fadings()
        .enumerate()
        .map(|(at, fading)| Row {
            fading,
            lost_per_thousand: Estimate::over_runs(&lost(at)),
        })
        .collect();
    let best = (0..FIXED_DAYS.len()).min_by(|one, other| {
        let mean = |at: &usize| {
            rows.get(*at)
                .map_or(f64::MAX, |row| row.lost_per_thousand.mean)
        };
        mean(one).total_cmp(&mean(other))
    });
    let best = best.unwrap_or(0);
    let weighed: Vec<&Played> = outcomes.iter().filter_map(|o| o.played.last()).collect();
    let units: Vec<Share> = lost(FIXED_DAYS.len())
        .into_iter()
        .zip(lost(best))
        .map(|(part, whole)| Share { part, whole })
        .collect();
    let per_500 = |count: &dyn Fn(&Played) -> f64| {
        let days = f64::from(options.days) / 500.0;
        let rates: Vec<f64> = weighed.iter().map(|played| count(played) / days).collect();
        Estimate::over_runs(&rates)
    };
    let arms = options.arms as f64;
    let weight = |at: usize| -> f64 {
        let weights = weighed.iter().filter_map(|played| played.weights.get(at));
        weights.sum::<f64>() / weighed.len().max(1) as f64
    };
    WorldReport {
        regime,
        best_fixed_days: FIXED_DAYS.get(best).copied().flatten(),
        times_best_fixed: Estimate::over_units(&units, options.seed),
        variant_changes_per_500_days: per_500(&|played| played.variant_changes as f64 / arms),
        level_changes_per_500_days: per_500(&|played| played.level_changes as f64),
        weights: (0..crate::domain::half_life::TRACKS).map(weight).collect(),
        use_cases: compared(outcomes, sends),
        rows,
    }
}

fn compared(outcomes: &[&Outcome], sends: f64) -> Option<(Estimate, Estimate)> {
    let pairs: Vec<(f64, f64)> = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.use_cases?, outcome.played.last()?.lost)))
        .map(|(through, alone)| (through / sends * 1_000.0, alone / sends * 1_000.0))
        .collect();
    let (through, alone): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    (!through.is_empty()).then(|| (Estimate::over_runs(&through), Estimate::over_runs(&alone)))
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    if !(2..=100).contains(&options.arms) {
        return refuse("a flow needs 2 to 100 arms");
    }
    if !(0.001..=0.9).contains(&options.base_rate) {
        return refuse("the base rate must be between 0.001 and 0.9");
    }
    if !(0.0..=2.0).contains(&options.effect_sd) {
        return refuse("the effects' standard deviation must be between 0 and 2");
    }
    if !(0.0..=100.0).contains(&options.delay_median_hours) {
        return refuse("the median delay must be between 0 and 100 hours");
    }
    if !(1..=24).contains(&options.looks_per_day) {
        return refuse("looks a day must be between 1 and 24");
    }
    if options.sends_per_day < options.looks_per_day || options.days == 0 || options.seeds == 0 {
        return refuse("a flow needs a mail for every look, a day and a seed");
    }
    Ok(())
}

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod tests;
