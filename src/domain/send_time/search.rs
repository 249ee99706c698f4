//! The value of every instant in a window, and the best allowed one.
//!
//! Values are computed on a grid of absolute time and read linearly between, so gaps and folds need no special case.
//! What makes an hour good is left to `personal`; what the answer says about itself to the parent.

use std::ops::Range;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::domain::activity::tenant::WeekBins;
use crate::domain::civil::LocalClock;
use crate::domain::freshness::FreshnessCurve;
use crate::domain::send_window::{GRID_SECONDS, SendWindow};

use super::allowed_hours::{allowed_within, hour_starts};
use super::remembered::{Remembered, Span, Values};
use super::{Goal, HourCandidate};

/// Step of the open probability, which is smooth; activity jumps at midnight and is computed on every candidate.
const STEP_SECONDS: i64 = 900;
const STEP_HOURS: f64 = 0.25;
/// Followed beyond the deadline, hours; what lies further counts at average activity.
pub(super) const TAIL_HOURS: i64 = 48;
const JITTER_SECONDS_MAX: i64 = 600;
const WEEK_MINUTES: u16 = 7 * 24 * 60;

/// Relative value of instants on a grid of absolute time.
#[derive(Debug)]
pub(super) struct ValueCurve {
    step_seconds: i64,
    first_step: i64,
    values: Values,
}

/// The rates of the week with the functional that turns them into a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Valuation<'a> {
    pub by_week: &'a [f64; 168],
    pub freshness: &'a FreshnessCurve,
    pub goal: Goal,
    /// Where the curve is looked for first, and kept, when others have the same rates.
    pub shared: Option<&'a Remembered>,
    /// Whether the rates are everybody's.
    pub is_everyone: bool,
}

/// Where a step lies: its length and how far into it the local time is read, seconds.
#[derive(Clone, Copy)]
struct Grid {
    step_seconds: i64,
    ahead_seconds: i64,
}

// === impl ValueCurve ===

impl ValueCurve {
    /// The curve over a window, up to one step beyond the deadline.
    pub fn over(window: &SendWindow, clock: &LocalClock, valuation: Valuation<'_>) -> ValueCurve {
        let step_seconds = match valuation.goal {
            Goal::OpenProbability => STEP_SECONDS,
            Goal::Activity => GRID_SECONDS,
        };
        let first_step = window.earliest_at.as_second().div_euclid(step_seconds);
        let last_step = window.deadline_at.as_second().div_euclid(step_seconds) + 1;
        let count = usize::try_from(last_step - first_step + 1).unwrap_or(0);
        let grid = |ahead_seconds| Grid {
            step_seconds,
            ahead_seconds,
        };
        let values = || match valuation.goal {
            Goal::OpenProbability => {
                let tail = TAIL_HOURS * 3_600 / STEP_SECONDS;
                let rates = along(
                    first_step..last_step + 1 + tail,
                    grid(step_seconds / 2),
                    clock,
                    |minute| rate_at_minute(valuation.by_week, minute),
                );
                waiting_values(&rates, count, valuation.freshness)
            }
            Goal::Activity => {
                let shares = shares_within_an_hour(valuation.by_week);
                let share = |minute| share_at_minute(&shares, minute);
                along(first_step..last_step + 1, grid(0), clock, share).into()
            }
        };
        // Where the clock runs evenly, the values depend on where in the week the window starts and on how long it is, and on nothing else of it.
        let first_at = Timestamp::from_second(first_step * step_seconds);
        let values = match (valuation.shared, first_at) {
            (Some(shared), Ok(first_at)) if clock.is_even() => {
                let span = Span {
                    first_minute: clock.minute_of_week(first_at),
                    count,
                };
                shared.values(&valuation, span, values)
            }
            _ => Values::Own(values()),
        };
        ValueCurve {
            step_seconds,
            first_step,
            values,
        }
    }

    /// The value at an instant, linear between the grid's; zero outside the window.
    pub fn at(&self, at: Timestamp) -> f64 {
        let second = at.as_second();
        let part = second.rem_euclid(self.step_seconds) as f64 / self.step_seconds as f64;
        let (from, to) = self.around(second);
        from + (to - from) * part
    }

    fn around(&self, second: i64) -> (f64, f64) {
        let index = second.div_euclid(self.step_seconds) - self.first_step;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let value = |index: usize| self.values.get(index).copied().unwrap_or(0.0);
        (value(index), value(index.saturating_add(1)))
    }

    /// The best allowed instant, the first of equals; `None` if the window allows no candidate.
    pub fn best(&self, window: &SendWindow, clock: &LocalClock) -> Option<Timestamp> {
        self.summit(window, clock)
            .or_else(|| self.searched(window, clock))
    }

    /// The first of the highest nodes, if a mail may be sent then: nothing is better, since between two nodes the curve is not above the higher one.
    fn summit(&self, window: &SendWindow, clock: &LocalClock) -> Option<Timestamp> {
        let mut highest = (self.first_step, f64::NEG_INFINITY);
        for (step, value) in (self.first_step..).zip(self.values.iter()) {
            if *value > highest.1 {
                highest = (step, *value);
            }
        }
        let second = highest.0 * self.step_seconds;
        let at = Timestamp::from_second(second).ok()?;
        let before_at = Timestamp::from_second(second - GRID_SECONDS).ok()?;
        // Rounding may lift what comes just before a node to its height, and then that is the first.
        let is_lower = |earlier_at| earlier_at >= at || self.at(earlier_at) < highest.1;
        (is_lower(window.earliest_at) && is_lower(before_at) && window.allows(at, clock))
            .then_some(at)
    }

    /// The best allowed instant by going through all that may be.
    fn searched(&self, window: &SendWindow, clock: &LocalClock) -> Option<Timestamp> {
        let mut best: Option<(Timestamp, f64)> = None;
        let mut consider = |at: Timestamp, value: f64| {
            if best.is_none_or(|(_, least)| value > least) && window.allows(at, clock) {
                best = Some((at, value));
            }
            best.map_or(f64::NEG_INFINITY, |(_, least)| least)
        };
        let mut least = consider(window.earliest_at, self.at(window.earliest_at));
        // The last node lies beyond the deadline.
        for (step, ends) in (self.first_step..).zip(self.values.windows(2)) {
            // Between two nodes the curve lies under the higher one.
            if ends.iter().all(|value| *value <= least) {
                continue;
            }
            let start = step * self.step_seconds;
            for second in (start..start + self.step_seconds).step_by(GRID_SECONDS as usize) {
                if let Ok(at) = Timestamp::from_second(second) {
                    least = consider(at, self.at(at));
                }
            }
        }
        best.map(|(at, _)| at)
    }

    /// Every local hour of the window with its best allowed value, or its value in the middle if nothing in it is allowed.
    pub fn hours(&self, window: &SendWindow, clock: &LocalClock) -> Vec<HourCandidate> {
        hour_starts(window, clock)
            .map(|start_at| self.hour(start_at, window, clock))
            .collect()
    }

    fn hour(&self, start_at: Timestamp, window: &SendWindow, clock: &LocalClock) -> HourCandidate {
        let best = allowed_within(start_at, window, clock)
            .map(|at| self.at(at))
            .reduce(f64::max);
        let middle = start_at
            .checked_add(SignedDuration::from_mins(30))
            .unwrap_or(start_at);
        HourCandidate {
            start_at,
            local: clock.local_hour(start_at),
            value: best.unwrap_or_else(|| self.at(middle)),
            allowed: best.is_some(),
        }
    }
}

/// What `read` says of the local minute of the week at successive steps, as far into each as the grid says.
fn along(steps: Range<i64>, grid: Grid, clock: &LocalClock, read: impl Fn(u16) -> f64) -> Vec<f64> {
    let at = |step: i64| Timestamp::from_second(step * grid.step_seconds + grid.ahead_seconds);
    if let (true, Ok(first), Ok(_)) = (clock.is_even(), at(steps.start), at(steps.end)) {
        // Steps are whole minutes: where no offset changes the minute need not be reckoned anew for each.
        let ahead = (grid.step_seconds / 60) as u16;
        let mut minute = clock.minute_of_week(first);
        let mut values = Vec::with_capacity(usize::try_from(steps.end - steps.start).unwrap_or(0));
        for _ in steps {
            values.push(read(minute));
            minute += ahead;
            if minute >= WEEK_MINUTES {
                minute -= WEEK_MINUTES;
            }
        }
        return values;
    }
    steps
        .map(|step| at(step).map_or(0.0, |at| read(clock.minute_of_week(at))))
        .collect()
}

/// Relative activity at a minute of the week, linear between the middles of the hours.
fn rate_at_minute(by_week: &[f64; 168], minute_of_week: u16) -> f64 {
    // Half an hour back, on the circle: the middle of an hour is where its own rate holds.
    let shifted = (usize::from(minute_of_week) + 168 * 60 - 30) % (168 * 60);
    let (hour, part) = (shifted / 60, (shifted % 60) as f64 / 60.0);
    let (from, to) = (by_week[hour], by_week[(hour + 1) % 168]);
    from + (to - from) * part
}

/// The share of a mean day's activity in the three hours around each hour of a weekday.
///
/// The hours wrap within their own day: otherwise a good Tuesday would make late Monday the best of all Monday.
fn shares_within_an_hour(by_week: &[f64; 168]) -> WeekBins {
    let day = by_week.iter().sum::<f64>() / 7.0;
    std::array::from_fn(|weekday| {
        let rate = |hour: usize| by_week[weekday * 24 + hour % 24];
        std::array::from_fn(|hour| (rate(hour + 23) + rate(hour) + rate(hour + 1)) / day)
    })
}

/// The share at a minute of the week, linear between the middles of the hours of one weekday.
fn share_at_minute(shares: &WeekBins, minute_of_week: u16) -> f64 {
    let minute = usize::from(minute_of_week);
    let row = &shares[minute / (24 * 60) % 7];
    let shifted = (minute % (24 * 60) + 24 * 60 - 30) % (24 * 60);
    let (hour, part) = (shifted / 60, (shifted % 60) as f64 / 60.0);
    let (from, to) = (row[hour], row[(hour + 1) % 24]);
    from + (to - from) * part
}

/// `I(s) = integral of r(s + a) phi(a) da` for the first `count` steps.
///
/// Each exponential of `phi` runs backwards on its own, exact for rates constant within a step:
/// `I_j(s) = w_j (1 - e^{-h/tau_j}) r(s) + e^{-h/tau_j} I_j(s + h)`.
fn waiting_values(rates: &[f64], count: usize, freshness: &FreshnessCurve) -> Arc<[f64]> {
    let terms = freshness
        .components()
        .map(|(w, tau)| (w, (-STEP_HOURS / tau).exp()));
    // Beyond the tail: average activity, which is 1.
    let mut sums = terms.map(|(w, _)| w);
    let mut values = vec![0.0; count];
    for (step, rate) in rates.iter().enumerate().rev() {
        for (sum, (w, keep)) in sums.iter_mut().zip(terms) {
            *sum = w * (1.0 - keep) * rate + keep * *sum;
        }
        if let Some(value) = values.get_mut(step) {
            *value = sums.iter().sum();
        }
    }
    values.into()
}

/// Moves an instant by a hashed offset of at most ten minutes; the other way round, or not at all, if that is not allowed.
pub(super) fn jittered(
    at: Timestamp,
    jitter: u64,
    window: &SendWindow,
    clock: &LocalClock,
) -> Timestamp {
    if jitter == 0 {
        return at;
    }
    let span = 2 * JITTER_SECONDS_MAX as u64 + 1;
    let offset = (jitter % span) as i64 - JITTER_SECONDS_MAX;
    [offset, -offset]
        .into_iter()
        .filter_map(|seconds| at.checked_add(SignedDuration::from_secs(seconds)).ok())
        .find(|&moved| window.allows(moved, clock))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::super::allowed_hours::tests::windows;
    use super::*;
    use crate::domain::civil::Zone;

    proptest! {
        #[test]
        fn a_summit_is_what_going_through_all_finds(
            (window, zone) in windows(), is_flat: bool, seed: u64,
        ) {
            let clock = window.clock(&zone, TAIL_HOURS);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Of few different values many hours are equally good.
            let by_week: [f64; 168] = std::array::from_fn(|_| match is_flat {
                true => f64::from(rng.random_range(1..3_u8)),
                false => rng.random_range(0.1..3.0),
            });
            for goal in [Goal::OpenProbability, Goal::Activity] {
                let valuation = Valuation {
                    by_week: &by_week,
                    freshness: &FreshnessCurve::default(),
                    goal,
                    shared: None,
                    is_everyone: false,
                };
                let curve = ValueCurve::over(&window, &clock, valuation);
                prop_assert_eq!(curve.best(&window, &clock), curve.searched(&window, &clock));
            }
        }
    }

    #[test]
    fn what_rounding_lifts_to_the_height_of_a_summit_is_found_before_it() {
        let start_at = Timestamp::from_second(900_000).unwrap();
        let window = SendWindow {
            earliest_at: start_at,
            deadline_at: start_at + SignedDuration::from_mins(40),
            quiet: Vec::new(),
            blocked_days: Vec::new(),
            full_hours: Vec::new(),
        };
        let clock = window.clock(&Zone::utc(), 0);
        let curve = |values: [f64; 4]| ValueCurve {
            step_seconds: STEP_SECONDS,
            first_step: 1_000,
            values: Values::Own(Arc::from(values)),
        };
        let almost = 1.0 - f64::EPSILON / 2.0;
        for (values, minutes) in [
            ([0.5, almost, 1.0, 0.5], 25),
            ([0.5, 0.9, 1.0, 0.5], 30),
            ([1.0, 1.0, 1.0, 0.5], 0),
            ([f64::NAN, 0.9, 1.0, 0.5], 0),
            ([0.5, 0.6, 0.7, 0.9], 40),
        ] {
            let best_at = curve(values).best(&window, &clock);
            assert_eq!(
                best_at,
                curve(values).searched(&window, &clock),
                "{values:?}"
            );
            let expected_at = start_at + SignedDuration::from_mins(minutes);
            assert_eq!(best_at, Some(expected_at), "{values:?}");
        }
    }

    #[test]
    fn walking_the_minutes_reads_what_each_instant_says() {
        let start_at: Timestamp = "2024-03-25T00:00:00Z".parse().unwrap();
        for (name, days) in [
            ("Asia/Kathmandu", 30),
            ("Europe/Berlin", 3),
            ("Europe/Berlin", 9),
        ] {
            let end_at = start_at + SignedDuration::from_hours(days * 24);
            let clock = LocalClock::over(&Zone::parse(name).unwrap(), start_at, end_at);
            for (step_seconds, ahead_seconds) in
                [(STEP_SECONDS, STEP_SECONDS / 2), (GRID_SECONDS, 0)]
            {
                let grid = Grid {
                    step_seconds,
                    ahead_seconds,
                };
                let first = start_at.as_second() / step_seconds;
                let steps = first..first + days * 86_400 / step_seconds;
                let read = along(steps.clone(), grid, &clock, f64::from);
                let said = steps.map(|step| {
                    let second = step * step_seconds + ahead_seconds;
                    f64::from(clock.minute_of_week(Timestamp::from_second(second).unwrap()))
                });
                assert!(read.into_iter().eq(said), "{name} {days}");
            }
        }
    }
}
