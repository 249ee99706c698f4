//! Local civil time: the one place that decides zones, gaps and folds.
//!
//! Instants are absolute everywhere else; a local hour is always *derived* from an instant, never turned back into one. So a
//! gap has no instants and a fold simply has twice as many, and no caller needs a special case.
//! What the hours mean (quiet, good, bad) is left to the callers.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 86_400;
/// 1970-01-01 was a Thursday, the fourth day of a week that starts on Monday.
const EPOCH_WEEKDAY: i64 = 3;

/// Why a time zone name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an IANA time zone name such as Europe/Berlin")]
pub struct ZoneError {
    /// The name as given, cut to 64 characters.
    pub name: String,
}

/// A validated IANA time zone from the bundled database; cloning it copies a pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    rules: TimeZone,
}

// === impl Zone ===

impl Zone {
    /// Looks a zone up by its IANA name, whatever its case; fails on anything the bundled database does not know.
    pub fn parse(name: &str) -> Result<Zone, ZoneError> {
        let rules = TimeZone::get(name).ok();
        match rules.filter(|rules| !rules.is_unknown() && rules.iana_name().is_some()) {
            Some(rules) => Ok(Zone { rules }),
            None => Err(ZoneError {
                name: name.chars().take(64).collect(),
            }),
        }
    }

    /// Universal time, the zone of a recipient whose zone is not known.
    pub fn utc() -> Zone {
        Zone {
            rules: TimeZone::UTC,
        }
    }

    /// The IANA name in its own spelling; [`Zone::parse`] reads it back.
    pub fn name(&self) -> &str {
        self.rules.iana_name().unwrap_or("UTC")
    }

    /// How far its clocks are ahead of universal time at an instant, seconds.
    pub fn offset_seconds(&self, at: Timestamp) -> i32 {
        self.rules.to_offset(at).seconds()
    }

    /// The local hour and weekday at an instant.
    pub fn local_hour(&self, at: Timestamp) -> LocalHour {
        self.local_time(at).hour
    }

    /// The local hour, weekday and minute at an instant.
    pub fn local_time(&self, at: Timestamp) -> LocalTime {
        let offset = self.rules.to_offset(at).seconds();
        LocalTime::from_local_second(at.as_second() + i64::from(offset))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An hour on a wall calendar: hour of day 0 to 23 and weekday 0 (Monday) to 6.
///
/// The fields are trusted to be in range by everything that builds one here; readers fold them by modulus, so a value from
/// elsewhere cannot make anything fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalHour {
    /// Hour of day, 0 to 23.
    pub hour: u8,
    /// Day of the week, 0 is Monday.
    pub weekday: u8,
}

impl LocalHour {
    /// The hour of the week this is.
    pub fn hour_of_week(self) -> HourOfWeek {
        HourOfWeek(self.weekday % 7 * 24 + self.hour % 24)
    }
}

/// A local hour with the minute within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalTime {
    /// The hour and weekday.
    pub hour: LocalHour,
    /// Minute of the hour, 0 to 59.
    pub minute: u8,
}

impl LocalTime {
    fn from_local_second(second: i64) -> LocalTime {
        let minute_of_day = second.rem_euclid(DAY_SECONDS) / 60;
        let weekday = (second.div_euclid(DAY_SECONDS) + EPOCH_WEEKDAY).rem_euclid(7);
        LocalTime {
            hour: LocalHour {
                hour: (minute_of_day / 60) as u8,
                weekday: weekday as u8,
            },
            minute: (minute_of_day % 60) as u8,
        }
    }
}

/// An hour of the week, 0 to 167, Monday 00 is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HourOfWeek(u8);

impl HourOfWeek {
    /// An hour of the week from its index; `None` from 168 on.
    pub fn new(index: u8) -> Option<HourOfWeek> {
        (index < 168).then_some(HourOfWeek(index))
    }

    /// The index, 0 to 167.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The hour of day and weekday of this hour of the week.
    pub fn local_hour(self) -> LocalHour {
        LocalHour {
            hour: self.0 % 24,
            weekday: self.0 / 24,
        }
    }
}

/// A day of the local calendar as a number: whole days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DayNumber(i64);

impl DayNumber {
    /// The number of a calendar date.
    pub fn of(date: Date) -> DayNumber {
        let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0));
        // Only the edges of the year range have no instant; no window reaches them.
        DayNumber(midnight.map_or(i64::MAX, |at| at.as_second().div_euclid(DAY_SECONDS)))
    }

    /// The calendar date; `None` outside the calendar's range of years.
    pub fn date(self) -> Option<Date> {
        let midnight = Timestamp::from_second(self.0.checked_mul(DAY_SECONDS)?).ok()?;
        Some(Offset::UTC.to_datetime(midnight).date())
    }
}

/// Local time over a span of instants, with one look-up in the zone's rules per change of offset.
///
/// Instants outside the span read the nearest offset within it.
#[derive(Debug, Clone)]
pub struct LocalClock {
    /// From which second on which offset holds, ascending; never empty.
    first_offset_seconds: i64,
    changes: Vec<OffsetChange>,
}

#[derive(Debug, Clone, Copy)]
struct OffsetChange {
    from_second: i64,
    offset_seconds: i64,
}

// === impl LocalClock ===

impl LocalClock {
    /// Reads the offsets of `zone` from `start_at` to `end_at` once.
    pub fn over(zone: &Zone, start_at: Timestamp, end_at: Timestamp) -> LocalClock {
        let first = zone.rules.to_offset(start_at).seconds();
        let changes = zone
            .rules
            .following(start_at)
            .take_while(|change| change.timestamp() <= end_at)
            .map(|change| OffsetChange {
                from_second: change.timestamp().as_second(),
                offset_seconds: i64::from(change.offset().seconds()),
            })
            .collect();
        LocalClock {
            first_offset_seconds: i64::from(first),
            changes,
        }
    }

    /// Seconds of the wall clock since 1970-01-01 00:00 on that wall clock.
    fn local_second(&self, at: Timestamp) -> i64 {
        let second = at.as_second();
        let offset = self
            .changes
            .iter()
            .rev()
            .find(|change| change.from_second <= second)
            .map_or(self.first_offset_seconds, |change| change.offset_seconds);
        second + offset
    }

    /// Whether one offset holds all along, so that the wall clock runs as absolute time does.
    pub fn is_even(&self) -> bool {
        self.changes.is_empty()
    }

    /// Minute of the local day, 0 to 1439.
    pub fn minute_of_day(&self, at: Timestamp) -> u16 {
        (self.local_second(at).rem_euclid(DAY_SECONDS) / 60) as u16
    }

    /// Minute of the local week, 0 to 10079, Monday 00:00 is 0.
    pub fn minute_of_week(&self, at: Timestamp) -> u16 {
        let second = self.local_second(at) + EPOCH_WEEKDAY * DAY_SECONDS;
        (second.rem_euclid(7 * DAY_SECONDS) / 60) as u16
    }

    /// The local calendar day.
    pub fn day(&self, at: Timestamp) -> DayNumber {
        DayNumber(self.local_second(at).div_euclid(DAY_SECONDS))
    }

    /// The local hour and weekday.
    pub fn local_hour(&self, at: Timestamp) -> LocalHour {
        LocalTime::from_local_second(self.local_second(at)).hour
    }

    /// The start of the local hour that `at` lies in, as an instant; a change of offset inside the hour does not move it.
    pub fn hour_start(&self, at: Timestamp) -> Timestamp {
        let into = self.local_second(at).rem_euclid(HOUR_SECONDS);
        Timestamp::from_second(at.as_second() - into).unwrap_or(at)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_zone_is_found_whatever_its_case_and_nonsense_is_refused() {
        assert_eq!(
            Zone::parse("europe/berlin").unwrap().name(),
            "Europe/Berlin"
        );
        assert_eq!(Zone::utc().name(), "UTC");
        for name in [
            "",
            "Mars/Olympus",
            "Etc/Unknown",
            "+02:00",
            "Europe/Berlin ",
        ] {
            assert!(Zone::parse(name).is_err(), "{name}");
        }
        assert_eq!(Zone::parse(&"x".repeat(999)).unwrap_err().name.len(), 64);
    }

    #[test]
    fn the_local_hour_counts_from_monday_midnight() {
        // 2024-01-01 was a Monday.
        let utc = Zone::utc();
        let monday = utc.local_hour(at("2024-01-01T00:30:00Z"));
        assert_eq!(monday.hour_of_week().index(), 0);
        let sunday = utc.local_hour(at("2024-01-07T23:59:59Z"));
        assert_eq!(sunday.hour_of_week().index(), 167);
        assert_eq!(HourOfWeek::new(167).unwrap().local_hour(), sunday);
        assert_eq!(HourOfWeek::new(168), None);
    }

    #[test]
    fn kathmandu_is_three_quarters_of_an_hour_off() {
        let zone = Zone::parse("Asia/Kathmandu").unwrap();
        let time = zone.local_time(at("2024-01-01T18:20:00Z"));
        assert_eq!((time.hour.hour, time.minute, time.hour.weekday), (0, 5, 1));
    }

    #[test]
    fn the_clock_agrees_with_the_zone_across_every_kind_of_transition() {
        for (name, start_at) in [
            ("Europe/Berlin", "2024-03-30T00:00:00Z"),
            ("Europe/Berlin", "2024-10-26T00:00:00Z"),
            ("America/New_York", "2024-03-09T00:00:00Z"),
            ("America/New_York", "2024-11-02T00:00:00Z"),
            ("Australia/Lord_Howe", "2024-04-06T00:00:00Z"),
            ("Australia/Lord_Howe", "2024-10-05T00:00:00Z"),
            ("Pacific/Apia", "2011-12-29T00:00:00Z"),
            ("Asia/Kathmandu", "2024-01-01T00:00:00Z"),
        ] {
            let zone = Zone::parse(name).unwrap();
            let start_at = at(start_at);
            let clock = LocalClock::over(&zone, start_at, start_at + 72.hours());
            for minutes in (0..72 * 60).step_by(5) {
                let instant = start_at + i64::from(minutes).minutes();
                let expected = zone.rules.to_datetime(instant);
                let minute = i32::from(expected.hour()) * 60 + i32::from(expected.minute());
                assert_eq!(i32::from(clock.minute_of_day(instant)), minute);
                assert_eq!(clock.day(instant).date(), Some(expected.date()));
                assert_eq!(clock.local_hour(instant), zone.local_hour(instant));
                let week = clock.local_hour(instant).hour_of_week().index();
                assert_eq!(usize::from(clock.minute_of_week(instant)) / 60, week);
            }
        }
    }

    #[test]
    fn a_skipped_day_has_no_instants() {
        let zone = Zone::parse("Pacific/Apia").unwrap();
        let start_at = at("2011-12-29T12:00:00Z");
        let clock = LocalClock::over(&zone, start_at, start_at + 48.hours());
        let skipped = DayNumber::of(Date::constant(2011, 12, 30));
        let met = (0..48 * 12).any(|n| clock.day(start_at + (n * 5i64).minutes()) == skipped);
        assert!(!met);
    }

    #[test]
    fn day_numbers_and_dates_are_inverses() {
        for text in ["1969-12-31", "1970-01-01", "2024-02-29", "2100-03-01"] {
            let date: Date = text.parse().unwrap();
            assert_eq!(DayNumber::of(date).date(), Some(date));
        }
    }
}
