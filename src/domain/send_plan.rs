//! How many mails of an experiment are planned for each hour, so that a sender's capacity is shared and never exceeded.
//!
//! Invariant: counts never fall below zero, and an hour takes a mail only while it has room. Which hour is best is left to `send_time`.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::cell::HOUR_MS;
use crate::domain::experiment::SenderCapacity;
use crate::domain::send_window::SendWindow;

/// Mails planned for one hour; parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSends(pub i64);

/// Mails planned by hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendPlan {
    by_hour: BTreeMap<i64, i64>,
}

/// A capacity and when it began to hold, from which a warm-up is reckoned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Mails per hour.
    pub capacity: SenderCapacity,
    /// Start of the experiment.
    pub started_at: Timestamp,
}

/// The hour of an instant, hours since 1970.
pub fn hour_of(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(HOUR_MS)
}

// === impl PlannedSends ===

impl PlannedSends {
    /// Adds another part.
    pub fn merge(&mut self, part: &Self) {
        self.0 = self.0.saturating_add(part.0);
    }
}

// === impl Throttle ===

impl Throttle {
    /// Most mails in an hour since 1970.
    fn sends_max(&self, hour: i64) -> i64 {
        let since_ms = hour.saturating_mul(HOUR_MS) - self.started_at.as_millisecond();
        let allowed = self.capacity.sends_max(since_ms as f64 / HOUR_MS as f64);
        i64::try_from(allowed).unwrap_or(i64::MAX)
    }
}

// === impl SendPlan ===

impl SendPlan {
    /// Counts mails of an hour, or takes them back.
    pub fn add(&mut self, hour: i64, sends: i64) {
        let count = self.by_hour.entry(hour).or_default();
        *count = count.saturating_add(sends).max(0);
    }

    /// Takes a place in an hour if there is one.
    pub fn reserve(&mut self, hour: i64, throttle: &Throttle) -> bool {
        let has_room = self.planned(hour) < throttle.sends_max(hour);
        if has_room {
            self.add(hour, 1);
        }
        has_room
    }

    /// Mails planned for an hour.
    pub fn planned(&self, hour: i64) -> i64 {
        self.by_hour.get(&hour).copied().unwrap_or(0)
    }

    /// The hours of a window that have no room left, ascending.
    pub fn full_hours(&self, window: &SendWindow, throttle: &Throttle) -> Vec<i64> {
        let (first, last) = (hour_of(window.earliest_at), hour_of(window.deadline_at));
        if last < first {
            return Vec::new();
        }
        self.by_hour
            .range(first..=last)
            .filter(|(hour, planned)| **planned >= throttle.sends_max(**hour))
            .map(|(hour, _)| *hour)
            .collect()
    }

    /// Forgets the hours before one.
    pub fn forget_before(&mut self, hour: i64) {
        self.by_hour = self.by_hour.split_off(&hour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::experiment::WarmUp;

    const START: i64 = 490_000;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3_600).unwrap()
    }

    fn throttle(warm_up: Option<WarmUp>) -> Throttle {
        Throttle {
            capacity: SenderCapacity {
                sends_per_hour: 3,
                warm_up,
            },
            started_at: at(START),
        }
    }

    fn window(hours: i64) -> SendWindow {
        SendWindow {
            earliest_at: at(START),
            deadline_at: at(START + hours),
            quiet: Vec::new(),
            blocked_days: Vec::new(),
            full_hours: Vec::new(),
        }
    }

    #[test]
    fn an_hour_takes_as_many_as_it_has_room_for_and_then_is_full() {
        let (mut plan, throttle) = (SendPlan::default(), throttle(None));
        let taken = [0; 5].map(|_| plan.reserve(START + 1, &throttle));
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!(plan.full_hours(&window(3), &throttle), [START + 1]);
        plan.add(START + 1, -1);
        assert!(plan.full_hours(&window(3), &throttle).is_empty());
        assert!(plan.reserve(START + 1, &throttle));
    }

    #[test]
    fn a_warm_up_has_less_room_on_the_first_day_than_on_the_second() {
        let throttle = throttle(Some(WarmUp {
            initial_sends_per_hour: 1,
            daily_growth: 2.0,
        }));
        let mut plan = SendPlan::default();
        let mut fill = |hour| (0..9).filter(|_| plan.reserve(hour, &throttle)).count();
        assert_eq!([fill(START), fill(START + 24), fill(START + 48)], [1, 2, 3]);
    }

    #[test]
    fn taking_back_more_than_was_planned_leaves_nothing_below_zero() {
        let mut plan = SendPlan::default();
        plan.add(5, -3);
        assert_eq!(plan.planned(5), 0);
        plan.add(5, 2);
        plan.forget_before(6);
        assert_eq!(plan, SendPlan::default());
    }
}
