//! Plans of blasts in many random worlds: does a plan bring what it promises, and more than the plain plans?
//!
//! Invariant: the planner sees what a user knows (audience, deadline, number of variants, the usual rate), never the true rates or delays. Its waves
//! are decided by snapshots or use cases, mail by mail or in small parts, and answers come at their own true times.
pub(super) mod play;
pub(super) mod world;

use serde::Serialize;

use crate::domain::planner::{Advice, BlastPlan, plan};
use crate::lab::LabError;
use crate::lab::estimate::{Estimate, Share};
use crate::lab::parallel::{Progress, in_parallel};

use world::World;

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "planner",
    about: "plans of blasts: what they promise, what they bring, and what plain plans bring",
};

/// The worlds, and how many.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Smallest audience.
    pub audience_min: u64,
    /// Largest audience.
    pub audience_max: u64,
    /// Largest audience of the worlds that are played through the use cases.
    pub use_case_audience_max: u64,
    /// First seed.
    pub seed: u64,
    /// Worlds of each kind.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            audience_min: 2_000,
            audience_max: 500_000,
            use_case_audience_max: 5_000,
            seed: 1,
            seeds: 60,
        }
    }
}

/// How the truth differs from what the planner assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not at all, but for the shape of the delays.
    AsAssumed,
    /// Answers take twice as long.
    Slower,
    /// Answers take half as long.
    Faster,
    /// Variants differ half as much.
    Narrower,
    /// Variants differ twice as much.
    Wider,
    /// As assumed, small, and played through the use cases.
    UseCases,
}

/// What came of the worlds of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Which of its worlds.
    pub of: &'static str,
    /// How many worlds.
    pub worlds: usize,
    /// In how many the plan was to send all now.
    pub sent_now: usize,
    /// Successes that came over those that were promised.
    pub kept: Estimate,
    /// Successes gained over sending evenly, percent.
    pub over_evenly_percent: Estimate,
    /// Successes gained over the best test by the planner's own reckoning, percent; 0 without any test.
    pub over_test_percent: Estimate,
    /// Time to make a plan, milliseconds, mean.
    pub planning_ms: f64,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// One per kind, and parts of the first.
    pub rows: Vec<Row>,
}

/// One world with its plan and what came of all plans.
struct Played {
    kind: Kind,
    world: World,
    plan: BlastPlan,
    planning_ms: f64,
    /// Successes drawn.
    came: f64,
    /// Successes expected of the mails as they were decided.
    by_plan: f64,
    evenly: f64,
    by_test: Option<f64>,
}

// === impl Kind ===

impl Kind {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self::AsAssumed,
        Self::Slower,
        Self::Faster,
        Self::Narrower,
        Self::Wider,
        Self::UseCases,
    ];
}

/// Plans and plays every world.
///
/// # Errors
/// The options make no worlds.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let jobs: Vec<(Kind, u64)> = Kind::ALL
        .iter()
        .flat_map(|kind| (0..options.seeds).map(|at| (*kind, options.seed.wrapping_add(at))))
        .collect();
    progress.begin("worlds", jobs.len() as u64);
    let played = in_parallel(&jobs, |(kind, seed)| {
        let played = one(options, *kind, *seed)?;
        progress.advance(1);
        Ok(played)
    })?;
    Ok(Report {
        options: options.clone(),
        rows: rows(options.seed, &played),
    })
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let Options {
        audience_min: min,
        audience_max: max,
        use_case_audience_max: small,
        ..
    } = *options;
    if !(100..=max).contains(&min) || !(min..=100_000).contains(&small) || max > 10_000_000 {
        return refuse("audiences must be 100 to 10,000,000, for the use cases at most 100,000");
    }
    if options.seeds == 0 {
        return refuse("a plan needs worlds");
    }
    Ok(())
}

fn one(options: &Options, kind: Kind, seed: u64) -> Result<Played, LabError> {
    let world = World::new(options, kind, seed)?;
    // Wall-clock time is shown, and decides nothing.
    let begun = std::time::Instant::now();
    let plan =
        plan(&world.question(), seed).map_err(|error| LabError::Nothing(error.to_string()))?;
    let planning_ms = begun.elapsed().as_secs_f64() * 1e3;
    let (by_plan, came) = match kind {
        Kind::UseCases => play::use_cases(&world, &plan)?,
        _ => play::snapshots(&world, &plan)?,
    };
    let by_test = match (&plan.test, plan.advice) {
        (Some(test), _) => Some(play::test(&world, test)?),
        (None, _) => None,
    };
    Ok(Played {
        evenly: world.evenly(),
        kind,
        world,
        plan,
        planning_ms,
        came,
        by_plan,
        by_test,
    })
}

fn rows(seed: u64, played: &[Played]) -> Vec<Row> {
    let of_kind = |kind: Kind| {
        let of: Vec<&Played> = played.iter().filter(|one| one.kind == kind).collect();
        row(kind, "all", &of, seed)
    };
    let mut rows: Vec<Row> = Kind::ALL.into_iter().filter_map(of_kind).collect();
    type Part = (&'static str, fn(&World) -> bool);
    let parts: [Part; 6] = [
        ("deadline up to 4 h", |world| world.window_hours <= 4.0),
        ("8 to 24 h", |world| {
            (8.0..=24.0).contains(&world.window_hours)
        }),
        ("72 h", |world| world.window_hours > 24.0),
        ("audience to 15,000", |world| world.audience <= 15_000),
        ("to 90,000", |world| {
            (15_001..=90_000).contains(&world.audience)
        }),
        ("above", |world| world.audience > 90_000),
    ];
    rows.extend(parts.into_iter().filter_map(|(name, is_part)| {
        let of: Vec<&Played> = played
            .iter()
            .filter(|one| one.kind == Kind::AsAssumed && is_part(&one.world))
            .collect();
        row(Kind::AsAssumed, name, &of, seed)
    }));
    rows
}

fn row(kind: Kind, of: &'static str, played: &[&Played], seed: u64) -> Option<Row> {
    if played.is_empty() {
        return None;
    }
    // Relative to the size of each world, so that the largest do not decide alone.
    let ratio = |part: &dyn Fn(&Played) -> (f64, f64)| {
        let units: Vec<Share> = played
            .iter()
            .map(|one| {
                let (part, whole) = part(one);
                Share {
                    part: part / one.plan.evenly.expected,
                    whole: whole / one.plan.evenly.expected,
                }
            })
            .collect();
        Estimate::over_units(&units, seed)
    };
    let percent = |part: &dyn Fn(&Played) -> (f64, f64)| ratio(part).times(100.0);
    Some(Row {
        kind,
        of,
        worlds: played.len(),
        sent_now: played
            .iter()
            .filter(|one| one.plan.advice == Advice::SendAllNow)
            .count(),
        kept: ratio(&|one| (one.came, one.plan.successes.expected)),
        over_evenly_percent: percent(&|one| (one.by_plan - one.evenly, one.evenly)),
        over_test_percent: percent(&|one| {
            let test = one.by_test.unwrap_or(one.by_plan);
            (one.by_plan - test, test)
        }),
        planning_ms: played.iter().map(|one| one.planning_ms).sum::<f64>() / played.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_keeps_its_promise_and_beats_sending_evenly() {
        let options = Options {
            audience_max: 20_000,
            use_case_audience_max: 2_500,
            seeds: 6,
            ..Options::default()
        };
        let report = run(&options, &()).unwrap();
        assert!(report.rows.len() >= Kind::ALL.len());
        for row in &report.rows {
            assert!(row.over_evenly_percent.mean > -0.5, "{row:?}");
            assert!(row.kept.mean > 0.5 && row.kept.mean < 2.0, "{row:?}");
        }
        let again = run(&options, &()).unwrap();
        let kept =
            |report: &Report| -> Vec<Estimate> { report.rows.iter().map(|r| r.kept).collect() };
        assert_eq!(kept(&report), kept(&again));
    }

    #[test]
    fn worlds_that_cannot_be_are_refused() {
        for options in [
            Options {
                seeds: 0,
                ..Options::default()
            },
            Options {
                audience_min: 10,
                ..Options::default()
            },
        ] {
            assert!(run(&options, &()).is_err());
        }
    }
}
