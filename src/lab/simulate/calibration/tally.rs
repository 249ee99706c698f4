//! Claims held against the truth, campaign by campaign, so that intervals know that looks at one campaign are not independent.
//!
//! Invariant: a tally is of one campaign and one way of reporting.
use serde::Serialize;

use crate::domain::quadrature::BestArm;
use crate::lab::estimate::{Estimate, Share};

/// Bins of claimed probability, equally wide.
pub const BINS: usize = 10;

/// One bin of claimed probabilities of being best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Claims in it.
    pub claims: f64,
    /// Mean claim.
    pub claimed: f64,
    /// Share of the claims that were true.
    pub realised: f64,
    /// Realised minus claimed, percentage points, with the interval over campaigns (bootstrap).
    pub excess_points: Estimate,
}

/// What one campaign gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    claims: [f64; BINS],
    claimed: [f64; BINS],
    realised: [f64; BINS],
    expected_loss: f64,
    realised_loss: f64,
    lift_product: f64,
    lift_square: f64,
}

// === impl Tally ===

impl Tally {
    /// Adds one look.
    pub fn add(&mut self, best: &BestArm, means: &[f64], truth: &[f64]) {
        let highest = truth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (claim, rate) in best.probability.iter().zip(truth) {
            let bin = ((claim * BINS as f64) as usize).min(BINS - 1);
            let hit = if *rate >= highest { 1.0 } else { 0.0 };
            let cells = [&mut self.claims, &mut self.claimed, &mut self.realised];
            for (cell, more) in cells.into_iter().zip([1.0, *claim, hit]) {
                if let Some(cell) = cell.get_mut(bin) {
                    *cell += more;
                }
            }
        }
        let leader = (0..means.len()).max_by(|one, other| {
            let mean = |at: &usize| means.get(*at).copied().unwrap_or(0.0);
            mean(one).total_cmp(&mean(other))
        });
        let Some(leader) = leader else { return };
        let of = |values: &[f64]| values.get(leader).copied().unwrap_or(0.0);
        self.expected_loss += of(&best.expected_loss);
        self.realised_loss += highest - of(truth);
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let claimed = of(means) / average(means) - 1.0;
        let true_lift = of(truth) / average(truth) - 1.0;
        self.lift_product += claimed * true_lift;
        self.lift_square += claimed * claimed;
    }

    /// All campaigns' claims by bin.
    pub fn bins(tallies: &[&Self], seed: u64) -> Vec<Bin> {
        let bin = |at: usize| {
            let of = |cells: &[f64; BINS]| cells.get(at).copied().unwrap_or(0.0);
            let sum = |cells: fn(&Self) -> &[f64; BINS]| -> f64 {
                tallies.iter().map(|tally| of(cells(tally))).sum()
            };
            let claims = sum(|tally| &tally.claims);
            let units: Vec<Share> = tallies
                .iter()
                .map(|tally| Share {
                    part: of(&tally.realised) - of(&tally.claimed),
                    whole: of(&tally.claims),
                })
                .collect();
            Bin {
                claims,
                claimed: sum(|tally| &tally.claimed) / claims.max(1.0),
                realised: sum(|tally| &tally.realised) / claims.max(1.0),
                excess_points: Estimate::over_units(&units, seed).times(100.0),
            }
        };
        (0..BINS).map(bin).collect()
    }

    /// Expected over realised loss of the leader.
    pub fn losses(tallies: &[&Self], seed: u64) -> Estimate {
        let unit = |tally: &&Self| Share {
            part: tally.expected_loss,
            whole: tally.realised_loss,
        };
        Estimate::over_units(&tallies.iter().map(unit).collect::<Vec<_>>(), seed)
    }

    /// Slope of the leader's true lift over all variants on its claimed one, through the origin.
    pub fn slope(tallies: &[&Self], seed: u64) -> Estimate {
        let unit = |tally: &&Self| Share {
            part: tally.lift_product,
            whole: tally.lift_square,
        };
        Estimate::over_units(&tallies.iter().map(unit).collect::<Vec<_>>(), seed)
    }
}
