//! Tests of the recipient's activity profile: exact inverses, order, decay, size.

use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::*;
use crate::domain::civil::LocalTime;
use crate::domain::freshness::FreshnessCurve;

fn day(day: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
}

fn hour(hour: u8, weekday: u8) -> LocalHour {
    LocalHour { hour, weekday }
}

fn exposure(at: LocalHour) -> ExposureVector {
    let curve = FreshnessCurve::default();
    let sent = LocalTime {
        hour: at,
        minute: 17,
    };
    ExposureVector {
        by_hour: curve.exposure_by_hour(sent, 168.0),
        by_weekday: curve.exposure_by_weekday(sent, 168.0),
    }
}

proptest! {
    #[test]
    fn what_is_taken_back_within_a_half_life_leaves_no_trace(
        base in prop::collection::vec((0i64..700, 0u8..24, 0u8..7, 0.0f64..3.0), 0..12),
        event in 600i64..700, back_later in 0i64..90, at_hour in 0u8..24, weight in 0.0f64..4.0,
    ) {
        let mut profile = ActivityProfile::default();
        for &(d, h, w, weight) in &base {
            profile.record_open(day(d), hour(h, w), weight);
            profile.record_exposure(day(d), &exposure(hour(h, w)), weight);
        }
        let mut touched = profile.clone();
        touched.record_open(day(event), hour(at_hour, 3), weight);
        touched.record_exposure(day(event), &exposure(hour(at_hour, 3)), weight);
        // Time passes: another event moves the landmark, then the first one is taken back.
        touched.record_activity(day(event + back_later), hour(1, 1), 1.0);
        profile.record_activity(day(event), hour(1, 1), 0.0);
        profile.record_activity(day(event + back_later), hour(1, 1), 1.0);
        touched.take_back_open(day(event), hour(at_hour, 3), weight);
        touched.take_back_exposure(day(event), &exposure(hour(at_hour, 3)), weight);
        prop_assert_eq!(touched, profile);
    }

    #[test]
    fn the_order_of_events_within_two_landmarks_does_not_matter(
        mut events in prop::collection::vec((0i64..170, 0u8..24, 0u8..7, 0.0f64..3.0), 1..20),
    ) {
        // Day 35 is a landmark: days 35 to 205 meet two of them.
        let fill = |events: &[(i64, u8, u8, f64)]| {
            let mut profile = ActivityProfile::default();
            for &(d, h, w, weight) in events {
                profile.record_open(day(36 + d), hour(h, w), weight);
            }
            profile
        };
        let forward = fill(&events);
        events.reverse();
        prop_assert_eq!(forward, fill(&events));
    }

    #[test]
    fn no_input_panics(at in any::<i32>(), h in any::<u8>(), w in any::<u8>(), weight in any::<f64>(), by in any::<i32>()) {
        let at = Timestamp::from_second(i64::from(at) * 50).unwrap_or(Timestamp::MIN);
        let mut profile = ActivityProfile::default();
        profile.record_open(at, hour(h, w), weight);
        profile.take_back_activity(at, hour(h, w), weight);
        profile.rotate(by);
        prop_assert!(profile.read(at).observed.total().is_finite());
    }
}

#[test]
fn an_open_counts_half_after_ninety_days_and_nothing_after_many_years() {
    let mut profile = ActivityProfile::default();
    profile.record_open(day(3), hour(9, 0), 1.0);
    assert!((profile.effective_observations(day(3)) - 1.0).abs() < 1e-3);
    assert!((profile.effective_observations(day(93)) - 0.5).abs() < 1e-3);
    profile.record_open(day(20_000), hour(9, 0), 0.0);
    assert!(profile.is_empty());
}

#[test]
fn exposure_and_opens_decay_alike_so_their_ratio_stays() {
    let mut profile = ActivityProfile::default();
    profile.record_open(day(0), hour(9, 0), 1.0);
    profile.record_exposure(day(0), &exposure(hour(9, 0)), 1.0);
    let ratio = |at| profile.effective_observations(at) / profile.measurable_mails(at);
    assert!((ratio(day(0)) - ratio(day(500))).abs() < 1e-9);
}

#[test]
fn rotating_moves_local_hours_and_back() {
    let mut profile = ActivityProfile::default();
    profile.record_open(day(0), hour(23, 0), 1.0);
    let before = profile.clone();
    profile.rotate(2);
    assert!(profile.read(day(0)).observed.by_hour[1] > 0.9);
    profile.rotate(-2);
    assert_eq!(profile, before);
}

#[test]
fn an_empty_profile_takes_under_a_hundred_bytes_and_a_busy_one_under_three_hundred() {
    let empty = postcard::to_allocvec(&ActivityProfile::default()).unwrap();
    assert!(empty.len() <= 96, "{}", empty.len());
    let mut profile = ActivityProfile::default();
    for n in 0..60i64 {
        let at = day(n * 3);
        let local = hour((n % 5 + 9) as u8, (n % 7) as u8);
        profile.record_exposure(at, &exposure(local), 1.0);
        profile.record_open(at + 2.hours(), hour(local.hour + 2, local.weekday), 1.0);
    }
    let bytes = postcard::to_allocvec(&profile).unwrap();
    assert!(bytes.len() < 300, "{}", bytes.len());
    let back: ActivityProfile = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(back, profile);
}
