//! Tests in a small blast whose truth is known.
use super::*;

fn small() -> Options {
    Options {
        recipients: 10_000,
        rates: vec![0.20, 0.22, 0.26],
        seeds: 8,
        ..Options::default()
    }
}

fn lost(report: &Report, rule: Rule) -> f64 {
    let row = report.rows.iter().find(|row| row.rule == rule);
    row.map(|row| row.lost_opens.mean).unwrap()
}

#[test]
fn who_takes_silence_for_refusal_loses_materially_more_opens() {
    let report = run(&small(), &()).unwrap();
    let (hermod, naive) = (lost(&report, Rule::Hermod), lost(&report, Rule::Naive));
    assert!(naive > 1.3 * hermod, "{naive} against {hermod}");
    assert!(hermod < 0.8 * lost(&report, Rule::Uniform), "{report:?}");
}

#[test]
fn the_use_cases_and_the_snapshots_lose_alike() {
    let report = run(&small(), &()).unwrap();
    let (one, other) = (lost(&report, Rule::Hermod), lost(&report, Rule::Corrected));
    assert!(
        (one - other).abs() < 0.3 * one.max(other),
        "{one} against {other}"
    );
}

#[test]
fn a_seed_fixes_every_number() {
    let options = Options {
        recipients: 500,
        seeds: 3,
        ..small()
    };
    assert_eq!(run(&options, &()).unwrap(), run(&options, &()).unwrap());
}

#[test]
fn a_world_that_cannot_be_is_refused() {
    for odd in [
        Options {
            rates: vec![0.2],
            ..small()
        },
        Options {
            rates: vec![0.2, 1.2],
            ..small()
        },
        Options {
            window_hours: 0.0,
            ..small()
        },
        Options {
            refresh_minutes: f64::NAN,
            ..small()
        },
        Options {
            attribution_hours: 1e-3,
            ..small()
        },
        Options {
            recipients: 0,
            ..small()
        },
    ] {
        assert!(
            matches!(run(&odd, &()), Err(LabError::Nothing(_))),
            "{odd:?}"
        );
    }
}
