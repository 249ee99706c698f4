//! What is remembered of one recipient's hours: observed opens over expected opens, and activity nobody asked for.
//!
//! Amounts are whole numbers relative to a landmark, so adding and taking back is an exact inverse and order does not matter.
//! Reading the numbers as rates is left to `send_time`; the tenant's sums are in [`tenant`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::civil::LocalHour;
use super::freshness::ExposureVector;

pub mod machine;
pub mod tenant;

pub use machine::OpenShares;
pub use tenant::TenantActivity;

/// After this time an amount counts half; also the distance of two landmarks.
pub const HALF_LIFE_DAYS: i64 = 90;
const HALF_LIFE_SECONDS: i64 = HALF_LIFE_DAYS * 86_400;

/// Hours and weekdays.
const BINS_NUMBERS: usize = 24 + 7;
/// How many numbers a profile is: the landmark and three times the hours and weekdays.
pub const PROFILE_NUMBERS: usize = 1 + 3 * BINS_NUMBERS;

/// One stored unit is 1/4096.
const UNIT: f64 = 4_096.0;
/// Amounts are stored as multiples of four units, so that two halvings of any of them are exact.
const GRAIN: f64 = 4.0;
/// The greatest weight of one event; more is cut.
const WEIGHT_MAX: f64 = 10_000.0;

/// Amounts by local hour and by weekday in stored units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bins {
    by_hour: [u32; 24],
    by_weekday: [u32; 7],
}

/// One recipient's open-hour histogram: observed opens, exposure and unsolicited activity, half-life 90 days.
///
/// `stored = round(weight * 2^((at - landmark) / half_life) * 1024) * 4` at the landmark before the event; every landmark that
/// passes halves all values. What is taken back within two landmarks (180 days) cancels exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityProfile {
    /// Which landmark the values refer to: half-lives since 1970.
    landmark: u32,
    observed: Bins,
    exposed: Bins,
    active: Bins,
}

/// A recipient's amounts as of an instant, in events and mails.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivityReading {
    /// Genuine opens by local hour.
    pub observed: Amounts,
    /// Exposure, the sum of `phi`, by local hour; the activity by hour is not multiplied in.
    pub exposed: Amounts,
    /// Unsolicited activity by local hour.
    pub active: Amounts,
}

/// Decayed amounts by local hour and weekday.
#[derive(Debug, Clone, PartialEq)]
pub struct Amounts {
    /// By hour of day.
    pub by_hour: [f64; 24],
    /// By weekday, Monday first.
    pub by_weekday: [f64; 7],
}

impl Amounts {
    /// The sum over the hours.
    pub fn total(&self) -> f64 {
        self.by_hour.iter().sum()
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Add,
    TakeBack,
}

// === impl ActivityProfile ===

impl ActivityProfile {
    /// All there is as numbers, for records: the landmark, then opens, exposure and activity, each by hour and by weekday.
    pub fn numbers(&self) -> [u32; PROFILE_NUMBERS] {
        let mut numbers = [0; PROFILE_NUMBERS];
        numbers[0] = self.landmark;
        let parts = numbers[1..].chunks_exact_mut(BINS_NUMBERS);
        for (part, bins) in parts.zip([&self.observed, &self.exposed, &self.active]) {
            let (by_hour, by_weekday) = part.split_at_mut(bins.by_hour.len());
            by_hour.copy_from_slice(&bins.by_hour);
            by_weekday.copy_from_slice(&bins.by_weekday);
        }
        numbers
    }

    /// What [`Self::numbers`] gave.
    pub fn from_numbers(numbers: &[u32; PROFILE_NUMBERS]) -> Self {
        let bins = |part: usize| {
            let mut bins = Bins::default();
            let first = 1 + part * BINS_NUMBERS;
            let weekdays = first + bins.by_hour.len();
            bins.by_hour.copy_from_slice(&numbers[first..weekdays]);
            let end = first + BINS_NUMBERS;
            bins.by_weekday.copy_from_slice(&numbers[weekdays..end]);
            bins
        };
        Self {
            landmark: numbers[0],
            observed: bins(0),
            exposed: bins(1),
            active: bins(2),
        }
    }

    /// Adds the expected share of a mail that waited; `weight` is the campaign's own level relative to the tenant's.
    pub fn record_exposure(&mut self, at: Timestamp, exposure: &ExposureVector, weight: f64) {
        self.apply_exposure(at, exposure, weight, Direction::Add);
    }

    /// Takes back what [`Self::record_exposure`] added for the same arguments, or the part of it beyond an open.
    pub fn take_back_exposure(&mut self, at: Timestamp, exposure: &ExposureVector, weight: f64) {
        self.apply_exposure(at, exposure, weight, Direction::TakeBack);
    }

    /// Adds a first genuine open at the local hour it happened; `weight` is the probability that a human did it.
    pub fn record_open(&mut self, at: Timestamp, hour: LocalHour, weight: f64) {
        let shift = self.advance(at);
        self.observed
            .apply_hour(scaled(at, weight, shift), hour, Direction::Add);
    }

    /// Takes an open back: the exact inverse of [`Self::record_open`].
    pub fn take_back_open(&mut self, at: Timestamp, hour: LocalHour, weight: f64) {
        let shift = self.advance(at);
        self.observed
            .apply_hour(scaled(at, weight, shift), hour, Direction::TakeBack);
    }

    /// Adds activity that no mail of ours caused, such as a site visit.
    pub fn record_activity(&mut self, at: Timestamp, hour: LocalHour, weight: f64) {
        let shift = self.advance(at);
        self.active
            .apply_hour(scaled(at, weight, shift), hour, Direction::Add);
    }

    /// Takes activity back: the exact inverse of [`Self::record_activity`].
    #[cfg(test)]
    pub(crate) fn take_back_activity(&mut self, at: Timestamp, hour: LocalHour, weight: f64) {
        let shift = self.advance(at);
        self.active
            .apply_hour(scaled(at, weight, shift), hour, Direction::TakeBack);
    }

    /// Moves all hours by `hours` (positive is later) once the recipient's zone became known. Weekdays stay: the few events
    /// that crossed midnight cannot be told apart any more.
    pub fn rotate(&mut self, hours: i32) {
        let by = hours.rem_euclid(24) as usize;
        for bins in [&mut self.observed, &mut self.exposed, &mut self.active] {
            bins.by_hour.rotate_right(by);
        }
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        [&self.observed, &self.exposed, &self.active]
            .iter()
            .all(|bins| bins.by_hour.iter().chain(&bins.by_weekday).all(|&v| v == 0))
    }

    /// Decayed opens and activity as of an instant: how much a personal hour can rest on.
    pub fn effective_observations(&self, at: Timestamp) -> f64 {
        let sum = |bins: &Bins| -> u64 { bins.by_hour.iter().map(|v| u64::from(*v)).sum() };
        (sum(&self.observed) + sum(&self.active)) as f64 * self.unit_at(at)
    }

    /// Decayed exposure as of an instant, in mails that could be measured.
    #[cfg(test)]
    pub(crate) fn measurable_mails(&self, at: Timestamp) -> f64 {
        self.exposed
            .by_hour
            .iter()
            .map(|&v| f64::from(v))
            .sum::<f64>()
            * self.unit_at(at)
    }

    /// All amounts as of an instant.
    pub fn read(&self, at: Timestamp) -> ActivityReading {
        let unit = self.unit_at(at);
        ActivityReading {
            observed: self.observed.amounts(unit),
            exposed: self.exposed.amounts(unit),
            active: self.active.amounts(unit),
        }
    }

    /// What one stored unit is worth at an instant. An instant before the landmark reads as the landmark.
    fn unit_at(&self, at: Timestamp) -> f64 {
        let since = at.as_second() - i64::from(self.landmark) * HALF_LIFE_SECONDS;
        (-(since.max(0) as f64) / HALF_LIFE_SECONDS as f64).exp2() / UNIT
    }

    /// Moves the landmark forward if `at` lies beyond the next one; answers how many halvings an amount of `at` has missed.
    fn advance(&mut self, at: Timestamp) -> u32 {
        let landmark = landmark_of(at);
        if landmark > self.landmark {
            let passed = landmark - self.landmark;
            for bins in [&mut self.observed, &mut self.exposed, &mut self.active] {
                bins.halve(passed);
            }
            self.landmark = landmark;
        }
        self.landmark - landmark
    }

    fn apply_exposure(
        &mut self,
        at: Timestamp,
        exposure: &ExposureVector,
        weight: f64,
        direction: Direction,
    ) {
        let shift = self.advance(at);
        let stored = |amount: &f64| scaled(at, amount * weight, shift);
        for (bin, amount) in self.exposed.by_hour.iter_mut().zip(&exposure.by_hour) {
            apply(bin, stored(amount), direction);
        }
        for (bin, amount) in self.exposed.by_weekday.iter_mut().zip(&exposure.by_weekday) {
            apply(bin, stored(amount), direction);
        }
    }
}

impl Bins {
    fn apply_hour(&mut self, stored: u32, at: LocalHour, direction: Direction) {
        let hour = self.by_hour.get_mut(usize::from(at.hour % 24));
        let weekday = self.by_weekday.get_mut(usize::from(at.weekday % 7));
        hour.into_iter()
            .chain(weekday)
            .for_each(|bin| apply(bin, stored, direction));
    }

    fn halve(&mut self, times: u32) {
        for bin in self.by_hour.iter_mut().chain(&mut self.by_weekday) {
            *bin = bin.checked_shr(times).unwrap_or(0);
        }
    }

    fn amounts(&self, unit: f64) -> Amounts {
        Amounts {
            by_hour: self.by_hour.map(|v| f64::from(v) * unit),
            by_weekday: self.by_weekday.map(|v| f64::from(v) * unit),
        }
    }
}

fn landmark_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_second().div_euclid(HALF_LIFE_SECONDS)).unwrap_or(0)
}

/// The stored form of `weight` at its own landmark, halved `shift` times. Depends on the instant and weight only.
fn scaled(at: Timestamp, weight: f64, shift: u32) -> u32 {
    let into = at.as_second() - i64::from(landmark_of(at)) * HALF_LIFE_SECONDS;
    let growth = (into as f64 / HALF_LIFE_SECONDS as f64).exp2();
    // A NaN weight becomes 0 by the saturating cast.
    let grains = (weight.clamp(0.0, WEIGHT_MAX) * growth * UNIT / GRAIN).round();
    ((grains * GRAIN) as u32).checked_shr(shift).unwrap_or(0)
}

fn apply(bin: &mut u32, stored: u32, direction: Direction) {
    *bin = match direction {
        Direction::Add => bin.saturating_add(stored),
        Direction::TakeBack => bin.saturating_sub(stored),
    };
}

#[cfg(test)]
mod tests;
