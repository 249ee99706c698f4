//! When to send: people with chronotypes and noise, some mails a week, and which share of the best possible lift each policy reaches.
//!
//! Invariant: all policies meet the same people and luck; scores are expected open rates of the chosen hours, not the luck of the draw.
mod policies;
mod score;
pub(super) mod world;

use serde::Serialize;

use crate::lab::LabError;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use policies::{Hermod, OwnHour, Sent};
use score::{Bands, Played};
use world::{Size, World};

pub use score::{BANDS, Band};
pub use world::Strength;

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "send-time",
    about: "people with chronotypes: which share of the best possible lift is reached after so many mails",
};

/// The hour of the log in which all mails left at once.
const TEN: f64 = 10.0;

/// The worlds, and how often to play in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// People.
    pub recipients: u32,
    /// Others, whom the tenant mailed twenty times before, at hours of its own choice.
    pub acquainted: u32,
    /// Mails to each.
    pub mails: u32,
    /// Mails a week.
    pub per_week: f64,
    /// Share of hermod's mails at random hours, in the row that explores.
    pub exploration_share: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recipients: 2_000,
            acquainted: 2_000,
            mails: 100,
            per_week: 7.0,
            exploration_share: 0.05,
            seed: 1,
            seeds: 4,
        }
    }
}

/// Who chooses the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// hermod through its use cases, without exploring.
    Hermod,
    /// hermod with its exploring share; all mails count.
    HermodExploring,
    /// The hour that is truly best if all get the same.
    Everybody,
    /// Each person's most frequent hour of opening.
    OwnHour,
    /// A random hour.
    Random,
    /// Each person's truly best hour.
    Oracle,
}

/// One rule in one world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The world.
    pub strength: Strength,
    /// The rule.
    pub rule: Rule,
    /// By band of mails.
    pub bands: Vec<Cell>,
}

/// One rule in one world and one band of mails, with intervals over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Open rate over the random hour's, percent above.
    pub lift_percent: Estimate,
    /// Share of the oracle's lift, percent.
    pub share_percent: Estimate,
    /// Open rate less that of everybody's hour, percentage points.
    pub over_everybody_points: Estimate,
    /// Share of the mails within one hour of the person's truly best hour.
    pub hits: Estimate,
}

/// What is recommended after a log in which all mails left at ten in the morning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AllAtTen {
    /// The world.
    pub strength: Strength,
    /// Share of the people who are recommended nine to eleven, percent.
    pub recommended_percent: Estimate,
    /// Share of the people whose truly best hour that is, percent.
    pub best_percent: Estimate,
    /// Share of the oracle's lift that the recommendation reaches, percent.
    pub share_percent: Estimate,
    /// Share of the oracle's lift that staying at ten reaches, percent.
    pub ten_percent: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// Rules by world.
    pub rows: Vec<Row>,
    /// Logs with all mails at ten, by world.
    pub all_at_ten: Vec<AllAtTen>,
}

/// What one job plays.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Job {
    Rule(Strength, Rule, u64),
    AllAtTen(Strength, u64),
}

/// What one job found.
#[derive(Clone, Debug)]
enum Found {
    Rule(Box<Bands>),
    AllAtTen([f64; 4]),
}

impl Rule {
    /// In the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Hermod,
        Self::HermodExploring,
        Self::Everybody,
        Self::OwnHour,
        Self::Random,
        Self::Oracle,
    ];
}

/// Plays both worlds.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds = options.seed..options.seed.saturating_add(options.seeds);
    let jobs: Vec<Job> = Strength::ALL
        .into_iter()
        .flat_map(|strength| {
            let rules = Rule::ALL.into_iter().flat_map({
                let seeds = seeds.clone();
                move |rule| {
                    seeds
                        .clone()
                        .map(move |seed| Job::Rule(strength, rule, seed))
                }
            });
            rules.chain(seeds.clone().map(move |seed| Job::AllAtTen(strength, seed)))
        })
        .collect();
    progress.begin("worlds", jobs.len() as u64);
    let found = in_parallel(&jobs, |job| {
        let found = match *job {
            Job::Rule(strength, rule, seed) => {
                play(options, strength, rule, seed).map(|bands| Found::Rule(Box::new(bands)))
            }
            Job::AllAtTen(strength, seed) => {
                all_at_ten(options, strength, seed).map(Found::AllAtTen)
            }
        };
        progress.advance(1);
        found
    })?;
    Ok(report(options, &jobs, &found))
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    if options.recipients == 0 || options.seeds == 0 || options.mails == 0 {
        return refuse("send times need recipients, mails and seeds");
    }
    if !(options.per_week > 0.0 && options.per_week <= 7.0) {
        return refuse("mails per week must be above 0 and at most 7");
    }
    if !(0.0..=1.0).contains(&options.exploration_share) {
        return refuse("the exploration share must lie between 0 and 1");
    }
    Ok(())
}

fn size(options: &Options) -> Size {
    Size {
        people: options.recipients,
        others: options.acquainted,
    }
}

/// The first hour of the day of a round.
fn begin_hours(options: &Options, round: usize) -> f64 {
    policies::ACQUAINTED_HOURS + 24.0 * (round as f64 * 7.0 / options.per_week).floor()
}

fn play(options: &Options, strength: Strength, rule: Rule, seed: u64) -> Result<Bands, LabError> {
    let world = World::new(strength, size(options), seed)?;
    let mut played = Played::new(&world);
    let explored = match rule {
        Rule::Hermod => Some(0.0),
        Rule::HermodExploring => Some(options.exploration_share),
        _ => None,
    };
    if let Some(share) = explored {
        let mut hermod = Hermod::new(&world, share, rig_seed(strength, seed))?;
        for round in 0..options.mails as usize {
            let sent = hermod.round(round, begin_hours(options, round), None)?;
            played.add(round, &sent);
        }
        return Ok(played.bands);
    }
    let mut own = OwnHour::new(&world);
    for round in 0..options.mails as usize {
        let sent: Vec<Sent> = (0..world.people.len())
            .map(|person| Sent {
                hour: match rule {
                    Rule::OwnHour => own.hour(person),
                    Rule::Oracle => world.people[person].best_start() as f64 / 2.0,
                    _ => world.best_start as f64 / 2.0,
                },
            })
            .collect();
        if rule == Rule::Random {
            played.add_random(round);
        } else {
            played.add(round, &sent);
        }
        if rule == Rule::OwnHour {
            for ((person, sent), luck) in sent.iter().enumerate().zip(world.luck(round)) {
                if let Some(age) = world.people[person].opened_after(sent.hour, luck) {
                    own.opened(person, sent.hour + age);
                }
            }
        }
    }
    Ok(played.bands)
}

fn rig_seed(strength: Strength, seed: u64) -> u64 {
    let name = StreamName {
        seed,
        world: strength.word(),
        purpose: "rig",
    };
    Stream::new(name).bits()
}

/// Sends everything at ten for a while, then asks: recommended around ten, truly best around ten, share reached, share of staying (percent).
fn all_at_ten(options: &Options, strength: Strength, seed: u64) -> Result<[f64; 4], LabError> {
    let world = World::new(strength, size(options), seed)?;
    let mut hermod = Hermod::new(&world, 0.0, rig_seed(strength, seed))?;
    let rounds = (options.mails as usize).min(40);
    for round in 0..rounds {
        hermod.round(round, begin_hours(options, round), Some(TEN))?;
    }
    let hours = hermod.recommended(begin_hours(options, rounds + 5))?;
    Ok(score::at_ten(&world, &hours, TEN))
}

fn report(options: &Options, jobs: &[Job], found: &[Found]) -> Report {
    let of = |strength: Strength, rule: Rule| -> Vec<&Bands> {
        jobs.iter()
            .zip(found)
            .filter_map(|(job, found)| match (job, found) {
                (Job::Rule(s, r, _), Found::Rule(bands)) if (*s, *r) == (strength, rule) => {
                    Some(bands.as_ref())
                }
                _ => None,
            })
            .collect()
    };
    let row = |strength: Strength, rule: Rule| Row {
        strength,
        rule,
        bands: score::cells(
            &of(strength, rule),
            &of(strength, Rule::Everybody),
            options.mails,
        ),
    };
    let rows = Strength::ALL
        .into_iter()
        .flat_map(|strength| Rule::ALL.into_iter().map(move |rule| (strength, rule)))
        .map(|(strength, rule)| row(strength, rule))
        .collect();
    let ten = |strength: Strength| {
        let runs: Vec<[f64; 4]> = jobs
            .iter()
            .zip(found)
            .filter_map(|(job, found)| match (job, found) {
                (Job::AllAtTen(s, _), Found::AllAtTen(numbers)) if *s == strength => Some(*numbers),
                _ => None,
            })
            .collect();
        let estimate = |at: usize| {
            Estimate::over_runs(&runs.iter().map(|numbers| numbers[at]).collect::<Vec<f64>>())
        };
        AllAtTen {
            strength,
            recommended_percent: estimate(0),
            best_percent: estimate(1),
            share_percent: estimate(2),
            ten_percent: estimate(3),
        }
    };
    Report {
        options: options.clone(),
        rows,
        all_at_ten: Strength::ALL.into_iter().map(ten).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            recipients: 150,
            acquainted: 50,
            mails: 12,
            seeds: 2,
            ..Options::default()
        }
    }

    #[test]
    fn a_seed_fixes_every_number_and_the_bounds_bound() {
        let report = run(&small(), &()).unwrap();
        assert_eq!(report, run(&small(), &()).unwrap());
        for row in &report.rows {
            for cell in &row.bands {
                let share = cell.share_percent.mean;
                match row.rule {
                    Rule::Oracle => assert!((share - 100.0).abs() < 1e-6),
                    Rule::Random => assert!(share.abs() < 1e-6),
                    _ => assert!(share < 100.0, "{row:?}"),
                }
            }
        }
    }

    #[test]
    fn worlds_without_people_are_refused() {
        let nobody = Options {
            recipients: 0,
            ..small()
        };
        assert!(run(&nobody, &()).is_err());
        let hourly = Options {
            per_week: 168.0,
            ..small()
        };
        assert!(run(&hourly, &()).is_err());
    }
}
