//! Everybody's activity in one local hour of the week: a small additive record, 168 of them to a tenant.
//!
//! Invariant: sums fade with one half-life and can be merged and taken back. Exposure is kept as sends and as the interest cut off by
//! responses, each in the hour it happened, so that one mail touches one hour; [`assemble`] spreads both over the hours that follow.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::activity::TenantActivity;
use crate::domain::activity::tenant::TENANT_HALF_LIFE_DAYS;
use crate::domain::civil::{HourOfWeek, LocalTime};
use crate::domain::freshness::{
    AGE_HOURS_MAX, INTEREST_STEPS, Interest, TAU_HOURS, TERMS, Waiting,
};

/// What everybody did in one hour of the week, faded to one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HourActivity {
    /// The instant the sums are faded to, milliseconds since 1970; 0 before the first amount.
    pub as_of_ms: i64,
    /// Genuine opens and clicks of mails, weighted.
    pub observed: f64,
    /// Activity without a mail.
    pub active: f64,
    /// Mails sent in this hour.
    pub sends: f64,
    /// Interest that responses in this hour cut off: the sum of `weight * exp(-age / tau_j)` for each time constant of freshness, so that
    /// the curve's shares can be learned later.
    pub cut_off: [f64; TERMS],
}

/// The day that settled sums are kept under.
pub const SETTLED_DAY: i32 = 0;
/// Mails younger than this teach nothing of hours yet: their later hours have not come, which must not look like silence.
pub const MATURED_AFTER_DAYS: i32 = 4;

/// A change to one hour of the week.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HourDelta {
    /// Days since 1970 of the send it belongs to, or [`SETTLED_DAY`] for what belongs to no mail.
    pub day: i32,
    /// The hour.
    pub hour: HourOfWeek,
    /// What to add.
    pub part: HourActivity,
}

// === impl HourActivity ===

impl HourActivity {
    /// Adds another part of the same hour; the later instant of the two holds afterwards.
    pub fn merge(&mut self, part: &Self) {
        let to_ms = self.as_of_ms.max(part.as_of_ms);
        *self = self.at(to_ms).plus(&part.at(to_ms));
    }

    /// The sums faded to a later instant.
    pub fn at(&self, to_ms: i64) -> Self {
        let days = (to_ms - self.as_of_ms).max(0) as f64 / 86_400_000.0;
        let kept = if self.as_of_ms == 0 {
            0.0
        } else {
            (-days / TENANT_HALF_LIFE_DAYS).exp2()
        };
        Self {
            as_of_ms: to_ms,
            ..self.times(kept)
        }
    }

    /// The sums times a factor.
    pub fn times(&self, factor: f64) -> Self {
        Self {
            as_of_ms: self.as_of_ms,
            observed: self.observed * factor,
            active: self.active * factor,
            sends: self.sends * factor,
            cut_off: self.cut_off.map(|amount| amount * factor),
        }
    }

    fn plus(&self, part: &Self) -> Self {
        Self {
            as_of_ms: self.as_of_ms,
            observed: self.observed + part.observed,
            active: self.active + part.active,
            sends: self.sends + part.sends,
            cut_off: std::array::from_fn(|term| self.cut_off[term] + part.cut_off[term]),
        }
    }
}

/// The day of a send, days since 1970.
pub fn day_of(at: Timestamp) -> i32 {
    i32::try_from(at.as_second().div_euclid(86_400)).unwrap_or(i32::MAX)
}

/// Whether mails sent on this day have matured by now.
pub fn is_matured(day: i32, now: Timestamp) -> bool {
    day == SETTLED_DAY || day <= day_of(now) - MATURED_AFTER_DAYS
}

/// The share of interest left after `age_hours` under each time constant of freshness.
pub fn interest_left(age_hours: f64) -> [f64; TERMS] {
    TAU_HOURS.map(|tau_hours| (-age_hours / tau_hours).exp())
}

/// A tenant's sums by hour of the week, with exposure still apart by time constant of freshness.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembled {
    now: Timestamp,
    /// The exposure there would be if all interest had one of the time constants; the first also has opens and activity.
    by_term: [TenantActivity; TERMS],
    /// Mails by hour of the week of their send.
    sends: [f64; 168],
    /// Responses to mails.
    responses: f64,
    /// Their mean of `exp(-age / tau)` under each time constant.
    left: [f64; TERMS],
}

/// Spreads sends and cut-off interest over the hours that follow, as of `now`.
pub fn assemble<'a>(
    hours: impl IntoIterator<Item = (HourOfWeek, &'a HourActivity)>,
    now: Timestamp,
) -> Assembled {
    let mut assembled = Assembled {
        now,
        by_term: std::array::from_fn(|_| TenantActivity::default()),
        sends: [0.0; 168],
        responses: 0.0,
        left: [0.0; TERMS],
    };
    for (hour, activity) in hours {
        let activity = activity.at(now.as_millisecond().max(activity.as_of_ms));
        assembled.add(hour, &activity);
    }
    let responses = assembled.responses.max(1e-9);
    assembled.left = assembled.left.map(|sum| sum / responses);
    assembled
}

/// Interest that fades with one of the time constants alone.
fn pure(term: usize) -> Interest {
    let mut steps = [0; TERMS];
    if let Some(share) = steps.get_mut(term) {
        *share = INTEREST_STEPS;
    }
    Interest::of(steps)
}

// === impl Assembled ===

impl Assembled {
    fn add(&mut self, hour: HourOfWeek, activity: &HourActivity) {
        let local = hour.local_hour();
        let waiting = Waiting {
            sent: LocalTime {
                hour: local,
                minute: 30,
            },
            from_age_hours: 0.0,
            until_age_hours: AGE_HOURS_MAX,
        };
        let [first, ..] = &mut self.by_term;
        first.record_open(self.now, local, activity.observed);
        first.record_activity(self.now, local, activity.active);
        let parts = self.by_term.iter_mut().enumerate();
        for ((term, part), cut_off) in parts.zip(activity.cut_off) {
            let exposure = activity.sends - cut_off;
            part.record_exposure(self.now, &pure(term).curve(), waiting, exposure);
        }
        if let Some(sends) = self.sends.get_mut(hour.index()) {
            *sends += activity.sends.max(0.0);
        }
        self.responses += activity.observed.max(0.0);
        for (sum, more) in self.left.iter_mut().zip(activity.cut_off) {
            *sum += more.max(0.0);
        }
    }

    /// The sums under a curve of freshness.
    pub fn sums(&self, interest: Interest) -> TenantActivity {
        let [first, ..] = &self.by_term;
        let mut sums = first.clone();
        sums.exposed
            .iter_mut()
            .flatten()
            .for_each(|cell| *cell = 0.0);
        for (part, share) in self.by_term.iter().zip(interest.shares()) {
            let cells = sums.exposed.iter_mut().flatten();
            for (exposed, of_term) in cells.zip(part.exposed.iter().flatten()) {
                *exposed += share * of_term;
            }
        }
        sums
    }

    /// Mails by hour of the week of their send, Monday 00 first.
    pub fn sends(&self) -> &[f64; 168] {
        &self.sends
    }

    /// Responses to mails, and their mean of `exp(-age / tau)` under each time constant.
    pub fn responses(&self) -> (f64, [f64; TERMS]) {
        (self.responses, self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::FreshnessCurve;

    #[test]
    fn mails_of_the_last_days_teach_nothing_yet() {
        let now = Timestamp::from_millisecond(at(0)).unwrap();
        let today = day_of(now);
        assert!(is_matured(SETTLED_DAY, now) && is_matured(today - 4, now));
        assert!(!is_matured(today - 3, now) && !is_matured(today + 2, now));
    }

    fn at(days: i64) -> i64 {
        1_800_000_000_000 + days * 86_400_000
    }

    #[test]
    fn parts_merge_in_any_order_and_fade() {
        let part = |day| HourActivity {
            as_of_ms: at(day),
            observed: 1.0,
            ..HourActivity::default()
        };
        let (mut one, mut other) = (HourActivity::default(), HourActivity::default());
        for day in [0, 60] {
            one.merge(&part(day));
            other.merge(&part(60 - day));
        }
        assert!((one.observed - 1.5).abs() < 1e-12);
        assert!((one.observed - other.observed).abs() < 1e-12);
    }

    #[test]
    fn a_response_cuts_off_the_interest_that_was_left() {
        let freshness = FreshnessCurve::default();
        let now = Timestamp::from_millisecond(at(0)).unwrap();
        let hour = |index| HourOfWeek::new(index).unwrap();
        let total = |hours: &[(HourOfWeek, HourActivity)]| {
            let rows = hours.iter().map(|(hour, activity)| (*hour, activity));
            let sums = assemble(rows, now).sums(freshness.interest());
            sums.exposed.iter().flatten().sum::<f64>()
        };
        let sent = (
            hour(9),
            HourActivity {
                as_of_ms: at(0),
                sends: 1.0,
                ..HourActivity::default()
            },
        );
        let opened = (
            hour(11),
            HourActivity {
                as_of_ms: at(0),
                cut_off: interest_left(2.0),
                ..HourActivity::default()
            },
        );
        assert!((total(&[sent]) - 1.0).abs() < 0.02);
        assert!((total(&[sent, opened]) - (1.0 - freshness.remaining(2.0))).abs() < 0.02);
    }
}
