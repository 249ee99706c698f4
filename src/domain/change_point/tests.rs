//! Tests of `change_point`.
use super::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};

fn day(number: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + number * 86_400_000).unwrap()
}

/// Plays days of 1,000 mails per variant and collects what is reported.
fn reported(days: i64, seed: u64, rate: impl Fn(i64, usize) -> f64) -> Vec<ChangePoint> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut history = History::default();
    let mut changes = Vec::new();
    for number in 0..days {
        let came: Vec<Arrived> = (0..3)
            .map(|variant| Arrived {
                trials: 1_000.0,
                successes: Binomial::new(1_000, rate(number, variant))
                    .unwrap()
                    .sample(&mut random) as f64,
            })
            .collect();
        history.add(&came, day(number + 1));
        changes.extend(history.changed(day(number + 1)));
    }
    changes
}

#[test]
fn steady_rates_raise_no_alarm() {
    let alarms: usize = (0..10)
        .map(|seed| reported(100, seed, |_, _| 0.2).len())
        .sum();
    assert_eq!(alarms, 0, "in 3,000 days of a variant");
}

#[test]
fn a_variant_that_falls_is_named_once_with_its_day_and_rates() {
    let fallen = |number: i64, variant: usize| match variant {
        1 if number >= 20 => 0.15,
        _ => 0.2,
    };
    let changes = reported(60, 1, fallen);
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(change.variant, Some(VariantIndex(1)));
    let off_days = (change.changed_at_ms - day(20).as_millisecond()) / 86_400_000;
    assert!(off_days.abs() <= 2, "{off_days}");
    assert!(change.noticed_at_ms > day(20).as_millisecond());
    assert!((change.rate_before - 0.2).abs() < 0.01, "{change:?}");
    assert!(change.rate_after < 0.17, "{change:?}");
}

#[test]
fn a_change_of_all_alike_is_a_change_of_the_level() {
    let risen = |number: i64, variant: usize| {
        let rate = 0.15 + 0.02 * variant as f64;
        if number >= 20 { rate * 1.3 } else { rate }
    };
    let changes = reported(60, 2, risen);
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(change.variant, None);
    let factor = change.rate_after / change.rate_before;
    assert!((1.2..1.4).contains(&factor), "{factor}");
}

#[test]
fn weekends_are_scatter_and_no_changes() {
    let weekly = |number: i64, _: usize| if number % 7 >= 5 { 0.16 } else { 0.2 };
    let alarms: usize = (0..5).map(|seed| reported(120, seed, weekly).len()).sum();
    assert!(alarms <= 1, "{alarms} in 1,800 days of a variant");
}

#[test]
fn the_history_stays_bounded_and_keeps_its_sums() {
    let mut history = History::default();
    let came = vec![
        Arrived {
            trials: 3.0,
            successes: 1.0
        };
        VARIANTS
    ];
    for number in 0..200 {
        history.add(&came, day(number));
    }
    assert!(history.until_ms.len() * VARIANTS <= NUMBERS_MAX.max(STRETCHES.0 * VARIANTS));
    let first: f32 = history.counts[0].iter().map(|count| count.trials).sum();
    assert_eq!(first, 600.0);
}

const VARIANTS: usize = 1_000;

#[test]
fn nothing_to_go_by_reports_nothing() {
    let mut history = History::default();
    assert_eq!(history.changed(day(0)), None);
    for number in 0..10 {
        history.add(&[Arrived::default(); 2], day(number));
        assert_eq!(history.changed(day(number)), None);
    }
}
