//! Value per mail: do intervals hold the truth, and is more earned by values than by clicks where clicks mislead?
//!
//! Invariant: all objectives send the same mails with the same luck. Each variant's truth is fixed, its orders are lognormal.
mod coverage;

use serde::Serialize;

use crate::domain::experiment::Objective;
use crate::lab::LabError;
use crate::lab::campaign::campaign_settings;
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};

use super::Scenario;
use super::funnel::{Arm, Campaign, World, lost};

pub use coverage::{Coverage, Setting};

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "value",
    about: "intervals of the value per mail, and choosing by values where clicks mislead",
};

/// The worlds, and how often to play in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Variants in the study of intervals.
    pub variants: u32,
    /// Spreads of order values in the study of intervals.
    pub sigmas: Vec<f64>,
    /// Orders per variant in the study of intervals.
    pub orders: Vec<f64>,
    /// Ages of the mails at the look in the study of intervals, hours.
    pub ages_hours: Vec<f64>,
    /// Campaigns per combination in the study of intervals.
    pub campaigns: u64,
    /// Mails in the study of choices.
    pub recipients: u32,
    /// Time in which they leave, hours.
    pub window_hours: f64,
    /// First seed.
    pub seed: u64,
    /// How many seeds in the study of choices.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            variants: 4,
            sigmas: vec![0.5, 1.0, 1.5],
            orders: vec![30.0, 100.0, 300.0, 3_000.0],
            ages_hours: vec![1_000.0, 20.0],
            campaigns: 1_000,
            recipients: 60_000,
            window_hours: 240.0,
            seed: 1,
            seeds: 20,
        }
    }
}

/// What choosing by one objective lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// What was chosen by; none for all alike.
    pub objective: Option<Objective>,
    /// Value lost against the best variant, as a share of what it would have earned, percent.
    pub lost_percent: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// Of intervals.
    pub coverage: Vec<Coverage>,
    /// Of choices.
    pub choices: Vec<Choice>,
}

/// Measures the intervals, then plays the campaigns.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let mut settings = Vec::new();
    for age_hours in &options.ages_hours {
        for sigma in &options.sigmas {
            for orders in &options.orders {
                settings.push(Setting {
                    variants: options.variants,
                    sigma: *sigma,
                    orders: *orders,
                    age_hours: *age_hours,
                });
            }
        }
    }
    progress.begin("intervals", settings.len() as u64);
    let coverage = in_parallel(&settings, |setting| {
        let coverage = coverage::measure(*setting, options.campaigns, options.seed);
        progress.advance(1);
        coverage
    })?;
    Ok(Report {
        options: options.clone(),
        coverage,
        choices: choices(options, progress)?,
    })
}

/// The most clicked variant sells little and cheaply; the one that earns most is clicked least.
fn misleading(options: &Options) -> World {
    let arm = |click_of_open, order_of_click, order_mean| Arm {
        open: 0.25,
        click_of_open,
        order_of_click,
        order_mean,
        unsubscribe_of_open: 0.0,
        complain_of_open: 0.0,
    };
    World {
        arms: vec![
            arm(0.16, 0.20, 30.0),
            arm(0.12, 0.25, 40.0),
            arm(0.12, 0.30, 30.0),
            arm(0.10, 0.30, 60.0),
        ],
        recipients: options.recipients,
        window_hours: options.window_hours,
        look_minutes: 120.0,
        open_median_hours: 5.0,
        click_median_hours: 0.1,
        order_median_hours: 2.0,
        order_sigma: 1.0,
        attribution_hours: 168.0,
    }
}

fn choices(options: &Options, progress: &dyn Progress) -> Result<Vec<Choice>, LabError> {
    let objectives = [Objective::Value, Objective::Conversion, Objective::Click];
    let seeds: Vec<u64> = (0..options.seeds)
        .map(|at| options.seed.wrapping_add(at))
        .collect();
    let world = misleading(options);
    let worth: Vec<f64> = world.arms.iter().map(Arm::value).collect();
    let best = worth.iter().copied().fold(0.0, f64::max) * f64::from(options.recipients);
    progress.begin("campaigns", options.seeds);
    let games = in_parallel(&seeds, |seed| {
        let campaign = Campaign::new(&world, *seed)?;
        let sends = objectives.map(|objective| {
            campaign.play(&campaign_settings(objective, u64::from(options.recipients)))
        });
        progress.advance(1);
        sends.into_iter().collect::<Result<Vec<_>, LabError>>()
    })?;
    let of = |at: usize| -> Vec<f64> {
        let runs = games.iter().filter_map(|sends| sends.get(at));
        runs.map(|sends| 100.0 * lost(sends, &worth) / best)
            .collect()
    };
    let mut choices: Vec<Choice> = objectives
        .iter()
        .enumerate()
        .map(|(at, objective)| Choice {
            objective: Some(*objective),
            lost_percent: Estimate::over_runs(&of(at)),
        })
        .collect();
    let mean = worth.iter().sum::<f64>() / worth.len() as f64;
    let alike = 100.0 * (1.0 - mean * f64::from(options.recipients) / best);
    choices.push(Choice {
        objective: None,
        lost_percent: Estimate {
            mean: alike,
            low: None,
            high: None,
        },
    });
    Ok(choices)
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let numbers = options.orders.iter().chain(&options.ages_hours);
    if !numbers
        .clone()
        .all(|number| *number > 0.0 && *number <= 1e6)
    {
        return refuse("orders and ages must be above 0 and at most 1e6");
    }
    if !options
        .sigmas
        .iter()
        .all(|sigma| (0.0..=3.0).contains(sigma))
    {
        return refuse("sigmas must be 0 to 3");
    }
    if !(1..=100).contains(&options.variants) || options.campaigns == 0 {
        return refuse("intervals need 1 to 100 variants and campaigns");
    }
    if options.recipients == 0 || options.seeds == 0 || options.window_hours <= 0.0 {
        return refuse("choices need recipients, hours and seeds");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            sigmas: vec![1.0],
            orders: vec![100.0],
            campaigns: 400,
            recipients: 20_000,
            window_hours: 96.0,
            seeds: 4,
            ..Options::default()
        }
    }

    #[test]
    fn intervals_hold_the_truth_and_values_earn_more_than_clicks() {
        let report = run(&small(), &()).unwrap();
        for coverage in &report.coverage {
            let percent = coverage.covered_percent.mean;
            assert!((92.0..97.5).contains(&percent), "{coverage:?}");
        }
        let lost = |at: usize| report.choices[at].lost_percent.mean;
        assert!(lost(0) < 0.7 * lost(2) && lost(0) < lost(3), "{report:?}");
    }

    #[test]
    fn a_world_that_cannot_be_is_refused() {
        for odd in [
            Options {
                variants: 0,
                ..small()
            },
            Options {
                sigmas: vec![-1.0],
                ..small()
            },
            Options {
                orders: vec![0.0],
                ..small()
            },
            Options {
                seeds: 0,
                ..small()
            },
        ] {
            assert!(run(&odd, &()).is_err(), "{odd:?}");
        }
    }
}
