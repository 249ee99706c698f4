//! People with hours of their own: six chronotypes with individual noise, Poisson inbox visits, and interest in a mail that fades.
//!
//! Invariant: a world is fixed by its seed; what a policy does changes neither people nor luck. Who chooses the hour is left to `policies`.
use rand_distr::{Distribution, Gamma, StandardNormal};
use serde::Serialize;

use crate::lab::LabError;
use crate::lab::streams::{Stream, StreamName};

/// Nobody opens later than this, hours.
pub const HORIZON_HOURS: f64 = 168.0;
/// Starts at which open probabilities are tabulated: every half hour.
const STARTS: usize = 48;
/// How interest fades in this world: shares and time constants in hours. Other constants than the model's, on purpose.
const FRESHNESS: [(f64, f64); 2] = [(0.2, 4.0), (0.8, 30.0)];
/// Openings per mail that waits for ever, of the average person, and the shape of its Gamma over people.
const LEVEL: (f64, f64) = (0.30, 1.5);

/// Common activity by hour before it is raised to the world's power: quiet nights, a plateau, the best evening at seven and eight.
const COMMON: [f64; 24] = [
    0.35, 0.25, 0.20, 0.20, 0.20, 0.30, 0.55, 0.85, 1.05, 1.15, 1.15, 1.10, //
    1.15, 1.10, 1.05, 1.05, 1.10, 1.25, 1.45, 1.60, 1.65, 1.45, 1.00, 0.60,
];

/// Chronotypes: hour of the peak, its width in hours, share of the people.
const CHRONOTYPES: [(f64, f64, f64); 6] = [
    (7.0, 1.5, 0.14),
    (10.0, 1.8, 0.20),
    (12.5, 1.3, 0.14),
    (15.5, 1.8, 0.14),
    (20.0, 1.8, 0.26),
    (23.0, 1.6, 0.12),
];

/// How much hours matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// The right hour for everybody gains about 8 %, the right hour for each about 20 %.
    Strong,
    /// About 5 % and 11 %.
    Weak,
}

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Relative activity by hour of day, mean 1.
    activity: [f64; 24],
    /// Openings per mail that waits for ever at average activity.
    level: f64,
    /// Open probability by half hour of the send.
    by_start: [f64; STARTS],
}

/// How many people there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// People who are measured.
    pub people: u32,
    /// Others, whom the tenant has mailed before.
    pub others: u32,
}

/// All people of one seed.
#[derive(Clone, Debug)]
pub struct World {
    /// The people.
    pub people: Vec<Person>,
    /// Others, whom the tenant has mailed before.
    pub others: Vec<Person>,
    /// The start, in half hours, at which one send for everybody is best.
    pub best_start: usize,
    seed: u64,
    name: &'static str,
}

/// Contrast of the common curve, height of a chronotype's peak, standard deviation of the noise's harmonics.
fn contrasts(strength: Strength) -> (f64, f64, f64) {
    match strength {
        Strength::Strong => (0.74, 1.42, 0.10),
        Strength::Weak => (0.39, 0.74, 0.12),
    }
}

/// The share of interest left at an age.
fn remaining(age_hours: f64) -> f64 {
    FRESHNESS
        .iter()
        .map(|(share, tau)| share * (-age_hours / tau).exp())
        .sum()
}

// === impl Strength ===

impl Strength {
    /// Both, strong first.
    pub const ALL: [Self; 2] = [Self::Strong, Self::Weak];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
        }
    }
}

// === impl Person ===

impl Person {
    fn drawn(strength: Strength, stream: &mut Stream, levels: &Gamma<f64>) -> Self {
        let (common, bump, noise) = contrasts(strength);
        let normal = |stream: &mut Stream| -> f64 { StandardNormal.sample(stream.generator()) };
        let mut left = stream.unit();
        let chronotype = CHRONOTYPES.iter().find(|(_, _, share)| {
            left -= share;
            left < 0.0
        });
        let (peak, width, _) = chronotype.copied().unwrap_or(CHRONOTYPES[0]);
        let peak = peak + 0.5 * normal(stream);
        let harmonics: [(f64, f64); 4] =
            std::array::from_fn(|_| (noise * normal(stream), noise * normal(stream)));
        let raw: [f64; 24] = std::array::from_fn(|hour| {
            let apart = (hour as f64 + 0.5 - peak).rem_euclid(24.0);
            let apart = apart.min(24.0 - apart);
            let wave = |(k, (sine, cosine)): (usize, &(f64, f64))| {
                let turn = std::f64::consts::TAU * (k + 1) as f64 * hour as f64 / 24.0;
                (sine * turn.sin() + cosine * turn.cos()) / (k + 1) as f64
            };
            let own: f64 = harmonics.iter().enumerate().map(wave).sum();
            (common * COMMON[hour].ln() + bump * (-0.5 * (apart / width).powi(2)).exp() + own).exp()
        });
        let mean = raw.iter().sum::<f64>() / 24.0;
        let mut person = Self {
            activity: raw.map(|rate| rate / mean),
            level: levels.sample(stream.generator()),
            by_start: [0.0; STARTS],
        };
        person.by_start = std::array::from_fn(|start| {
            -(-person.hazard(start as f64 / 2.0, f64::INFINITY).0).exp_m1()
        });
        person
    }

    /// Integrated hazard of an open from the send on, until it reaches `target`; and the age at which it does, if it does.
    fn hazard(&self, start_hour: f64, target: f64) -> (f64, Option<f64>) {
        let (mut sum, mut age, mut left) = (0.0, 0.0, 1.0);
        while age < HORIZON_HOURS {
            let clock = start_hour + age;
            let next = (age + clock.floor() + 1.0 - clock).min(HORIZON_HOURS);
            let left_then = remaining(next);
            let rate = self.level * self.activity[clock as usize % 24];
            let step = rate * (left - left_then);
            if sum + step >= target {
                let part = (target - sum) / step;
                return (target, Some(age + part * (next - age)));
            }
            (sum, age, left) = (sum + step, next, left_then);
        }
        (sum, None)
    }

    /// The probability that a mail sent at an hour of day is opened, linear between half hours.
    pub fn open_probability(&self, start_hour: f64) -> f64 {
        let position = start_hour.rem_euclid(24.0) * 2.0;
        let (at, part) = (position as usize, position.fract());
        let value = |at: usize| self.by_start[at % STARTS];
        value(at) + part * (value(at + 1) - value(at))
    }

    /// The mean over all starts: what a random hour brings.
    pub fn random_probability(&self) -> f64 {
        self.by_start.iter().sum::<f64>() / STARTS as f64
    }

    /// The best start, in half hours.
    pub fn best_start(&self) -> usize {
        best(&self.by_start)
    }

    /// When a mail sent at this hour of day is opened, hours after the send, by the luck of this mail: uniform in [0, 1).
    pub fn opened_after(&self, start_hour: f64, luck: f64) -> Option<f64> {
        let target = -(-luck).ln_1p();
        self.hazard(start_hour.rem_euclid(24.0), target).1
    }
}

fn best(values: &[f64; STARTS]) -> usize {
    let better = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (0..STARTS).fold(0, better)
}

// === impl World ===

impl World {
    /// The world of a seed.
    pub fn new(strength: Strength, size: Size, seed: u64) -> Result<Self, LabError> {
        let name = strength.word();
        let mut stream = Stream::new(StreamName {
            seed,
            world: name,
            purpose: "people",
        });
        let (mean, shape) = LEVEL;
        let levels = Gamma::new(shape, mean / shape)
            .map_err(|_| LabError::Defect("the level has no valid shape"))?;
        let mut drawn = |count: u32| -> Vec<Person> {
            (0..count)
                .map(|_| Person::drawn(strength, &mut stream, &levels))
                .collect()
        };
        let (people, others) = (drawn(size.people), drawn(size.others));
        let sums = std::array::from_fn(|at| people.iter().map(|p| p.by_start[at]).sum());
        Ok(Self {
            best_start: best(&sums),
            people,
            others,
            seed,
            name,
        })
    }

    /// The luck of a round of mails, one number per person, the same for all policies.
    pub fn luck(&self, round: usize) -> Vec<f64> {
        self.lucks(&format!("luck-{round}"), self.people.len())
    }

    /// The luck of a round of mails to the others.
    pub fn luck_of_others(&self, round: usize) -> Vec<f64> {
        self.lucks(&format!("others-{round}"), self.others.len())
    }

    fn lucks(&self, purpose: &str, count: usize) -> Vec<f64> {
        let mut stream = Stream::new(StreamName {
            seed: self.seed,
            world: self.name,
            purpose,
        });
        (0..count).map(|_| stream.unit()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(people: u32) -> Size {
        Size { people, others: 0 }
    }

    #[test]
    fn the_worlds_have_the_lifts_they_are_named_for() {
        for (strength, everybody, oracle) in [
            (Strength::Strong, 7.5..9.5, 19.0..22.5),
            (Strength::Weak, 4.5..6.0, 10.0..12.5),
        ] {
            let world = World::new(strength, size(2_000), 1).unwrap();
            let mean = |of: &dyn Fn(&Person) -> f64| {
                world.people.iter().map(of).sum::<f64>() / world.people.len() as f64
            };
            let random = mean(&Person::random_probability);
            let one_hour = mean(&|p| p.open_probability(world.best_start as f64 / 2.0));
            let own_hour = mean(&|p| p.open_probability(p.best_start() as f64 / 2.0));
            assert!((0.22..0.25).contains(&random), "{random}");
            let lift = |rate: f64| 100.0 * (rate / random - 1.0);
            assert!(everybody.contains(&lift(one_hour)), "{}", lift(one_hour));
            assert!(oracle.contains(&lift(own_hour)), "{}", lift(own_hour));
        }
    }

    #[test]
    fn opens_come_as_often_and_no_later_than_the_tables_say() {
        let world = World::new(Strength::Strong, size(3), 2).unwrap();
        let person = &world.people[1];
        let lucks: Vec<f64> = (0..2_000).map(|i| (f64::from(i) + 0.5) / 2_000.0).collect();
        let ages: Vec<f64> = lucks
            .iter()
            .filter_map(|luck| person.opened_after(9.0, *luck))
            .collect();
        let share = ages.len() as f64 / lucks.len() as f64;
        assert!((share - person.open_probability(9.0)).abs() < 1e-3);
        assert!(ages.is_sorted() && ages.iter().all(|age| (0.0..=HORIZON_HOURS).contains(age)));
    }
}
