//! How long a refresh takes: probabilities with their table alone, and the whole snapshot from the cells.
//!
//! Invariant: one thread, after a warm-up; every measurement has posteriors of its own and is the fastest of three repeats, so that what else runs on
//! the machine is left out as far as can be.
use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;

use crate::domain::allocation::Allocation;
use crate::domain::policy::Policy;
use crate::domain::quadrature::best_arm;
use crate::domain::shape::BetaShape;
use crate::lab::LabError;
use crate::lab::at_once::{AtOnce, Tally};
use crate::lab::streams::{Stream, StreamName};

use super::sets::between;

/// Numbers of arms, and by how much fewer refreshes are timed.
const SIZES: [(usize, usize); 3] = [(10, 1), (100, 4), (1_000, 10)];
/// Refreshes that are not counted.
const WARM_UP: usize = 20;

/// Each refresh is repeated so often.
const REPEATS: usize = 3;

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Probabilities of being best and the alias table.
    Probabilities,
    /// The snapshot from the cells under Thompson sampling.
    Thompson,
    /// The snapshot from the cells under the default policy.
    DefaultPolicy,
}

/// Times of a refresh, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RefreshTime {
    /// What was timed.
    pub what: What,
    /// Arms.
    pub arms: usize,
    /// Refreshes.
    pub refreshes: usize,
    /// Half of them took longer.
    pub median_us: f64,
    /// One in a hundred took longer.
    pub p99_us: f64,
}

/// Times refreshes of campaigns with rates as mails have them.
pub fn refreshes(count: usize, seed: u64) -> Result<Vec<RefreshTime>, LabError> {
    let mut times = Vec::new();
    for (arms, fewer) in SIZES {
        for what in [What::Probabilities, What::Thompson, What::DefaultPolicy] {
            let refreshes = count / fewer;
            if refreshes > 0 {
                times.push(timed(what, arms, refreshes, seed)?);
            }
        }
    }
    Ok(times)
}

fn timed(what: What, arms: usize, refreshes: usize, seed: u64) -> Result<RefreshTime, LabError> {
    let policy = match what {
        What::Probabilities | What::Thompson => Policy::Thompson,
        What::DefaultPolicy => Policy::default(),
    };
    let campaign = AtOnce::new(arms, policy)?;
    let mut stream = Stream::new(StreamName {
        seed,
        world: "timing",
        purpose: "tallies",
    });
    let mut times_us = Vec::new();
    for number in 0..WARM_UP + refreshes {
        let tallies: Vec<Tally> = (0..arms).map(|_| tally(&mut stream)).collect();
        let posteriors: Vec<BetaShape> = tallies.iter().map(Tally::posterior).collect();
        let cells = campaign.cells(&tallies);
        let repeat = |_| {
            let start = Instant::now();
            if what == What::Probabilities {
                let best = best_arm(black_box(&posteriors));
                black_box(Allocation::new(&best.probability, 0.02).ok());
            } else {
                black_box(campaign.snapshot(black_box(&cells)));
            }
            start.elapsed().as_secs_f64() * 1e6
        };
        let fastest = (0..REPEATS).map(repeat).fold(f64::INFINITY, f64::min);
        if number >= WARM_UP {
            times_us.push(fastest);
        }
    }
    times_us.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let at = (share * times_us.len() as f64) as usize;
        times_us
            .get(at.min(times_us.len() - 1))
            .copied()
            .unwrap_or(0.0)
    };
    Ok(RefreshTime {
        what,
        arms,
        refreshes,
        median_us: quantile(0.5),
        p99_us: quantile(0.99),
    })
}

fn tally(stream: &mut Stream) -> Tally {
    let (trials, rate) = (
        between(stream, 10.0, 1e5).round(),
        0.01 + 0.3 * stream.unit(),
    );
    Tally {
        trials,
        successes: (trials * rate).round(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_an_order() {
        let times = refreshes(20, 1).unwrap();
        assert_eq!(times.len(), 9);
        for time in times {
            assert!(
                time.median_us > 0.0 && time.median_us <= time.p99_us,
                "{time:?}"
            );
        }
        assert!(refreshes(0, 1).unwrap().is_empty());
    }
}
