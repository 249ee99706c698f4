//! A change of all variants alike: rates `p_k` before, `r p_k` after, fitted by alternating sweeps.
//!
//! Whether such a change is clear enough to be reported is left to the parent.
use crate::domain::half_life::Arrived;

use super::{EXPECTED_MIN, total};

/// Sweeps between the variants' rates and the common level.
const LEVEL_SWEEPS: usize = 3;

/// A common change of level fitted to all variants.
pub struct Level {
    pub rates: Vec<f64>,
    pub factor: f64,
    pub ratio: f64,
    /// Rate of all before.
    pub before: f64,
}

/// What came to one variant before and after a place.
#[derive(Clone, Copy)]
struct Halves {
    before: Arrived,
    after: Arrived,
}

// === impl Halves ===

impl Halves {
    /// The variant's rate before, if it is this factor of it after.
    fn rate(&self, factor: f64) -> f64 {
        self.successes() / (self.before.trials + factor * self.after.trials).max(1e-9)
    }

    fn successes(&self) -> f64 {
        self.before.successes + self.after.successes
    }
}

// === impl Level ===

impl Level {
    /// The fit of a change at this stretch; none where too little came before or after it.
    pub fn fit(rows: &[&[Arrived]], at: usize) -> Option<Self> {
        let halves: Vec<Halves> = rows
            .iter()
            .map(|row| {
                let (first, second) = row.split_at(at.min(row.len()));
                Halves {
                    before: total(first),
                    after: total(second),
                }
            })
            .collect();
        let sum = |of: fn(&Halves) -> f64| halves.iter().map(of).sum::<f64>();
        let rates_at =
            |factor: f64| -> Vec<f64> { halves.iter().map(|half| half.rate(factor)).collect() };
        let expected = |rates: &[f64], of: fn(&Halves) -> f64| -> f64 {
            let pairs = rates.iter().zip(&halves);
            pairs.map(|(rate, half)| rate * of(half)).sum()
        };
        let alike = rates_at(1.0);
        let expected_before = expected(&alike, |half| half.before.trials);
        let expected_after = expected(&alike, |half| half.after.trials);
        if expected_before.min(expected_after) < EXPECTED_MIN {
            return None;
        }
        let came_after = sum(|half| half.after.successes);
        let (mut factor, mut rates) = (1.0, alike.clone());
        for _ in 0..LEVEL_SWEEPS {
            factor = came_after / expected(&rates, |half| half.after.trials).max(1e-9);
            rates = rates_at(factor);
        }
        let changed = halves.iter().zip(rates.iter().zip(&alike));
        let per_variant: f64 = changed
            .map(|(half, (rate, alike))| gain(half.successes(), rate / alike.max(1e-300)))
            .sum();
        let trials_before = sum(|half| half.before.trials).max(1e-9);
        Some(Self {
            ratio: per_variant + gain(came_after, factor),
            rates,
            factor,
            before: sum(|half| half.before.successes) / trials_before,
        })
    }
}

/// `S ln(ratio)`; 0 without successes, where the ratio may be 0 too.
fn gain(successes: f64, ratio: f64) -> f64 {
    if successes > 0.0 {
        successes * ratio.ln()
    } else {
        0.0
    }
}
