//! The local hours of a window, and those of them in which a mail may be sent.
//!
//! Invariant: an hour is allowed where one of its candidates is, five minutes apart from its start on. Which hour is best is left to `search`.

use jiff::Timestamp;

use crate::domain::civil::LocalClock;
use crate::domain::send_window::{GRID_SECONDS, SendWindow};

/// The starts of the local hours of a window.
pub(super) fn hour_starts<'a>(
    window: &'a SendWindow,
    clock: &'a LocalClock,
) -> impl Iterator<Item = Timestamp> + 'a {
    let first = clock.hour_start(window.earliest_at);
    let is_even = clock.is_even();
    let next = move |start_at: &Timestamp| {
        let end_at = Timestamp::from_second(start_at.as_second() + 3_600).ok()?;
        if is_even {
            return Some(end_at);
        }
        // After a half-hour change of offset the next hour starts half an hour sooner.
        let aligned = clock.hour_start(end_at);
        Some(if aligned > *start_at { aligned } else { end_at })
    };
    std::iter::successors(Some(first), next).take_while(|start_at| *start_at <= window.deadline_at)
}

/// The allowed candidates within an hour from its start on.
pub(super) fn allowed_within<'a>(
    start_at: Timestamp,
    window: &'a SendWindow,
    clock: &'a LocalClock,
) -> impl Iterator<Item = Timestamp> + 'a {
    (0..3_600i64)
        .step_by(GRID_SECONDS as usize)
        .filter_map(move |second| Timestamp::from_second(start_at.as_second() + second).ok())
        .filter(|&at| window.allows(at, clock))
}

/// The hours of a window in which some candidate is allowed, for drawing one of them.
pub(super) struct AllowedHours<'a> {
    window: &'a SendWindow,
    clock: &'a LocalClock,
    /// How many.
    count: usize,
}

impl<'a> AllowedHours<'a> {
    pub fn of(window: &'a SendWindow, clock: &'a LocalClock) -> Self {
        let mut hours = Self {
            window,
            clock,
            count: 0,
        };
        let first_at = clock.hour_start(window.earliest_at);
        let is_daily = window.is_alike_every_day() && clock.is_even();
        hours.count = if is_daily && clock.minute_of_day(first_at).is_multiple_of(60) {
            hours.counted_by_hour_of_day(first_at)
        } else {
            hours.starts().count()
        };
        hours
    }

    /// How many there are where only quiet hours forbid anything: an hour that lies wholly in the window is allowed or not by its hour of the day.
    fn counted_by_hour_of_day(&self, first_at: Timestamp) -> usize {
        let (window, clock) = (self.window, self.clock);
        let last = (window.deadline_at.as_second() - first_at.as_second()) / 3_600;
        let is_whole = |hour: i64| {
            let start = first_at.as_second() + hour * 3_600;
            (hour > 0 || first_at == window.earliest_at)
                && start + 3_600 <= window.deadline_at.as_second()
        };
        let of_day = i64::from(clock.minute_of_day(first_at) / 60);
        let allowed = window.allowed_hours_of_day();
        let is_allowed = |hour: i64| {
            if is_whole(hour) {
                return allowed[((of_day + hour) % 24) as usize];
            }
            let start_at = Timestamp::from_second(first_at.as_second() + hour * 3_600);
            start_at.is_ok_and(|start_at| self.is_allowed(start_at))
        };
        (0..=last).filter(|hour| is_allowed(*hour)).count()
    }

    fn is_allowed(&self, start_at: Timestamp) -> bool {
        let first = allowed_within(start_at, self.window, self.clock).next();
        first.is_some()
    }

    /// Their starts, ascending.
    fn starts(&self) -> impl Iterator<Item = Timestamp> {
        hour_starts(self.window, self.clock).filter(|start_at| self.is_allowed(*start_at))
    }

    /// A uniform hour by one draw and a uniform candidate within it by another.
    pub fn drawn(&self, hour: u64, within: u64) -> Option<Timestamp> {
        let start_at = self.starts().nth(below(hour, self.count))?;
        let candidates = || allowed_within(start_at, self.window, self.clock);
        candidates().nth(below(within, candidates().count()))
    }

    /// The probability with which a uniform hour is the one of this instant.
    pub fn probability(&self, at: Timestamp) -> f64 {
        let start_at = self.clock.hour_start(at);
        let is_start = if self.clock.is_even() {
            self.clock.hour_start(self.window.earliest_at) <= start_at
                && start_at <= self.window.deadline_at
        } else {
            hour_starts(self.window, self.clock).any(|start| start == start_at)
        };
        if is_start && self.is_allowed(start_at) {
            1.0 / self.count.max(1) as f64
        } else {
            0.0
        }
    }

    /// Whether two instants lie in one hour.
    pub fn is_same(&self, one: Timestamp, other: Timestamp) -> bool {
        self.clock.hour_start(one) == self.clock.hour_start(other)
    }
}

/// A number below a bound from a draw; 0 for the bound 0.
fn below(draw: u64, bound: usize) -> usize {
    ((u128::from(draw) * bound as u128) >> 64) as usize
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::civil::Zone;
    use crate::domain::send_window::QuietHours;

    /// Windows of all lengths before and over the change of clocks of 2024-03-31, in zones whose hours start at all sorts of minutes.
    pub fn windows() -> impl Strategy<Value = (SendWindow, Zone)> {
        let begins = 0..1_600_000_i64;
        let quiet = prop::collection::vec((0..1_440_u16, 1..700_u16), 0..3);
        let zone = prop::sample::select(vec![
            "UTC",
            "Europe/Berlin",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
        ]);
        let forbidden = (any::<bool>(), any::<bool>());
        (begins, 0..900_000_i64, quiet, forbidden, zone).prop_map(
            |(begins, length, quiet, (is_blocked, is_full), zone)| {
                let first_at: Timestamp = "2024-03-20T00:00:00Z".parse().unwrap();
                let earliest_at = first_at + SignedDuration::from_millis(begins * 500);
                let quiet = quiet.into_iter().map(|(start_minute, long)| QuietHours {
                    start_minute,
                    end_minute: (start_minute + long) % 1_440,
                });
                let blocked = jiff::civil::Date::constant(2024, 3, 25);
                let full = earliest_at.as_second() / 3_600 + 5;
                let window = SendWindow {
                    earliest_at,
                    deadline_at: earliest_at + SignedDuration::from_secs(length),
                    quiet: quiet.collect(),
                    blocked_days: is_blocked.then_some(blocked).into_iter().collect(),
                    full_hours: is_full.then_some(full).into_iter().collect(),
                };
                (window, Zone::parse(zone).unwrap())
            },
        )
    }

    proptest! {
        #[test]
        fn the_hours_counted_are_those_listed((window, zone) in windows(), draw: u64) {
            let clock = window.clock(&zone, 0);
            let hours = AllowedHours::of(&window, &clock);
            let starts: Vec<Timestamp> = hours.starts().collect();
            prop_assert_eq!(hours.count, starts.len());
            let length = (window.deadline_at - window.earliest_at).get_seconds() / 3_600;
            for hour in -1..=length + 1 {
                let at = window.earliest_at + SignedDuration::from_hours(hour);
                let is_one = starts.contains(&clock.hour_start(at));
                prop_assert_eq!(hours.probability(at), if is_one { 1.0 / starts.len() as f64 } else { 0.0 });
            }
            match hours.drawn(draw, draw) {
                None => prop_assert!(starts.is_empty()),
                Some(at) => prop_assert!(window.allows(at, &clock) && hours.probability(at) > 0.0),
            }
        }
    }

    #[test]
    fn at_the_first_instants_there_are_nothing_is_out_of_bounds() {
        let window = SendWindow {
            earliest_at: Timestamp::MIN,
            deadline_at: Timestamp::MIN + SignedDuration::from_hours(1),
            quiet: vec![QuietHours {
                start_minute: 60,
                end_minute: 120,
            }],
            blocked_days: Vec::new(),
            full_hours: Vec::new(),
        };
        let clock = window.clock(&Zone::utc(), 0);
        let hours = AllowedHours::of(&window, &clock);
        assert_eq!(hours.count, hours.starts().count());
        assert!(hours.probability(window.deadline_at) <= 1.0);
    }
}
