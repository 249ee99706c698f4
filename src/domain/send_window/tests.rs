//! Tests of send windows: violations, quiet hours over midnight, gaps, folds and skipped days.

use jiff::{Timestamp, ToSpan};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(earliest_at: &str, hours: i64, quiet: &[(u16, u16)]) -> SendWindow {
    SendWindow {
        earliest_at: at(earliest_at),
        deadline_at: at(earliest_at) + hours.hours(),
        quiet: quiet
            .iter()
            .map(|&(start_minute, end_minute)| QuietHours {
                start_minute,
                end_minute,
            })
            .collect(),
        blocked_days: Vec::new(),
        full_hours: Vec::new(),
    }
}

fn allowed_in(zone: &str, window: &SendWindow) -> Vec<Timestamp> {
    let clock = window.clock(&Zone::parse(zone).unwrap(), 0);
    window.candidates(&clock).collect()
}

#[test]
fn all_violations_are_answered_at_once() {
    let mut bad = window("2024-01-01T00:00:00Z", -1, &[(5, 5), (1440, 3), (0, 1441)]);
    bad.blocked_days = vec![Date::constant(2024, 1, 1); 367];
    assert_eq!(bad.validate().unwrap_err().len(), 5);
    let long = window("2024-01-01T00:00:00Z", 721, &[(0, 720), (720, 1440)]);
    let found = long.validate().unwrap_err();
    assert_eq!(
        found,
        [
            WindowViolation::SpanTooLong { hours: 721 },
            WindowViolation::QuietAllDay
        ]
    );
    assert!(
        window("2024-01-01T00:00:00Z", 720, &[(1320, 420)])
            .validate()
            .is_ok()
    );
    assert!(window("2024-01-01T00:00:00Z", 0, &[]).validate().is_ok());
}

#[test]
fn a_day_is_all_quiet_exactly_if_every_minute_is() {
    let edges = [0, 1, 420, 719, 720, 721, 1_320, 1_439, 1_440];
    let periods = || edges.iter().flat_map(|&a| edges.map(|b| (a % 1_440, b)));
    for one in periods() {
        for other in periods() {
            let asked = window("2024-01-01T00:00:00Z", 1, &[one, other]);
            let every = (0..DAY_MINUTES).all(|minute| asked.is_quiet(minute));
            assert_eq!(asked.is_quiet_all_day(), every, "{one:?} {other:?}");
        }
    }
}

#[test]
fn candidates_are_the_earliest_instant_and_then_the_grid() {
    let found = allowed_in("UTC", &window("2024-01-01T00:01:30Z", 1, &[]));
    assert_eq!(found.len(), 13);
    assert_eq!(found[0], at("2024-01-01T00:01:30Z"));
    assert_eq!(found[1], at("2024-01-01T00:05:00Z"));
    assert_eq!(found[12], at("2024-01-01T01:00:00Z"));
}

#[test]
fn quiet_hours_wrap_midnight() {
    let found = allowed_in(
        "Asia/Kathmandu",
        &window("2024-01-01T18:15:00Z", 24, &[(1320, 420)]),
    );
    // Local midnight is 18:15 UTC: 07:00 to 22:00 local is 01:15 to 16:15 UTC.
    assert_eq!(found[0], at("2024-01-02T01:15:00Z"));
    assert_eq!(*found.last().unwrap(), at("2024-01-02T16:10:00Z"));
}

#[test]
fn a_quiet_period_shrinks_with_a_gap_and_grows_with_a_fold() {
    // Quiet 01:30 to 03:30 local: a day's candidates less the quiet minutes that exist on that day.
    let night = [(90, 210)];
    for (zone, start_at, day_minutes, quiet_minutes) in [
        ("Europe/Berlin", "2024-03-30T23:00:00Z", 23 * 60, 60),
        ("Europe/Berlin", "2024-10-26T22:00:00Z", 25 * 60, 180),
        ("America/New_York", "2024-03-10T05:00:00Z", 23 * 60, 60),
        ("America/New_York", "2024-11-03T04:00:00Z", 25 * 60, 150),
        (
            "Australia/Lord_Howe",
            "2024-10-05T13:30:00Z",
            23 * 60 + 30,
            90,
        ),
        (
            "Australia/Lord_Howe",
            "2024-04-06T13:00:00Z",
            24 * 60 + 30,
            150,
        ),
    ] {
        let mut day = window(start_at, 0, &night);
        day.deadline_at = day.earliest_at + i64::from(day_minutes - 5).minutes();
        let found = allowed_in(zone, &day).len();
        assert_eq!(
            found as i32,
            (day_minutes - quiet_minutes) / 5,
            "{zone} {start_at}"
        );
    }
}

#[test]
fn a_quiet_period_inside_a_gap_blocks_nothing() {
    let open = allowed_in("Europe/Berlin", &window("2024-03-31T00:00:00Z", 3, &[]));
    let quiet = allowed_in(
        "Europe/Berlin",
        &window("2024-03-31T00:00:00Z", 3, &[(120, 180)]),
    );
    assert_eq!(open, quiet);
}

#[test]
fn blocked_days_are_local_and_a_skipped_day_blocks_nothing() {
    let mut apia = window("2011-12-29T10:00:00Z", 48, &[]);
    let all = allowed_in("Pacific/Apia", &apia);
    apia.blocked_days = vec![Date::constant(2011, 12, 30)];
    assert_eq!(allowed_in("Pacific/Apia", &apia), all);
    // Local midnight of the 29th (UTC-10) is followed at once by the 31st (UTC+14).
    apia.blocked_days = vec![Date::constant(2011, 12, 29), Date::constant(2011, 12, 31)];
    let found = allowed_in("Pacific/Apia", &apia);
    assert_eq!(found[0], at("2011-12-31T10:00:00Z"));
    assert_eq!(found.len(), 1);
}
