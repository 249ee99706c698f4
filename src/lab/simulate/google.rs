//! The example of Google's content experiments (Scott 2013): two pages of 4 and 5 %, 100 visits a day, stopped once the winner is clear.
//!
//! Invariant: shares and probabilities come from the snapshots that answer on a server, updated once a day under Beta(1, 1); conversions come at once. Saved is what
//! the classical test of equal shares for a fixed time would have needed more.
use serde::Serialize;

use crate::domain::policy::Policy;
use crate::domain::posterior::Posterior;
use crate::domain::shape::BetaShape;
use crate::domain::snapshot::{Candidate, Table};
use crate::domain::value_remaining::ValueRemaining;
use crate::lab::LabError;
use crate::lab::at_once::{AtOnce, Tally};
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "google",
    about: "days saved against a classical test, and how often it ends right (Google's content experiments)",
};

/// No test runs longer, days.
const DAYS_MAX: u64 = 5_000;

/// The world and the rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Conversion rates of the pages; the first is the original.
    pub rates: Vec<f64>,
    /// Visits a day.
    pub visits_per_day: u64,
    /// Days that the classical test takes.
    pub classical_days: u64,
    /// No stop before, days.
    pub days_min: u64,
    /// Stop when the leader is best with this probability.
    pub probability: f64,
    /// Or when less than this relative gain remains with the same probability.
    pub gain: f64,
    /// First seed.
    pub seed: u64,
    /// Experiments.
    pub seeds: u64,
}

/// All that was measured, with intervals over experiments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The world and the rule.
    pub options: Options,
    /// Days until the stop.
    pub days: Estimate,
    /// Days that the classical test would have taken more.
    pub days_saved: Estimate,
    /// Share of the experiments that ended with the best page.
    pub right: Estimate,
    /// Conversions that the classical test would have lost more within its time, the page that was chosen taken for the best.
    pub conversions_saved: Estimate,
    /// The same less what a wrong choice loses in the days saved.
    pub conversions_saved_net: Estimate,
    /// How many experiments ended after so many days, in bins of 10 days.
    pub histogram: Vec<(u64, u64)>,
}

/// How one experiment ended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct End {
    days: u64,
    chosen: usize,
    /// Conversions lost while it ran.
    lost: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rates: vec![0.04, 0.05],
            visits_per_day: 100,
            classical_days: 223,
            days_min: 14,
            probability: 0.95,
            gain: 0.01,
            seed: 1,
            seeds: 2_000,
        }
    }
}

/// Runs the experiments.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds: Vec<u64> = (options.seed..options.seed.saturating_add(options.seeds)).collect();
    progress.begin("experiments", options.seeds);
    let ends = in_parallel(&seeds, |seed| {
        let end = options.play(*seed);
        progress.advance(1);
        end
    })?;
    let over = |value: &dyn Fn(&End) -> f64| {
        Estimate::over_runs(&ends.iter().map(value).collect::<Vec<_>>())
    };
    let best = options.best();
    let is_right = |end: &End| options.rates.get(end.chosen) == Some(&best);
    let histogram = |bin: u64| {
        let within = ends.iter().filter(|end| end.days / 10 == bin);
        (10 * bin, within.count() as u64)
    };
    let last = ends.iter().map(|end| end.days / 10).max().unwrap_or(0);
    Ok(Report {
        options: options.clone(),
        days: over(&|end| end.days as f64),
        days_saved: over(&|end| options.classical_days as f64 - end.days as f64),
        right: over(&|end| f64::from(is_right(end))),
        conversions_saved: over(&|end| options.conversions_saved(end)),
        conversions_saved_net: over(&|end| {
            options.conversions_saved(end) - options.lost_after(end)
        }),
        histogram: (0..=last).map(histogram).collect(),
    })
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    let is_share = |number: &f64| *number > 0.0 && *number < 1.0;
    if options.rates.len() < 2 || !options.rates.iter().all(is_share) {
        return refuse("needs two or more conversion rates between 0 and 1");
    }
    if !is_share(&options.probability) || !(0.0..10.0).contains(&options.gain) {
        return refuse("needs a probability between 0 and 1, and a gain of at least 0");
    }
    if options.visits_per_day == 0 || options.seeds == 0 || options.days_min > DAYS_MAX {
        return refuse("needs visits, experiments, and at most 5,000 days at least");
    }
    Ok(())
}

// === impl Options ===

impl Options {
    fn best(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    fn play(&self, seed: u64) -> Result<End, LabError> {
        let stream = |purpose| {
            Stream::new(StreamName {
                seed,
                world: "google",
                purpose,
            })
        };
        let (mut choices, mut answers) = (stream("choices"), stream("answers"));
        let campaign = AtOnce::new(self.rates.len(), Policy::Thompson)?;
        let mut tallies = vec![Tally::default(); self.rates.len()];
        let (best, mut lost, mut days) = (self.best(), 0.0, 0);
        loop {
            let snapshot = campaign.snapshot(&campaign.cells(&tallies));
            let table = snapshot
                .everyone()
                .ok_or(LabError::Defect("a snapshot has no table"))?;
            let leader = leader(table);
            if days >= DAYS_MAX || days >= self.days_min && self.is_over(table, leader) {
                return Ok(End {
                    days,
                    chosen: leader,
                    lost,
                });
            }
            for _ in 0..self.visits_per_day {
                let arm = table.allocation.draw(choices.bits());
                let (Some(rate), Some(tally)) = (self.rates.get(arm), tallies.get_mut(arm)) else {
                    return Err(LabError::Defect("an arm that is none was drawn"));
                };
                lost += best - rate;
                tally.add(1.0, f64::from(answers.unit() < *rate));
            }
            days += 1;
        }
    }

    /// Google's rule: the leader is best, or nothing worth having remains, with high probability.
    fn is_over(&self, table: &Table, leader: usize) -> bool {
        if table
            .best()
            .probability
            .get(leader)
            .is_some_and(|p| *p >= self.probability)
        {
            return true;
        }
        let rate = |candidate: &Candidate| match candidate.posterior {
            Posterior::Rate(shape) => Some(shape),
            Posterior::Value(_) | Posterior::Utility(_) => None,
        };
        let posteriors: Vec<BetaShape> = table.candidates.iter().filter_map(rate).collect();
        ValueRemaining::of(&posteriors, leader)
            .is_none_or(|remaining| remaining.exceedance(self.gain) < 1.0 - self.probability)
    }

    /// The classical test splits visits evenly for all of its time; this one sends what is left of it to the page it chose.
    fn conversions_saved(&self, end: &End) -> f64 {
        let mean = self.rates.iter().sum::<f64>() / self.rates.len() as f64;
        let visits = self.classical_days as f64 * self.visits_per_day as f64;
        visits * (self.best() - mean) - end.lost
    }

    /// What the chosen page loses from the stop to the end of the classical test.
    fn lost_after(&self, end: &End) -> f64 {
        let days = self.classical_days.saturating_sub(end.days) as f64;
        let chosen = self.rates.get(end.chosen).copied().unwrap_or(0.0);
        days * self.visits_per_day as f64 * (self.best() - chosen)
    }
}

fn leader(table: &Table) -> usize {
    let chances = table.best().probability.iter().enumerate();
    chances
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(arm, _)| arm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options {
            rates: vec![0.04, 0.08],
            seeds: 60,
            ..Options::default()
        }
    }

    #[test]
    fn a_clear_winner_is_found_early_and_nearly_always() {
        let report = run(&small(), &()).unwrap();
        assert!(
            report.days.mean >= 14.0 && report.days.mean < 25.0,
            "{report:?}"
        );
        assert!((report.days.mean + report.days_saved.mean - 223.0).abs() < 1e-9);
        assert!(report.right.mean > 0.95, "{report:?}");
        // The classical test loses half of the difference of 0.04 in 22,300 visits.
        let (saved, net) = (
            report.conversions_saved.mean,
            report.conversions_saved_net.mean,
        );
        assert!((400.0..446.0).contains(&net) && net <= saved, "{report:?}");
        assert_eq!(
            report.histogram.iter().map(|(_, count)| count).sum::<u64>(),
            60
        );
        assert_eq!(report, run(&small(), &()).unwrap());
    }

    #[test]
    fn alike_pages_end_when_nothing_remains_to_be_gained() {
        let alike = Options {
            rates: vec![0.5, 0.5],
            visits_per_day: 2_000,
            gain: 0.05,
            probability: 0.9,
            seeds: 10,
            ..Options::default()
        };
        let report = run(&alike, &()).unwrap();
        assert!(report.days.mean < 40.0, "{report:?}");
        assert_eq!(report.right.mean, 1.0);
    }

    #[test]
    fn a_world_that_cannot_be_is_refused() {
        for odd in [
            Options {
                rates: vec![0.1],
                ..small()
            },
            Options {
                rates: vec![0.1, 0.0],
                ..small()
            },
            Options {
                probability: 1.0,
                ..small()
            },
            Options {
                gain: f64::NAN,
                ..small()
            },
            Options {
                visits_per_day: 0,
                ..small()
            },
            Options {
                seeds: 0,
                ..small()
            },
            Options {
                days_min: 9_999,
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
