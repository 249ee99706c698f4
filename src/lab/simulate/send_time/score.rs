//! Scores of chosen hours: expected open rates by band of mails, as shares of what the oracle gains over a random hour.
//!
//! Invariant: random hour and oracle are known exactly from the world, so a score has no luck of opens in it.
use serde::Serialize;

use crate::lab::estimate::Estimate;

use super::Cell;
use super::policies::Sent;
use super::world::World;

/// A band of mails, counted from 1, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// The first mail.
    pub first: u32,
    /// The last mail.
    pub last: u32,
}

/// The bands of the table.
pub const BANDS: [Band; 6] = [
    Band { first: 1, last: 5 },
    Band { first: 6, last: 10 },
    Band {
        first: 11,
        last: 20,
    },
    Band {
        first: 21,
        last: 40,
    },
    Band {
        first: 41,
        last: 60,
    },
    Band {
        first: 61,
        last: 100,
    },
];

/// Sums over the mails of one band.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    mails: f64,
    opened: f64,
    random: f64,
    oracle: f64,
    hits: f64,
}

/// Sums by band.
#[derive(Clone, Debug, Default)]
pub struct Bands([Sum; BANDS.len()]);

/// A policy while it is played.
pub struct Played {
    /// The sums so far.
    pub bands: Bands,
    people: Vec<Bounds>,
    world: World,
}

/// What is known of a person beforehand.
#[derive(Clone, Copy)]
struct Bounds {
    random: f64,
    best_hour: f64,
    oracle: f64,
}

fn bounds(world: &World) -> Vec<Bounds> {
    let of = |person: &super::world::Person| {
        let best_hour = person.best_start() as f64 / 2.0;
        Bounds {
            random: person.random_probability(),
            best_hour,
            oracle: person.open_probability(best_hour),
        }
    };
    world.people.iter().map(of).collect()
}

fn band_of(round: usize) -> Option<usize> {
    let mail = round as u32 + 1;
    BANDS
        .iter()
        .position(|band| (band.first..=band.last).contains(&mail))
}

/// Hours between two hours of day, around the clock.
fn apart(one: f64, other: f64) -> f64 {
    let apart = (one - other).rem_euclid(24.0);
    apart.min(24.0 - apart)
}

// === impl Played ===

impl Played {
    /// Nothing sent yet.
    pub fn new(world: &World) -> Self {
        Self {
            bands: Bands::default(),
            people: bounds(world),
            world: world.clone(),
        }
    }

    /// Adds a round of mails, one to each person.
    pub fn add(&mut self, round: usize, sent: &[Sent]) {
        let Some(sum) = band_of(round).and_then(|band| self.bands.0.get_mut(band)) else {
            return;
        };
        for ((sent, person), bounds) in sent.iter().zip(&self.world.people).zip(&self.people) {
            sum.mails += 1.0;
            sum.opened += person.open_probability(sent.hour);
            sum.random += bounds.random;
            sum.oracle += bounds.oracle;
            sum.hits += f64::from(u8::from(apart(sent.hour, bounds.best_hour) <= 1.0));
        }
    }

    /// Adds a round at random hours, as expected.
    pub fn add_random(&mut self, round: usize) {
        let Some(sum) = band_of(round).and_then(|band| self.bands.0.get_mut(band)) else {
            return;
        };
        for bounds in &self.people {
            sum.mails += 1.0;
            sum.opened += bounds.random;
            sum.random += bounds.random;
            sum.oracle += bounds.oracle;
            sum.hits += 2.0 / 24.0;
        }
    }
}

/// The cells of a rule, run by run, beside those of everybody's hour.
pub fn cells(runs: &[&Bands], everybody: &[&Bands], mails: u32) -> Vec<Cell> {
    let played = BANDS.iter().filter(|band| band.first <= mails).count();
    (0..played)
        .map(|band| {
            let estimate = |of: &dyn Fn(&Sum, &Sum) -> f64| {
                let values: Vec<f64> = runs
                    .iter()
                    .zip(everybody)
                    .map(|(run, everybody)| of(&run.0[band], &everybody.0[band]))
                    .collect();
                Estimate::over_runs(&values)
            };
            Cell {
                lift_percent: estimate(&|sum, _| 100.0 * (sum.opened / sum.random - 1.0)),
                share_percent: estimate(&|sum, _| {
                    100.0 * (sum.opened - sum.random) / (sum.oracle - sum.random)
                }),
                over_everybody_points: estimate(&|sum, everybody| {
                    100.0 * (sum.opened - everybody.opened) / sum.mails
                }),
                hits: estimate(&|sum, _| sum.hits / sum.mails),
            }
        })
        .collect()
}

/// Recommended within an hour of `ten`, truly best there, share of the oracle's lift reached, and by staying; in percent.
pub fn at_ten(world: &World, hours: &[f64], ten: f64) -> [f64; 4] {
    let bounds = bounds(world);
    let count = bounds.len().max(1) as f64;
    let near = |hour: f64| f64::from(u8::from(apart(hour, ten) <= 1.0));
    let recommended: f64 = hours.iter().map(|hour| near(*hour)).sum();
    let best: f64 = bounds.iter().map(|b| near(b.best_hour)).sum();
    let lift: f64 = bounds.iter().map(|b| b.oracle - b.random).sum();
    let reached = |hour: &dyn Fn(usize) -> f64| -> f64 {
        let over = world.people.iter().zip(&bounds).enumerate();
        over.map(|(at, (person, b))| person.open_probability(hour(at)) - b.random)
            .sum()
    };
    let asked = reached(&|at| hours.get(at).copied().unwrap_or(ten));
    [
        100.0 * recommended / count,
        100.0 * best / count,
        100.0 * asked / lift,
        100.0 * reached(&|_| ten) / lift,
    ]
}
