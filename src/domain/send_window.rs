//! When a mail may be sent at all: earliest, deadline, quiet hours and blocked days of the recipient's own calendar.
//!
//! Every instant is judged by the wall clock it falls on. A quiet period that starts in a gap therefore starts when the gap
//! ends, and one that lies in a fold is quiet both times. Which allowed instant is best is left to `send_time`.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::civil::{DayNumber, LocalClock, Zone};

/// Distance of two candidate instants, seconds.
pub const GRID_SECONDS: i64 = 300;
/// Longest send window, days.
pub const WINDOW_DAYS_MAX: i64 = 30;
/// Most quiet periods in one window.
pub const QUIET_PERIODS_MAX: usize = 16;
/// Most blocked days in one window.
pub const BLOCKED_DAYS_MAX: usize = 366;

const DAY_MINUTES: u16 = 1_440;
const HOUR_MINUTES: usize = 60;

/// A daily period without mail in local minutes of the day, start inclusive, end exclusive; wraps midnight if it ends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// First quiet minute of the day, 0 to 1439.
    pub start_minute: u16,
    /// First minute that is allowed again, 0 to 1440.
    pub end_minute: u16,
}

impl QuietHours {
    fn covers(self, minute: u16) -> bool {
        if self.start_minute <= self.end_minute {
            self.start_minute <= minute && minute < self.end_minute
        } else {
            minute >= self.start_minute || minute < self.end_minute
        }
    }
}

/// One rule that a send window breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowViolation {
    /// The window ends before it starts.
    #[error("the deadline {deadline_at} is before the earliest time {earliest_at}")]
    DeadlineBeforeEarliest {
        /// The start as given.
        earliest_at: Timestamp,
        /// The end as given.
        deadline_at: Timestamp,
    },
    /// The window is longer than [`WINDOW_DAYS_MAX`].
    #[error("the window spans {hours} hours, more than {WINDOW_DAYS_MAX} days")]
    SpanTooLong {
        /// Its length, whole hours.
        hours: i64,
    },
    /// A quiet period names a minute that no day has.
    #[error("quiet period {index}: minutes go from 0 to 1439, the end may be 1440")]
    QuietMinuteOutOfRange {
        /// Position in the list.
        index: usize,
    },
    /// A quiet period starts and ends in the same minute: nobody can tell whether it means nothing or all day.
    #[error("quiet period {index} starts and ends in the same minute")]
    QuietEmpty {
        /// Position in the list.
        index: usize,
    },
    /// The quiet periods together leave no minute of the day.
    #[error("the quiet periods cover the whole day")]
    QuietAllDay,
    /// More quiet periods than [`QUIET_PERIODS_MAX`].
    #[error("{count} quiet periods, more than {QUIET_PERIODS_MAX}")]
    TooManyQuietPeriods {
        /// How many were given.
        count: usize,
    },
    /// More blocked days than [`BLOCKED_DAYS_MAX`].
    #[error("{count} blocked days, more than {BLOCKED_DAYS_MAX}")]
    TooManyBlockedDays {
        /// How many were given.
        count: usize,
    },
}

/// The instants at which a mail may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendWindow {
    /// No mail before this instant.
    pub earliest_at: Timestamp,
    /// No mail after this instant; itself allowed.
    pub deadline_at: Timestamp,
    /// Daily periods without mail, local time.
    pub quiet: Vec<QuietHours>,
    /// Local calendar days without mail, such as holidays.
    pub blocked_days: Vec<Date>,
    /// Hours since 1970 in which the sender has no room left, ascending.
    pub full_hours: Vec<i64>,
}

// === impl QuietHours ===

impl QuietHours {
    /// The same hours on clocks that these are ahead of by so many minutes.
    fn behind(self, minutes: i32) -> Self {
        let day = i32::from(DAY_MINUTES);
        let moved = |minute: u16| (i32::from(minute) - minutes).rem_euclid(day) as u16;
        Self {
            start_minute: moved(self.start_minute),
            end_minute: moved(self.end_minute),
        }
    }
}

// === impl SendWindow ===

impl SendWindow {
    /// The window with the quiet hours of other zones as well, whose clocks are ahead of its own by so many minutes: what leaves an hour of
    /// the day is added in the order given, the rest left out. None when there is nothing to add, or no time in the window would be left.
    pub fn quiet_also(&self, zone: &Zone, ahead_minutes: &[i32]) -> Option<Self> {
        if self.quiet.is_empty() || ahead_minutes.is_empty() {
            return None;
        }
        let mut wider = self.clone();
        for minutes in ahead_minutes {
            let more = self.quiet.iter().map(|quiet| quiet.behind(*minutes));
            let mut tried = wider.clone();
            tried.quiet.extend(more);
            tried.quiet = tried.merged_quiet();
            let left = (0..DAY_MINUTES).filter(|minute| !tried.is_quiet(*minute));
            if left.count() >= HOUR_MINUTES && tried.quiet.len() <= QUIET_PERIODS_MAX {
                wider = tried;
            }
        }
        let clock = wider.clock(zone, 0);
        let any = wider.candidates(&clock).next();
        any.is_some().then_some(wider)
    }

    /// The quiet minutes of the day as periods that neither touch nor overlap.
    fn merged_quiet(&self) -> Vec<QuietHours> {
        let is_quiet = |minute: u16| self.is_quiet(minute % DAY_MINUTES);
        let starts = (0..DAY_MINUTES)
            .filter(|minute| is_quiet(*minute) && !is_quiet(minute + DAY_MINUTES - 1));
        starts
            .map(|start_minute| {
                let lasts = (1..DAY_MINUTES).find(|more| !is_quiet(start_minute + more));
                QuietHours {
                    start_minute,
                    end_minute: (start_minute + lasts.unwrap_or(DAY_MINUTES)) % DAY_MINUTES,
                }
            })
            .collect()
    }

    /// Checks every rule and answers all violations at once.
    pub fn validate(&self) -> Result<(), Vec<WindowViolation>> {
        let mut violations = self.span_violations();
        violations.extend(self.quiet_violations());
        if self.blocked_days.len() > BLOCKED_DAYS_MAX {
            violations.push(WindowViolation::TooManyBlockedDays {
                count: self.blocked_days.len(),
            });
        }
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    }

    fn span_violations(&self) -> Vec<WindowViolation> {
        let seconds = self.deadline_at.as_second() - self.earliest_at.as_second();
        if self.deadline_at < self.earliest_at {
            vec![WindowViolation::DeadlineBeforeEarliest {
                earliest_at: self.earliest_at,
                deadline_at: self.deadline_at,
            }]
        } else if seconds > WINDOW_DAYS_MAX * 86_400 {
            vec![WindowViolation::SpanTooLong {
                hours: seconds / 3_600,
            }]
        } else {
            Vec::new()
        }
    }

    fn quiet_violations(&self) -> Vec<WindowViolation> {
        let mut violations = Vec::new();
        if self.quiet.len() > QUIET_PERIODS_MAX {
            let count = self.quiet.len();
            violations.push(WindowViolation::TooManyQuietPeriods { count });
        }
        for (index, quiet) in self.quiet.iter().enumerate() {
            if quiet.start_minute >= DAY_MINUTES || quiet.end_minute > DAY_MINUTES {
                violations.push(WindowViolation::QuietMinuteOutOfRange { index });
            } else if quiet.start_minute == quiet.end_minute {
                violations.push(WindowViolation::QuietEmpty { index });
            }
        }
        if violations.is_empty() && self.is_quiet_all_day() {
            violations.push(WindowViolation::QuietAllDay);
        }
        violations
    }

    /// Whether no minute of the day is left. The first of minutes left starts the day or ends a period, so no others are asked.
    fn is_quiet_all_day(&self) -> bool {
        let ends = self.quiet.iter().map(|quiet| quiet.end_minute);
        std::iter::once(0)
            .chain(ends)
            .all(|minute| self.is_quiet(minute % DAY_MINUTES))
    }

    fn is_quiet(&self, minute: u16) -> bool {
        self.quiet.iter().any(|quiet| quiet.covers(minute))
    }

    /// By hour of the local day: whether the quiet hours leave any candidate in it, where the whole hour lies in the window and candidates
    /// count from its start.
    pub fn allowed_hours_of_day(&self) -> [bool; 24] {
        std::array::from_fn(|hour| {
            let mut candidates = (0..HOUR_MINUTES).step_by(GRID_SECONDS as usize / 60);
            candidates.any(|minute| !self.is_quiet((hour * HOUR_MINUTES + minute) as u16))
        })
    }

    /// The local clock of this window, with `tail_hours` to spare after the deadline.
    pub fn clock(&self, zone: &Zone, tail_hours: i64) -> LocalClock {
        let end = self
            .deadline_at
            .as_second()
            .saturating_add(tail_hours * 3_600);
        let end_at = Timestamp::from_second(end).unwrap_or(self.deadline_at);
        LocalClock::over(zone, self.earliest_at, end_at)
    }

    /// Whether a mail may be sent at this instant.
    pub fn allows(&self, at: Timestamp, clock: &LocalClock) -> bool {
        self.earliest_at <= at
            && at <= self.deadline_at
            && !self.is_quiet(clock.minute_of_day(at))
            && !self.is_blocked(clock.day(at))
            && !self.is_full(at)
    }

    /// Whether nothing but quiet hours forbids a time between its ends, so that every day allows the same hours.
    pub fn is_alike_every_day(&self) -> bool {
        self.blocked_days.is_empty() && self.full_hours.is_empty()
    }

    fn is_full(&self, at: Timestamp) -> bool {
        !self.full_hours.is_empty()
            && self
                .full_hours
                .binary_search(&at.as_second().div_euclid(3_600))
                .is_ok()
    }

    fn is_blocked(&self, day: DayNumber) -> bool {
        // Most windows block nothing, and then the day need not be compared at all.
        self.blocked_days
            .iter()
            .any(|&blocked| DayNumber::of(blocked) == day)
    }

    /// The allowed candidates, ascending: the earliest instant itself, then the 5-minute grid of absolute time.
    pub fn candidates<'a>(&'a self, clock: &'a LocalClock) -> impl Iterator<Item = Timestamp> + 'a {
        let first_grid = self.earliest_at.as_second().div_euclid(GRID_SECONDS) + 1;
        let last_grid = self.deadline_at.as_second().div_euclid(GRID_SECONDS);
        let grid = (first_grid..=last_grid)
            .filter_map(|step| Timestamp::from_second(step * GRID_SECONDS).ok());
        std::iter::once(self.earliest_at)
            .chain(grid)
            .filter(move |&at| self.allows(at, clock))
    }
}

#[cfg(test)]
mod tests;
