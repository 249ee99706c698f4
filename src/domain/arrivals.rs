//! How long answers took: for each objective, and for harm, a histogram of the time from the send to the answer that counts.
//!
//! Invariant: a sum over touches, faded from each send on like the cells of its experiment, so parts merge in any order and what was added
//! can be taken back. What is learned from it is left to `delay::learning`.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::cell::HOUR_MS;
use crate::domain::experiment::Objective;

/// Bins of a histogram.
pub const DELAY_BINS: usize = 24;

/// Upper end of the first bin, hours: ten seconds.
const FIRST_HOURS: f64 = 10.0 / 3_600.0;
/// Upper end of the last bin, hours: the longest attribution window.
const LAST_HOURS: f64 = 720.0;

/// Histograms of one experiment, faded to one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The instant that the weights are faded to, milliseconds since 1970; without a half-life, that of the last change.
    pub as_of_ms: i64,
    /// Half-life of all weights, hours; 0 for none.
    pub half_life_hours: f64,
    /// Weight of the successes and of the harm by kind and bin; what is not there is 0.
    weights: BTreeMap<u8, f64>,
}

/// Lower and upper end of a bin, hours: ten seconds and less, then 23 bins of a factor of 1.72 each, up to 30 days.
pub fn bin_hours(bin: usize) -> (f64, f64) {
    let edge = |number: usize| {
        let steps = (DELAY_BINS - 1) as f64;
        FIRST_HOURS * (LAST_HOURS / FIRST_HOURS).powf(number as f64 / steps)
    };
    let low = bin.checked_sub(1).map_or(0.0, edge);
    (low, edge(bin.min(DELAY_BINS - 1)))
}

/// The bin of a delay; negative delays are none, longer ones than the last bin's are in it.
pub fn bin_of(delay_hours: f64) -> usize {
    let steps = (DELAY_BINS - 1) as f64;
    let position =
        (delay_hours / FIRST_HOURS).max(1.0).ln() / (LAST_HOURS / FIRST_HOURS).ln() * steps;
    // A casting of a number that is not one gives 0.
    (position.ceil() as usize).min(DELAY_BINS - 1)
}

fn slot(objective: Objective, bin: usize) -> u8 {
    let row = match objective.counted() {
        Objective::Open => 0,
        Objective::Conversion => 2,
        _ => 1,
    };
    (row * DELAY_BINS + bin.min(DELAY_BINS - 1)) as u8
}

/// Complaints, unsubscribes and negative replies together, behind the objectives.
fn harm_slot(bin: usize) -> u8 {
    (3 * DELAY_BINS + bin.min(DELAY_BINS - 1)) as u8
}

// === impl Arrivals ===

impl Arrivals {
    /// No arrivals, as of an instant.
    pub fn empty(as_of_ms: i64, half_life_hours: Option<f64>) -> Self {
        Self {
            as_of_ms,
            half_life_hours: half_life_hours.unwrap_or(0.0),
            weights: BTreeMap::new(),
        }
    }

    /// Counts a success of this weight that took so long.
    pub fn count(&mut self, objective: Objective, delay_hours: f64, weight: f64) {
        let slot = slot(objective, bin_of(delay_hours));
        *self.weights.entry(slot).or_default() += weight;
    }

    /// Counts harm of this weight that took so long.
    pub fn count_harm(&mut self, delay_hours: f64, weight: f64) {
        let slot = harm_slot(bin_of(delay_hours));
        *self.weights.entry(slot).or_default() += weight;
    }

    /// Weight of the harm by bin.
    pub fn harm(&self) -> [f64; DELAY_BINS] {
        std::array::from_fn(|bin| self.at(harm_slot(bin)))
    }

    fn at(&self, slot: u8) -> f64 {
        self.weights.get(&slot).copied().unwrap_or(0.0).max(0.0)
    }

    /// Weight of an objective's successes by bin.
    pub fn of(&self, objective: Objective) -> [f64; DELAY_BINS] {
        std::array::from_fn(|bin| self.at(slot(objective, bin)))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.weights.values().all(|weight| *weight == 0.0)
    }

    /// Fades the weights to a later instant; an earlier one changes nothing.
    pub fn advance(&mut self, to_ms: i64) {
        if to_ms <= self.as_of_ms {
            return;
        }
        if self.half_life_hours > 0.0 {
            let hours = (to_ms - self.as_of_ms) as f64 / HOUR_MS as f64;
            let kept = (-hours / self.half_life_hours).exp2();
            self.weights.values_mut().for_each(|weight| *weight *= kept);
        }
        self.as_of_ms = to_ms;
    }

    /// Adds another part; the later instant of the two holds afterwards.
    pub fn merge(&mut self, part: &Self) {
        if self.as_of_ms == 0 {
            self.half_life_hours = part.half_life_hours;
        }
        let mut part = part.clone();
        self.advance(part.as_of_ms);
        part.advance(self.as_of_ms);
        for (slot, weight) in part.weights {
            *self.weights.entry(slot).or_default() += weight;
        }
    }

    /// Takes back what another counted; both as of one instant.
    pub fn subtract(&mut self, other: &Self) {
        for (slot, weight) in &other.weights {
            *self.weights.entry(*slot).or_default() -= weight;
        }
        self.weights.retain(|_, weight| *weight != 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delay_lies_in_its_bin_and_bins_touch() {
        for bin in 0..DELAY_BINS {
            let (low, high) = bin_hours(bin);
            assert!(low < high);
            assert_eq!(bin_of(low.midpoint(high)), bin, "{low} to {high}");
            assert_eq!(bin_hours(bin + 1).0, high);
        }
        assert_eq!((bin_of(0.0), bin_of(-3.0), bin_of(1.0e9)), (0, 0, 23));
        assert!((bin_hours(23).1 - 720.0).abs() < 1e-9);
        assert_eq!(bin_of(f64::NAN), 0);
    }

    #[test]
    fn parts_merge_in_any_order_and_can_be_taken_back() {
        let part = |as_of_ms, hours, weight| {
            let mut part = Arrivals::empty(as_of_ms, Some(24.0));
            part.count(Objective::Click, hours, weight);
            part
        };
        let parts = [
            part(HOUR_MS, 1.0, 1.0),
            part(9 * HOUR_MS, 5.0, 0.5),
            part(4 * HOUR_MS, 1.0, 0.25),
        ];
        let fold = |order: [usize; 3]| {
            let mut sum = Arrivals::default();
            order.iter().for_each(|at| sum.merge(&parts[*at]));
            sum
        };
        let (one, other) = (fold([0, 1, 2]), fold([2, 1, 0]));
        for (x, y) in one
            .of(Objective::Click)
            .iter()
            .zip(other.of(Objective::Click))
        {
            assert!((x - y).abs() < 1e-12);
        }
        let total: f64 = one.of(Objective::Click).iter().sum();
        let expected = (-8.0f64 / 24.0).exp2() + 0.5 + 0.25 * (-5.0f64 / 24.0).exp2();
        assert!((total - expected).abs() < 1e-12);
        assert_eq!(one.of(Objective::Open), [0.0; DELAY_BINS]);
        let mut none = one.clone();
        none.subtract(&one);
        assert!(none.is_empty());
    }
}
