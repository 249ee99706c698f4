//! Which share of a person's opens machines did: whose mail a proxy opens cannot be measured by opens.
//!
//! Invariant: whole numbers relative to a landmark, as in the profile, so what is taken back within 180 days cancels exactly. What follows
//! from the share is left to `contribution`.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HALF_LIFE_SECONDS, UNIT, landmark_of, scaled};

/// From this share of machine opens on, opens say nothing of the person.
const SHARE_MAX: f64 = 0.8;
/// Opens from which on the share is believed.
const OPENS_MIN: f64 = 3.0;

/// Opens of one person by who did them, faded with the half-life of the profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenShares {
    landmark: u32,
    human: u32,
    machine: u32,
}

// === impl OpenShares ===

impl OpenShares {
    /// Adds an open that a person did with this probability.
    pub fn record(&mut self, at: Timestamp, human: f64) {
        let (human, machine) = self.parts(at, human);
        self.human = self.human.saturating_add(human);
        self.machine = self.machine.saturating_add(machine);
    }

    /// Takes an open back: the exact inverse of [`Self::record`].
    pub fn take_back(&mut self, at: Timestamp, human: f64) {
        let (human, machine) = self.parts(at, human);
        self.human = self.human.saturating_sub(human);
        self.machine = self.machine.saturating_sub(machine);
    }

    /// The share of opens that machines did, 0 to 1; none before there are three (faded) opens.
    pub fn machine_share(&self, at: Timestamp) -> Option<f64> {
        let since = at.as_second() - i64::from(self.landmark) * HALF_LIFE_SECONDS;
        let unit = (-(since.max(0) as f64) / HALF_LIFE_SECONDS as f64).exp2() / UNIT;
        let all = f64::from(self.human) + f64::from(self.machine);
        (all * unit >= OPENS_MIN).then(|| f64::from(self.machine) / all)
    }

    /// Whether the person's opens can be believed: not where more than 80 % of them were machines'.
    pub fn are_measurable(&self, at: Timestamp) -> bool {
        self.machine_share(at)
            .is_none_or(|share| share <= SHARE_MAX)
    }

    fn parts(&mut self, at: Timestamp, human: f64) -> (u32, u32) {
        let landmark = landmark_of(at);
        if landmark > self.landmark {
            let passed = landmark - self.landmark;
            self.human = self.human.checked_shr(passed).unwrap_or(0);
            self.machine = self.machine.checked_shr(passed).unwrap_or(0);
            self.landmark = landmark;
        }
        let shift = self.landmark - landmark;
        let human = human.clamp(0.0, 1.0);
        (scaled(at, human, shift), scaled(at, 1.0 - human, shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn a_proxy_that_opens_everything_is_found_out_and_a_person_is_not() {
        let (mut proxied, mut person) = <(OpenShares, OpenShares)>::default();
        for d in 0..2 {
            proxied.record(day(d), 0.15);
        }
        assert!(proxied.are_measurable(day(2)), "two opens prove nothing");
        for d in 2..8 {
            proxied.record(day(d), 0.15);
            person.record(day(d), 1.0);
        }
        assert!(!proxied.are_measurable(day(8)) && person.are_measurable(day(8)));
        assert!((proxied.machine_share(day(8)).unwrap() - 0.85).abs() < 1e-3);
    }

    #[test]
    fn what_was_recorded_can_be_taken_back_in_any_order() {
        let mut shares = OpenShares::default();
        for (d, human) in [(0, 0.3), (100, 0.9), (40, 0.02)] {
            shares.record(day(d), human);
        }
        let mut less = shares;
        less.record(day(120), 0.5);
        less.take_back(day(120), 0.5);
        assert_eq!(less, shares);
        for (d, human) in [(40, 0.02), (0, 0.3), (100, 0.9)] {
            shares.take_back(day(d), human);
        }
        assert_eq!((shares.human, shares.machine), (0, 0));
    }
}
