//! Tests of chronotypes on made-up people whose kinds are known.
use super::fit::{Habits, fit};
use super::*;
use crate::domain::send_time::Parameters;

/// People with this many opens each and even exposure, at hours drawn by `hour_of(person, open)`.
fn people(count: u64, opens: u64, hour_of: impl Fn(u64, u64) -> usize) -> Vec<Habits> {
    let person = |person: u64| {
        let mut opened = [0.0; 24];
        (0..opens).for_each(|open| opened[hour_of(person, open)] += 1.0);
        Habits {
            opened,
            active: [0.0; 24],
            exposed: [opens as f64 / 0.25 / 24.0; 24],
            segments: vec![
                if person.is_multiple_of(2) {
                    "early"
                } else {
                    "late"
                }
                .to_owned(),
            ],
        }
    };
    (0..count).map(person).collect()
}

fn hash(person: u64, open: u64) -> usize {
    let bytes = [person.to_le_bytes(), open.to_le_bytes()].concat();
    usize::from(blake3::hash(&bytes).as_bytes()[0])
}

/// Half of the people open around seven, the others around twenty.
fn two_kinds() -> Vec<Habits> {
    people(300, 10, |person, open| {
        let noise = hash(person, open);
        let peak = if person.is_multiple_of(2) { 6 } else { 19 };
        if noise.is_multiple_of(4) {
            noise % 24
        } else {
            peak + noise % 3
        }
    })
}

fn flat() -> EveryoneCurve {
    EveryoneCurve {
        by_hour: [1.0; 24],
        ..EveryoneCurve::default()
    }
}

fn ready() -> (Chronotypes, Kinds) {
    let everyone = flat();
    let fitted = fit(&two_kinds(), &everyone, &Parameters::default(), 7);
    let kinds = fitted.on(&everyone);
    (fitted, kinds)
}

fn best(curve: &[f64; 24]) -> usize {
    (0..24)
        .max_by(|a, b| curve[*a].total_cmp(&curve[*b]))
        .unwrap()
}

#[test]
fn two_kinds_of_people_are_found_and_one_open_tells_which() {
    let (fitted, kinds) = ready();
    assert_eq!((fitted.fitted_at_ms, fitted.people), (7, 300));
    assert!(!fitted.kinds.is_empty());
    let total: f64 = fitted.kinds.iter().map(|kind| kind.weight).sum();
    assert!((total - 1.0).abs() < 1e-9);
    for (hour, around) in [(7, 6..=8), (20, 19..=21)] {
        let mut opened = [0.0; 24];
        opened[hour] = 2.0;
        let evidence = Evidence {
            opened: &opened,
            active: &[0.0; 24],
            exposed: &[0.3; 24],
        };
        let mixture = kinds.personal(&flat(), evidence, None);
        assert!(around.contains(&best(&mixture)), "{hour} {mixture:?}");
    }
}

#[test]
fn silence_in_an_hour_speaks_against_it() {
    let (_, kinds) = ready();
    let mut exposed = [0.0; 24];
    exposed[6..9].fill(6.0);
    let evidence = Evidence {
        opened: &[0.0; 24],
        active: &[0.0; 24],
        exposed: &exposed,
    };
    let mixture = kinds.personal(&flat(), evidence, None);
    assert!(mixture[20] > 1.2 * mixture[7], "{mixture:?}");
}

#[test]
fn who_is_not_known_gets_everybodys_curve_to_the_last_bit_that_counts() {
    let (fitted, kinds) = ready();
    let everyone = EveryoneCurve::default();
    let weights: Vec<f64> = fitted.kinds.iter().map(|kind| kind.weight).collect();
    let mixture = kinds.mixture(&everyone.by_hour, &weights);
    for (mixed, rate) in mixture.iter().zip(&everyone.by_hour) {
        assert!((mixed - rate).abs() < 1e-12);
    }
}

#[test]
fn segments_have_the_hours_of_their_people() {
    let (fitted, kinds) = ready();
    let of = |segment| kinds.mixture(&flat().by_hour, fitted.segment(segment).unwrap());
    assert!((6..=8).contains(&best(&of("early"))));
    assert!((19..=21).contains(&best(&of("late"))));
    assert!(fitted.segment("unheard-of").is_none());
    let asked = Segments {
        asked: Some("unheard-of"),
        known: &["late".to_owned()],
    };
    assert_eq!(fitted.first(asked), fitted.segment("late"));
}

#[test]
fn people_alike_have_no_chronotypes_and_their_record_counts_for_little() {
    let alike = people(300, 10, |person, open| hash(person, open) % 24);
    let fitted = fit(&alike, &flat(), &Parameters::default(), 7);
    assert!(fitted.kinds.is_empty(), "{fitted:?}");
    assert!(fitted.kappa.unwrap() >= 64.0, "{:?}", fitted.kappa);
}

#[test]
fn a_handful_of_people_is_too_few() {
    let few = people(20, 10, |_, _| 7);
    let fitted = fit(&few, &flat(), &Parameters::default(), 7);
    assert_eq!((fitted.kinds.len(), fitted.kappa), (0, None));
}
