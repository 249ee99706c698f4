//! Freshness: how the chance that a waiting mail is opened fades with its age, whatever the hour.
//!
//! `phi` integrates to one over all ages, so exposure is counted in mails: a mail that waited for ever at average activity
//! is an exposure of 1. Who is active when is left to `activity` and `send_time`.

use serde::{Deserialize, Serialize};

use super::civil::LocalTime;

/// Exposure is not followed beyond this age, hours: thirty days.
pub const AGE_HOURS_MAX: f64 = 720.0;
/// Interest that is left out of exposures.
const NEGLIGIBLE: f64 = 1e-5;

/// Number of exponentials.
pub const TERMS: usize = 3;
/// The time constants of every curve that hermod learns or records with, hours: interest of the moment, of the day, and of the days after.
pub const TAU_HOURS: [f64; TERMS] = [2.0, 10.0, 40.0];
/// Steps of the shares of an [`Interest`] up to 1.
pub const INTEREST_STEPS: u8 = 20;

/// How interest fades, as a touch remembers it: the shares of the three time constants in steps of 1/20, one number for each of the 231
/// ways to share out 20 steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest(u8);

/// Shares of the three time constants in steps of 1/20; they sum to 20.
pub type InterestSteps = [u8; TERMS];

/// Why a freshness curve was refused.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FreshnessError {
    /// A weight is negative or not finite, or all are zero.
    #[error("freshness weights {weights:?} must be finite, not negative and not all zero")]
    Weights {
        /// The weights as given.
        weights: [f64; TERMS],
    },
    /// A time constant lies outside 0.05 to 1000 hours.
    #[error("freshness time constants {tau_hours:?} must lie between 0.05 and 1000 hours")]
    TimeConstants {
        /// The time constants as given.
        tau_hours: [f64; TERMS],
    },
}

/// Three exponentials: `phi(a) = sum_j w_j / tau_j * exp(-a / tau_j)` per hour, weights summing to one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FreshnessCurve {
    /// Counts up with every learned curve, so that an exposure can be taken back with the curve that recorded it.
    pub version: u32,
    weights: [f64; TERMS],
    tau_hours: [f64; TERMS],
}

/// A stretch of a mail's life: it was sent at a local time and waited from one age to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waiting {
    /// Local time at which the mail was sent.
    pub sent: LocalTime,
    /// Age at which the stretch starts, hours.
    pub from_age_hours: f64,
    /// Age at which it ends, hours.
    pub until_age_hours: f64,
}

/// The exposure of one mail: the sum of `phi` over the ages at which each local hour and weekday was met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExposureVector {
    /// By local hour of day.
    pub by_hour: [f64; 24],
    /// By local weekday, Monday first.
    pub by_weekday: [f64; 7],
}

// === impl Interest ===

impl Default for Interest {
    /// Half of the moment, half of the days after: the published delays, see [`FreshnessCurve::default`].
    fn default() -> Self {
        Self::of([INTEREST_STEPS / 2, 0, INTEREST_STEPS - INTEREST_STEPS / 2])
    }
}

impl Interest {
    /// The interest of these steps; what they lack to 20 is given to the last share, what is too much is taken from the later ones.
    pub fn of([moment, day, _]: InterestSteps) -> Self {
        let moment = moment.min(INTEREST_STEPS);
        let day = day.min(INTEREST_STEPS - moment);
        // Before the row of `moment` lie rows of 21, 20, 19, ... entries.
        let before =
            u16::from(moment) * (2 * u16::from(INTEREST_STEPS) + 3 - u16::from(moment)) / 2;
        Self((before + u16::from(day)).min(u16::from(u8::MAX)) as u8)
    }

    /// The steps of its shares.
    pub fn steps(self) -> InterestSteps {
        let (mut moment, mut day) = (0, self.0);
        while moment < INTEREST_STEPS && day > INTEREST_STEPS - moment {
            day -= INTEREST_STEPS - moment + 1;
            moment += 1;
        }
        let day = day.min(INTEREST_STEPS - moment);
        [moment, day, INTEREST_STEPS - moment - day]
    }

    /// The nearest steps to these shares; anything outside 0 to 1 is taken to the nearer end, NaN to 0.
    pub fn nearest([moment, day, _]: [f64; TERMS]) -> Self {
        let steps = |share: f64| (share.clamp(0.0, 1.0) * f64::from(INTEREST_STEPS)).round() as u8;
        Self::of([steps(moment), steps(day), 0])
    }

    /// The shares of the time constants of [`TAU_HOURS`]; they sum to one.
    pub fn shares(self) -> [f64; TERMS] {
        self.steps()
            .map(|steps| f64::from(steps) / f64::from(INTEREST_STEPS))
    }

    /// The curve it stands for.
    pub fn curve(self) -> FreshnessCurve {
        FreshnessCurve {
            version: u32::from(self.0),
            weights: self.shares(),
            tau_hours: TAU_HOURS,
        }
    }
}

// === impl FreshnessCurve ===

impl Default for FreshnessCurve {
    /// Half the interest with a time constant of 2 h, half with 40 h: 20, 54, 73 and 92 % of opens by 1, 6, 24 and 72 h.
    ///
    /// Within 0.05 of the open delays published by i-Emailer, MailerMailer and GetResponse (24, 53, 75 and 88 %).
    fn default() -> FreshnessCurve {
        Interest::default().curve()
    }
}

impl FreshnessCurve {
    /// A curve from its weights (normalised here) and time constants in hours; checks both.
    pub fn new(
        version: u32,
        weights: [f64; TERMS],
        tau_hours: [f64; TERMS],
    ) -> Result<FreshnessCurve, FreshnessError> {
        let sum: f64 = weights.iter().sum();
        if !weights.iter().all(|w| w.is_finite() && *w >= 0.0) || !sum.is_finite() || sum <= 0.0 {
            return Err(FreshnessError::Weights { weights });
        }
        if !tau_hours.iter().all(|tau| (0.05..=1_000.0).contains(tau)) {
            return Err(FreshnessError::TimeConstants { tau_hours });
        }
        Ok(FreshnessCurve {
            version,
            weights: weights.map(|w| w / sum),
            tau_hours,
        })
    }

    /// How a touch remembers this curve.
    pub fn interest(&self) -> Interest {
        Interest::nearest(self.weights)
    }

    /// The exponentials as pairs of weight and time constant in hours.
    pub fn components(&self) -> [(f64, f64); TERMS] {
        let ([w0, w1, w2], [t0, t1, t2]) = (self.weights, self.tau_hours);
        [(w0, t0), (w1, t1), (w2, t2)]
    }

    /// Freshness at an age in hours, per hour; zero before the mail was sent.
    #[cfg(test)]
    pub(crate) fn phi(&self, age_hours: f64) -> f64 {
        if age_hours < 0.0 {
            return 0.0;
        }
        let terms = self.components();
        terms
            .iter()
            .map(|(w, tau)| w / tau * (-age_hours / tau).exp())
            .sum()
    }

    /// The share of all interest that lies beyond an age in hours: `sum_j w_j exp(-a / tau_j)`.
    pub fn remaining(&self, age_hours: f64) -> f64 {
        let age = age_hours.max(0.0);
        let terms = self.components();
        terms.iter().map(|(w, tau)| w * (-age / tau).exp()).sum()
    }

    /// The exposure of a mail from its sending until an age in hours, by local hour.
    #[cfg(test)]
    pub(crate) fn exposure_by_hour(&self, sent: LocalTime, until_age_hours: f64) -> [f64; 24] {
        self.exposure(Waiting {
            sent,
            from_age_hours: 0.0,
            until_age_hours,
        })
        .by_hour
    }

    /// The exposure of a mail from its sending until an age in hours, by local weekday.
    #[cfg(test)]
    pub(crate) fn exposure_by_weekday(&self, sent: LocalTime, until_age_hours: f64) -> [f64; 7] {
        self.exposure(Waiting {
            sent,
            from_age_hours: 0.0,
            until_age_hours,
        })
        .by_weekday
    }

    /// The exposure of a stretch of waiting, exact within each local hour. Ages beyond [`AGE_HOURS_MAX`] add nothing.
    ///
    /// A change of the zone's offset during the wait is ignored: it would move a small, late part by one bin.
    pub fn exposure(&self, waiting: Waiting) -> ExposureVector {
        let mut vector = ExposureVector {
            by_hour: [0.0; 24],
            by_weekday: [0.0; 7],
        };
        let until = waiting.until_age_hours.min(AGE_HOURS_MAX);
        let mut age = waiting.from_age_hours.max(0.0);
        let into_hour = f64::from(waiting.sent.minute) / 60.0;
        let start_of_week = waiting.sent.hour.hour_of_week().index();
        let hour_decay = self.components().map(|(_, tau)| (-1.0 / tau).exp());
        let left_at = |age: f64| {
            self.components()
                .map(|(weight, tau)| weight * (-age / tau).exp())
        };
        let mut left = left_at(age);
        // At most AGE_HOURS_MAX + 1 turns: each ends on the next whole local hour. Exponentials are costly and whole hours are
        // many, so those multiply what is left instead.
        while age < until && left.iter().sum::<f64>() > NEGLIGIBLE {
            let passed = (age + into_hour + 1e-9).floor();
            let next = (passed + 1.0 - into_hour).min(until);
            let hour_of_week = (start_of_week + passed as usize) % 168;
            let is_whole = next - age == 1.0;
            let after = if is_whole {
                std::array::from_fn(|term| left[term] * hour_decay[term])
            } else {
                left_at(next)
            };
            let share = left.iter().sum::<f64>() - after.iter().sum::<f64>();
            add_at(&mut vector.by_hour, hour_of_week % 24, share);
            add_at(&mut vector.by_weekday, hour_of_week / 24, share);
            (age, left) = (next, after);
        }
        vector
    }
}

fn add_at(bins: &mut [f64], index: usize, amount: f64) {
    if let Some(bin) = bins.get_mut(index) {
        *bin += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::civil::LocalHour;

    fn sent(hour: u8, weekday: u8, minute: u8) -> LocalTime {
        LocalTime {
            hour: LocalHour { hour, weekday },
            minute,
        }
    }

    #[test]
    fn all_exposure_of_one_mail_adds_up_to_the_interest_until_then() {
        let curve = FreshnessCurve::default();
        for until in [0.0, 0.3, 1.0, 24.0, 168.0] {
            let total = 1.0 - curve.remaining(until);
            let by_hour: f64 = curve.exposure_by_hour(sent(9, 2, 37), until).iter().sum();
            let by_day: f64 = curve
                .exposure_by_weekday(sent(9, 2, 37), until)
                .iter()
                .sum();
            assert!((by_hour - total).abs() < 1e-12 && (by_day - total).abs() < 1e-12);
        }
    }

    #[test]
    fn phi_is_the_slope_of_the_interest_that_is_gone() {
        let curve = FreshnessCurve::default();
        for age in [0.1, 2.0, 50.0] {
            let slope = (curve.remaining(age - 1e-4) - curve.remaining(age + 1e-4)) / 2e-4;
            assert!((slope - curve.phi(age)).abs() < 1e-6);
        }
        assert_eq!(curve.phi(-1.0), 0.0);
    }

    #[test]
    fn a_mail_sent_late_on_sunday_exposes_monday_after_midnight() {
        let curve = FreshnessCurve::default();
        let vector = curve.exposure(Waiting {
            sent: sent(23, 6, 30),
            from_age_hours: 0.0,
            until_age_hours: 1.0,
        });
        assert!((vector.by_weekday[6] - (1.0 - curve.remaining(0.5))).abs() < 1e-12);
        assert!((vector.by_hour[0] - (curve.remaining(0.5) - curve.remaining(1.0))).abs() < 1e-12);
    }

    #[test]
    fn the_parts_before_and_after_an_open_make_up_the_whole() {
        let curve = FreshnessCurve::default();
        let part = |from_age_hours, until_age_hours| {
            curve.exposure(Waiting {
                sent: sent(10, 0, 5),
                from_age_hours,
                until_age_hours,
            })
        };
        let (before, after, whole) = (part(0.0, 3.7), part(3.7, 168.0), part(0.0, 168.0));
        for hour in 0..24 {
            let sum = before.by_hour[hour] + after.by_hour[hour];
            assert!((sum - whole.by_hour[hour]).abs() < 1e-12);
        }
    }

    #[test]
    fn senseless_curves_are_refused_and_weights_are_normalised() {
        assert!(FreshnessCurve::new(1, [0.0; 3], [1.0, 2.0, 3.0]).is_err());
        assert!(FreshnessCurve::new(1, [f64::NAN, 1.0, 0.0], [1.0, 2.0, 3.0]).is_err());
        assert!(FreshnessCurve::new(1, [1.0, 1.0, 0.0], [0.0, 2.0, 3.0]).is_err());
        let curve = FreshnessCurve::new(1, [1.0, 3.0, 0.0], [1.0, 2.0, 3.0]).unwrap();
        assert_eq!(curve.remaining(0.0), 1.0);
    }

    #[test]
    fn every_way_to_share_out_the_steps_has_its_own_number() {
        let mut seen = std::collections::BTreeSet::new();
        for moment in 0..=INTEREST_STEPS {
            for day in 0..=INTEREST_STEPS - moment {
                let steps = [moment, day, INTEREST_STEPS - moment - day];
                assert_eq!(Interest::of(steps).steps(), steps);
                assert!(seen.insert(Interest::of(steps).0));
            }
        }
        assert_eq!(seen.len(), 231);
        assert_eq!(Interest(u8::MAX).steps().iter().sum::<u8>(), INTEREST_STEPS);
    }
}
