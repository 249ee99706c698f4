//! Whether this tenant's people differ at all, and so how much one person's record may count.
//!
//! Learned ahead of each event from what was known before it, so it cannot fit noise: where habits do not differ, kappa grows
//! until everybody gets everybody's hour. Additive and mergeable. When to forget is left to the callers.

use serde::{Deserialize, Serialize};

use crate::domain::activity::ActivityReading;
use crate::domain::civil::LocalHour;

use super::Parameters;
use super::circle::CircularKernel;
use super::everyone::EveryoneCurve;

/// Events that the default kappa is worth.
const PRIOR_EVENTS: f64 = 200.0;
/// Past events at which one new event carries half its weight.
const HALF_WEIGHT_EVENTS: f64 = 10.0;
const KAPPA_MIN: f64 = 4.0;
const KAPPA_MAX: f64 = 100_000.0;

/// Sums over events of how much likelier their hour was by the person's own past than by everybody's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Individuality {
    excess: f64,
    events: f64,
}

// === impl Individuality ===

impl Individuality {
    /// Counts an activity at a local hour, given the person's record *before* it.
    pub fn observe(
        &mut self,
        before: &ActivityReading,
        hour: LocalHour,
        curve: &EveryoneCurve,
        parameters: &Parameters,
    ) {
        let past = before.active.total();
        if past <= 0.0 {
            return;
        }
        let kernel = CircularKernel::new(parameters.smoothing_sd_hours);
        let hour = usize::from(hour.hour % 24);
        let own = 24.0 * kernel.smooth(&before.active.by_hour)[hour] / past;
        let everybody = kernel.smooth(&curve.by_hour)[hour];
        let weight = past / (past + HALF_WEIGHT_EVENTS);
        self.excess += weight * (own / everybody - 1.0);
        self.events += weight;
    }

    /// Adds another part's sums.
    pub fn merge(&mut self, other: &Individuality) {
        self.excess += other.excess;
        self.events += other.events;
    }

    /// The kappa at which the noise of a record equals the variance between people, shrunk towards the default's.
    ///
    /// With smoothed shares `own / everybody = 1 + d`, a record of N events adds noise of variance `24 / (width N)` to `d`, and
    /// `E[excess] = Var(d)` as past and next event share only the person; so `kappa = 24 / (width Var(d))` (Buehlmann's
    /// credibility constant, 1967).
    pub fn kappa(&self, parameters: &Parameters) -> f64 {
        let width = CircularKernel::new(parameters.smoothing_sd_hours).effective_width();
        let noise = 24.0 / width;
        let default = noise / parameters.kappa;
        let variance = (self.excess + PRIOR_EVENTS * default) / (self.events + PRIOR_EVENTS);
        (noise / variance.max(1e-9)).clamp(KAPPA_MIN, KAPPA_MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::activity::ActivityProfile;

    /// Kappa after 200 people with 20 events each, at hours drawn by `hour_of(person, event)`.
    fn learned(hour_of: impl Fn(u64, u64) -> u8) -> f64 {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let (curve, parameters) = (flat(), Parameters::default());
        let mut individuality = Individuality::default();
        for person in 0..200 {
            let mut profile = ActivityProfile::default();
            for event in 0..20 {
                let hour = LocalHour {
                    hour: hour_of(person, event),
                    weekday: 0,
                };
                individuality.observe(&profile.read(at), hour, &curve, &parameters);
                profile.record_activity(at, hour, 1.0);
            }
        }
        individuality.kappa(&parameters)
    }

    fn flat() -> EveryoneCurve {
        EveryoneCurve {
            by_hour: [1.0; 24],
            ..EveryoneCurve::default()
        }
    }

    fn hash(person: u64, event: u64) -> u64 {
        let bytes = [person.to_le_bytes(), event.to_le_bytes()].concat();
        let hash = blake3::hash(&bytes);
        u64::from(hash.as_bytes()[0]) + 256 * u64::from(hash.as_bytes()[1])
    }

    #[test]
    fn people_with_habits_keep_kappa_low_and_people_without_drive_it_up() {
        let habits = learned(|person, event| ((person * 7 + hash(person, event) % 4) % 24) as u8);
        let chance = learned(|person, event| (hash(person, event) % 24) as u8);
        assert!(habits < 6.0, "{habits}");
        assert!(chance > 60.0, "{chance}");
    }

    #[test]
    fn without_events_kappa_is_the_default_and_parts_merge() {
        let parameters = Parameters::default();
        let mut sum = Individuality::default();
        assert!((sum.kappa(&parameters) - parameters.kappa).abs() < 1e-9);
        let part = Individuality {
            excess: 3.0,
            events: 9.0,
        };
        sum.merge(&part);
        assert_eq!(sum, part);
    }
}
