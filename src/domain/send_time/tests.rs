//! Tests of the send-time answer: everybody's hour for newcomers, exposure, windows, clock changes, shrinkage.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::*;
use crate::domain::civil::LocalTime;
use crate::domain::freshness::{ExposureVector, Waiting};
use crate::domain::send_window::QuietHours;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A week from Monday 2024-01-01 on, universal time.
fn week() -> SendWindow {
    SendWindow {
        earliest_at: at("2024-01-01T00:00:00Z"),
        deadline_at: at("2024-01-08T00:00:00Z"),
        quiet: Vec::new(),
        blocked_days: Vec::new(),
        full_hours: Vec::new(),
    }
}

fn request<'a>(window: &'a SendWindow, zone: &'a Zone, goal: Goal) -> PredictRequest<'a> {
    PredictRequest {
        window,
        zone,
        goal,
        jitter: 0,
        campaign_level: 1.0,
        want_candidates: false,
        segments: Segments::default(),
        exploration: Exploration::default(),
    }
}

fn predict(model: &SendTimeModel, profile: Option<&ActivityProfile>, goal: Goal) -> Prediction {
    model
        .predict(profile, request(&week(), &Zone::utc(), goal))
        .unwrap()
}

fn kernel(parameters: &Parameters) -> CircularKernel {
    CircularKernel::new(parameters.smoothing_sd_hours)
}

fn everyone(curve: &EveryoneCurve, parameters: &Parameters) -> Rates {
    Rates::everyone(curve, &kernel(parameters), parameters)
}

fn hour(hour: u8, weekday: u8) -> LocalHour {
    LocalHour { hour, weekday }
}

fn exposure(model: &SendTimeModel, sent: LocalHour, from: f64, until: f64) -> ExposureVector {
    let sent = LocalTime {
        hour: sent,
        minute: 0,
    };
    model.freshness.exposure(Waiting {
        sent,
        from_age_hours: from,
        until_age_hours: until,
    })
}

fn active_at(hours: &[u8], each: usize) -> ActivityProfile {
    let mut profile = ActivityProfile::default();
    for n in 0..each {
        for &h in hours {
            profile.record_activity(at("2023-12-31T00:00:00Z"), hour(h, (n % 7) as u8), 1.0);
        }
    }
    profile
}

#[test]
fn a_new_recipient_gets_exactly_everybodys_answer() {
    let model = SendTimeModel::default();
    for goal in [Goal::OpenProbability, Goal::Activity] {
        let nobody = predict(&model, None, goal);
        let mut few = active_at(&[3], 3);
        few.record_exposure(
            at("2023-12-31T00:00:00Z"),
            &exposure(&model, hour(3, 6), 0.0, 168.0),
            1.0,
        );
        let known_a_little = predict(&model, Some(&few), goal);
        assert_eq!(known_a_little.send_at, nobody.send_at);
        assert_eq!(known_a_little.value, nobody.value);
        assert_eq!(known_a_little.level, Level::Default);
        assert!((known_a_little.effective_observations - 3.0).abs() < 0.1);
        assert!(nobody.relative_activity.low < 1.0 && nobody.relative_activity.high > 1.0);
    }
}

#[test]
fn a_clear_habit_wins_and_says_whose_it_is() {
    let model = SendTimeModel::default();
    let owl = active_at(&[21, 22, 22, 23], 10);
    let answer = predict(&model, Some(&owl), Goal::Activity);
    assert_eq!((answer.local.hour, answer.level), (22, Level::Recipient));
    assert_eq!(answer.send_at.as_second() % 3_600, 1_800);
    assert!(answer.relative_activity.low > 1.0);
    let opens = predict(&model, Some(&owl), Goal::OpenProbability);
    assert!((20..=22).contains(&opens.local.hour), "{opens:?}");
}

#[test]
fn a_log_with_all_sends_at_ten_does_not_favour_ten() {
    let model = SendTimeModel::default();
    let mut profile = ActivityProfile::default();
    let sent_at = at("2023-12-31T00:00:00Z");
    // A recipient like everybody else: 100 mails at ten and the opens they should bring, fraction by fraction.
    for n in 0..100u8 {
        let vector = exposure(&model, hour(10, n % 7), 0.0, 168.0);
        profile.record_exposure(sent_at, &vector, 1.0);
        for (u, share) in vector.by_hour.iter().enumerate() {
            let opens = model.everyone.level * share * model.everyone.by_hour[u];
            profile.record_open(sent_at, hour(u as u8, n % 7), opens);
        }
    }
    let personal = predict(&model, Some(&profile), Goal::OpenProbability);
    let everybody = predict(&model, None, Goal::OpenProbability);
    assert_eq!(personal.level, Level::Recipient);
    assert_eq!(personal.local.hour, everybody.local.hour);
    assert!((personal.relative_activity.mean - 1.0).abs() < 0.05);
    let reading = profile.read(sent_at);
    let whole = Whole {
        curve: &model.everyone,
        kinds: &model.kinds,
        kernel: &kernel(&model.parameters),
        parameters: &model.parameters,
    };
    let rates = Rates::recipient(whole, &reading, None);
    assert!(
        rates.relative.iter().all(|r| (r - 1.0).abs() < 0.15),
        "{:?}",
        rates.relative
    );
}

#[test]
fn opens_in_the_evening_of_mails_sent_at_ten_move_the_send_to_the_evening() {
    let model = SendTimeModel::default();
    let mut profile = ActivityProfile::default();
    let sent_at = at("2023-12-31T00:00:00Z");
    for n in 0..40u8 {
        profile.record_exposure(sent_at, &exposure(&model, hour(10, n % 7), 0.0, 168.0), 1.0);
        if n % 2 == 0 {
            profile.record_open(sent_at, hour(20, n % 7), 1.0);
            profile.take_back_exposure(
                sent_at,
                &exposure(&model, hour(10, n % 7), 10.5, 168.0),
                1.0,
            );
        }
    }
    let answer = predict(&model, Some(&profile), Goal::OpenProbability);
    assert!((18..=20).contains(&answer.local.hour), "{answer:?}");
}

#[test]
fn the_value_is_the_integral_it_claims_to_be() {
    let model = SendTimeModel::default();
    let (window, zone) = (week(), Zone::utc());
    let clock = window.clock(&zone, TAIL_HOURS);
    let rates = everyone(&model.everyone, &model.parameters);
    let goal = Goal::OpenProbability;
    let valuation = Valuation {
        by_week: &rates.by_week,
        freshness: &model.freshness,
        goal,
        shared: None,
        is_everyone: true,
    };
    let curve = ValueCurve::over(&window, &clock, valuation);
    for start in [7i64, 26, 61, 100] {
        // A plain Riemann sum of minutes over hourly rates read between the middles of the hours.
        let mut sum = 0.0;
        for minute in 0..110 * 60 {
            let age = (f64::from(minute) + 0.5) / 60.0;
            let place = start as f64 + age - 0.5;
            let (low, part) = (place.floor() as usize, place.fract());
            let (from, to) = (rates.by_week[low % 168], rates.by_week[(low + 1) % 168]);
            sum += (from + (to - from) * part) * model.freshness.phi(age) / 60.0;
        }
        let value = curve.at(window.earliest_at + start.hours());
        let tail = model.freshness.remaining(110.0);
        assert!(
            (value - sum - tail).abs() < 0.05 * tail + 0.002,
            "{start}: {value} {}",
            sum + tail
        );
    }
}

#[test]
fn quiet_hours_blocked_days_and_past_hours_are_respected() {
    let model = SendTimeModel::default();
    let mut window = week();
    window.quiet = vec![QuietHours {
        start_minute: 8 * 60,
        end_minute: 23 * 60,
    }];
    window.blocked_days = (1..=6).map(|day| Date::constant(2024, 1, day)).collect();
    let answer = model
        .predict(None, request(&window, &Zone::utc(), Goal::OpenProbability))
        .unwrap();
    assert_eq!(answer.send_at, at("2024-01-07T07:55:00Z"));
    // Two hours of the night are left: the best of them, not none.
    window = week();
    window.deadline_at = window.earliest_at + 2.hours();
    let answer = model
        .predict(None, request(&window, &Zone::utc(), Goal::OpenProbability))
        .unwrap();
    assert!(answer.send_at <= window.deadline_at);
    window.deadline_at = window.earliest_at;
    let answer = model
        .predict(None, request(&window, &Zone::utc(), Goal::Activity))
        .unwrap();
    assert_eq!(answer.send_at, window.earliest_at);
}

#[test]
fn a_window_without_an_allowed_time_says_so() {
    let model = SendTimeModel::default();
    let mut window = week();
    window.blocked_days = (1..=8).map(|day| Date::constant(2024, 1, day)).collect();
    let answer = model.predict(None, request(&window, &Zone::utc(), Goal::OpenProbability));
    assert_eq!(answer.unwrap_err().deadline_at, window.deadline_at);
    window = week();
    window.deadline_at = window.earliest_at - 1.hours();
    assert!(
        model
            .predict(None, request(&window, &Zone::utc(), Goal::Activity))
            .is_err()
    );
}

#[test]
fn the_candidates_are_the_local_hours_of_the_window() {
    let model = SendTimeModel::default();
    let window = SendWindow {
        quiet: vec![QuietHours {
            start_minute: 0,
            end_minute: 420,
        }],
        ..week()
    };
    for zone in ["UTC", "Asia/Kathmandu", "Europe/Berlin"] {
        let zone = Zone::parse(zone).unwrap();
        let mut asked = request(&window, &zone, Goal::OpenProbability);
        asked.want_candidates = true;
        let answer = model.predict(None, asked).unwrap();
        assert_eq!(answer.candidates.len(), 169);
        for hour in &answer.candidates {
            assert_eq!(hour.local, zone.local_hour(hour.start_at));
            assert_eq!(zone.local_time(hour.start_at).minute, 0);
            assert!(!hour.allowed || hour.value <= answer.value + 1e-12);
            assert!(hour.local.hour >= 7 || !hour.allowed);
        }
    }
}

#[test]
fn the_best_hour_keeps_its_local_time_when_the_clocks_change() {
    let model = SendTimeModel::default();
    for (zone, day) in [
        ("Europe/Berlin", "2024-03-31"),
        ("Europe/Berlin", "2024-10-27"),
        ("America/New_York", "2024-03-10"),
        ("America/New_York", "2024-11-03"),
        ("Australia/Lord_Howe", "2024-04-07"),
        ("Australia/Lord_Howe", "2024-10-06"),
        ("Asia/Kathmandu", "2024-03-31"),
    ] {
        let zone = Zone::parse(zone).unwrap();
        let date: Date = day.parse().unwrap();
        let noon = at(&format!("{day}T12:00:00Z"));
        let window = SendWindow {
            earliest_at: noon - 36.hours(),
            deadline_at: noon + 36.hours(),
            quiet: Vec::new(),
            blocked_days: vec![date.yesterday().unwrap(), date.tomorrow().unwrap()],
            full_hours: Vec::new(),
        };
        let mut model = model.clone();
        // Only the night after the change is active: five in the morning of that day.
        for row in &mut model.everyone.surface {
            *row = std::array::from_fn(|u| if u == 5 { 20.0 } else { 0.1 });
        }
        let answer = model
            .predict(None, request(&window, &zone, Goal::Activity))
            .unwrap();
        let local = zone.local_time(answer.send_at);
        assert_eq!(
            (local.hour.hour, local.hour.weekday),
            (5, 6),
            "{day} {zone}"
        );
    }
}

#[test]
fn a_favourite_weekday_does_not_pull_the_day_before_to_midnight() {
    let model = SendTimeModel::default();
    let mut profile = ActivityProfile::default();
    for n in 0..60u8 {
        let weekday = if n % 3 == 0 { 0 } else { 1 };
        profile.record_activity(at("2023-12-31T00:00:00Z"), hour(12 + n % 3, weekday), 1.0);
    }
    let mut monday = week();
    monday.deadline_at = monday.earliest_at + 1439.minutes();
    let zone = Zone::utc();
    let asked = request(&monday, &zone, Goal::Activity);
    let answer = model.predict(Some(&profile), asked).unwrap();
    assert_eq!(answer.local, hour(13, 0));
    assert_eq!(
        predict(&model, Some(&profile), Goal::Activity).local,
        hour(13, 1)
    );
}

#[test]
fn where_habits_do_not_differ_a_few_events_are_not_called_personal() {
    let mut model = SendTimeModel::default();
    let owl = active_at(&[22], 20);
    assert_eq!(
        predict(&model, Some(&owl), Goal::Activity).level,
        Level::Recipient
    );
    // What a model has in common for all its answers is kept once it has been asked, and not in a copy.
    model = model.clone();
    model.parameters.kappa = 1_000.0;
    assert_eq!(
        predict(&model, Some(&owl), Goal::Activity).level,
        Level::Default
    );
}

#[test]
fn a_hot_campaign_raises_the_value_and_not_the_hour() {
    let model = SendTimeModel::default();
    let (window, zone) = (week(), Zone::utc());
    let mut asked = request(&window, &zone, Goal::OpenProbability);
    let plain = model.predict(None, asked).unwrap();
    asked.campaign_level = 2.0;
    let hot = model.predict(None, asked).unwrap();
    assert_eq!(hot.send_at, plain.send_at);
    assert!((hot.value - (1.0 - (1.0 - plain.value).powi(2))).abs() < 1e-12);
}

#[test]
fn the_interval_is_that_of_a_gamma() {
    // Quantiles of Gamma(4, mean 1) by table: 0.4362, 1.6702.
    let mut rates = everyone(&EveryoneCurve::default(), &Parameters::default());
    rates.shapes[7] = 4.0;
    let interval = rates.interval(7);
    assert!((interval.low / 0.4362 - 1.0).abs() < 0.02, "{interval:?}");
    assert!((interval.high / 1.6702 - 1.0).abs() < 0.02, "{interval:?}");
}

proptest! {
    #[test]
    fn jitter_stays_within_ten_minutes_and_within_what_is_allowed(
        jitter in any::<u64>(), start in 0i64..100_000, length in 0i64..200_000, quiet in 0u16..1440, long in 1u16..1439,
    ) {
        let quiet = QuietHours { start_minute: quiet, end_minute: (quiet + long) % 1440 };
        let window = SendWindow {
            earliest_at: week().earliest_at + start.seconds(),
            deadline_at: week().earliest_at + (start + length).seconds(),
            quiet: vec![quiet],
            blocked_days: Vec::new(),
            full_hours: Vec::new(),
        };
        let zone = Zone::parse("America/New_York").unwrap();
        let model = SendTimeModel::default();
        let mut asked = request(&window, &zone, Goal::OpenProbability);
        let plain = model.predict(None, asked);
        asked.jitter = jitter;
        let moved = model.predict(None, asked);
        let clock = window.clock(&zone, 0);
        prop_assert_eq!(plain.is_ok(), window.candidates(&clock).next().is_some());
        if let (Ok(plain), Ok(moved)) = (plain, moved) {
            let apart = moved.send_at.as_second() - plain.send_at.as_second();
            prop_assert!(apart.abs() <= 600);
            prop_assert!(window.allows(moved.send_at, &clock));
        }
    }
}
