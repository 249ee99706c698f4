//! People whose zone nobody has said: how soon it is found by their opens, and what that is worth.
//!
//! Invariant: all rules mail the same people with the same luck; a rule differs only in what it is told of the zone. Scores are expected open
//! rates at the person's own time, not the luck of the draw.
mod play;

use serde::Serialize;

use crate::lab::LabError;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};

use super::Scenario;
use super::send_time::world::{Size, Strength, World};

use play::Played;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "unknown-zone",
    about: "people of unknown time zone: how soon their zone is found, and what that is worth",
};

/// Numbers of opens at which it is asked where a person lives.
pub const CHECKPOINTS: [u32; 6] = [0, 5, 10, 20, 40, 100];
/// Bands of mails: the last mail of each.
pub const BANDS: [usize; 4] = [10, 20, 60, usize::MAX];

/// The worlds, and how often to play in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// People of unknown zone.
    pub recipients: u32,
    /// People of known zone, whom the tenant mailed twenty times before.
    pub acquainted: u32,
    /// Mails to each of unknown zone, one a day.
    pub mails: u32,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recipients: 200,
            acquainted: 1_500,
            mails: 200,
            seed: 1,
            seeds: 3,
        }
    }
}

/// Where people live; the default zone is universal time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Over five zones from Phoenix to Tokyo.
    FiveZones,
    /// All in Tokyo.
    Elsewhere,
    /// All in the default zone.
    Home,
}

/// What is told of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Nothing: it is inferred.
    Inferred,
    /// That it is the default zone, which was the answer before anything was inferred.
    Default,
    /// The truth.
    Told,
}

/// How many are found after so many opens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Where people live.
    pub spread: Spread,
    /// Opens.
    pub opens: u32,
    /// People who have opened so many mails, over all seeds.
    pub people: u32,
    /// Share of them whose likeliest zone has the right time, percent.
    pub right_percent: Estimate,
    /// Share of them of whose zone it is said to be 95 % sure, percent.
    pub sure_percent: Estimate,
    /// Share of the sure ones that are right, percent; none if there are none.
    pub sure_right_percent: Option<Estimate>,
}

/// What one rule brings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Where people live.
    pub spread: Spread,
    /// The rule.
    pub rule: Rule,
    /// Open rate by band of mails, percent.
    pub open_percent: Vec<Estimate>,
    /// The same less that of the default zone, points.
    pub over_default_points: Vec<Estimate>,
    /// Share of the mails that leave at the person's night, 22 to 7, percent.
    pub night_percent: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// Zones found.
    pub found: Vec<Found>,
    /// Rules by world.
    pub rows: Vec<Row>,
}

impl Spread {
    /// In the order of the tables.
    pub const ALL: [Self; 3] = [Self::FiveZones, Self::Elsewhere, Self::Home];

    /// Zones without daylight saving time, with the share of the people in each.
    fn zones(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::FiveZones => &[
                ("UTC", 0.3),
                ("Africa/Lagos", 0.25),
                ("America/Phoenix", 0.2),
                ("Asia/Kolkata", 0.15),
                ("Asia/Tokyo", 0.1),
            ],
            Self::Elsewhere => &[("Asia/Tokyo", 1.0)],
            Self::Home => &[("UTC", 1.0)],
        }
    }
}

impl Rule {
    /// In the order of the tables.
    pub const ALL: [Self; 3] = [Self::Inferred, Self::Default, Self::Told];
}

/// Plays all worlds.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    if options.recipients == 0 || options.seeds == 0 || options.mails == 0 {
        let what = "unknown zones need recipients, mails and seeds";
        return Err(LabError::Nothing(what.to_owned()));
    }
    let seeds = options.seed..options.seed.saturating_add(options.seeds);
    let mut jobs = Vec::new();
    for spread in Spread::ALL {
        for rule in Rule::ALL {
            jobs.extend(seeds.clone().map(|seed| (spread, rule, seed)));
        }
    }
    progress.begin("worlds", jobs.len() as u64);
    let played = in_parallel(&jobs, |(spread, rule, seed)| {
        let size = Size {
            people: options.recipients,
            others: options.acquainted,
        };
        let world = World::new(Strength::Strong, size, *seed)?;
        let played = play::play(&world, *spread, *rule, *seed, options.mails as usize)?;
        progress.advance(1);
        Ok(played)
    })?;
    let of = |spread: Spread, rule: Rule| -> Vec<&Played> {
        let both = jobs.iter().zip(&played);
        both.filter(|((s, r, _), _)| (*s, *r) == (spread, rule))
            .map(|(_, played)| played)
            .collect()
    };
    let mut report = Report {
        options: options.clone(),
        found: Vec::new(),
        rows: Vec::new(),
    };
    for spread in Spread::ALL {
        report
            .found
            .extend(found(spread, &of(spread, Rule::Inferred)));
        let default = of(spread, Rule::Default);
        let rows = Rule::ALL.map(|rule| row(spread, rule, &of(spread, rule), &default));
        report.rows.extend(rows);
    }
    Ok(report)
}

fn found(spread: Spread, runs: &[&Played]) -> Vec<Found> {
    let at = |(number, opens): (usize, u32)| {
        let share = |part: &dyn Fn(&play::Asked) -> (f64, f64)| -> Option<Estimate> {
            let shares: Vec<f64> = runs
                .iter()
                .map(|run| part(&run.asked[number]))
                .filter(|(_, whole)| *whole > 0.0)
                .map(|(part, whole)| 100.0 * part / whole)
                .collect();
            (!shares.is_empty()).then(|| Estimate::over_runs(&shares))
        };
        Some(Found {
            spread,
            opens,
            people: runs.iter().map(|run| run.asked[number].people as u32).sum(),
            right_percent: share(&|asked| (asked.right, asked.people))?,
            sure_percent: share(&|asked| (asked.sure, asked.people))?,
            sure_right_percent: share(&|asked| (asked.sure_right, asked.sure)),
        })
    };
    CHECKPOINTS.into_iter().enumerate().filter_map(at).collect()
}

fn row(spread: Spread, rule: Rule, runs: &[&Played], default: &[&Played]) -> Row {
    let bands = runs.first().map_or(0, |run| run.bands());
    let over = |band: usize, less: bool| {
        let both = runs.iter().zip(default);
        let values: Vec<f64> = both
            .map(|(run, default)| {
                let base = if less { default.open_share(band) } else { 0.0 };
                100.0 * (run.open_share(band) - base)
            })
            .collect();
        Estimate::over_runs(&values)
    };
    let night: Vec<f64> = runs.iter().map(|run| 100.0 * run.night_share()).collect();
    Row {
        spread,
        rule,
        open_percent: (0..bands).map(|band| over(band, false)).collect(),
        over_default_points: (0..bands).map(|band| over(band, true)).collect(),
        night_percent: Estimate::over_runs(&night),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lives_where_all_others_do_is_reckoned_there_and_nobody_loses_at_home() {
        let options = Options {
            recipients: 40,
            acquainted: 120,
            mails: 30,
            seeds: 1,
            ..Options::default()
        };
        let report = run(&options, &()).unwrap();
        let elsewhere = |found: &&Found| (found.spread, found.opens) == (Spread::Elsewhere, 0);
        let found = report.found.iter().find(elsewhere).unwrap();
        assert_eq!(found.right_percent.mean, 100.0);
        let row = |spread: Spread, rule: Rule| {
            let of = |row: &&Row| (row.spread, row.rule) == (spread, rule);
            report.rows.iter().find(of).unwrap()
        };
        for over in &row(Spread::Home, Rule::Inferred).over_default_points {
            assert_eq!(over.mean, 0.0, "at home nothing is inferred");
        }
        let (inferred, told) = (
            row(Spread::Elsewhere, Rule::Inferred),
            row(Spread::Elsewhere, Rule::Told),
        );
        assert!((inferred.open_percent[0].mean - told.open_percent[0].mean).abs() < 1.0);
        assert_eq!(inferred.night_percent.mean, 0.0);
        assert!(row(Spread::Elsewhere, Rule::Default).night_percent.mean > 5.0);
    }

    #[test]
    fn worlds_without_people_are_refused() {
        let nobody = Options {
            recipients: 0,
            ..Options::default()
        };
        assert!(run(&nobody, &()).is_err());
    }
}
