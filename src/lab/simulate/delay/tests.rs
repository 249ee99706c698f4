//! Tests in small campaigns whose truth is known.
use super::*;

fn small() -> (Options, Vec<Case>) {
    let options = Options {
        seeds: 6,
        coverage_rounds: 300,
        ..Options::default()
    };
    let mut cases = cases();
    cases.retain(|case| case.name.starts_with("S1") || case.name.starts_with("S4"));
    for case in &mut cases {
        case.mails /= 5;
    }
    (options, cases)
}

fn lost(report: &Report, case: &str, rule: Rule) -> f64 {
    let row = report
        .rows
        .iter()
        .find(|row| row.case.starts_with(case) && row.rule == rule);
    row.map(|row| row.lost_opens.mean).unwrap()
}

#[test]
fn knowing_at_once_is_best_and_learning_the_curve_is_far_better_than_taking_silence_for_refusal() {
    let (options, cases) = small();
    let report = run_cases(&options, &cases, &()).unwrap();
    for case in ["S1", "S4"] {
        let of = |rule| lost(&report, case, rule);
        assert!(of(Rule::Learned) < 0.85 * of(Rule::Naive), "{case}");
        assert!(of(Rule::Learned) < of(Rule::Uniform), "{case}");
    }
    // Where mails leave over days waiting costs next to nothing, so only the blast can show it in a few seeds.
    assert!(2.0 * lost(&report, "S1", Rule::Instant) < lost(&report, "S1", Rule::Learned));
    let mid = report
        .coverage
        .iter()
        .find(|row| row.rate == 0.2 && row.oldest_hours == 4.0);
    let mid = mid.unwrap();
    assert!(
        mid.known_percent > 90.0 && mid.naive_percent < 5.0,
        "{mid:?}"
    );
}

#[test]
fn a_seed_fixes_every_number() {
    let (options, mut cases) = small();
    cases.truncate(1);
    for case in &mut cases {
        case.mails = 2_000;
    }
    let options = Options {
        seeds: 2,
        coverage_rounds: 20,
        ..options
    };
    let report = || run_cases(&options, &cases, &()).unwrap();
    assert_eq!(report(), report());
}

#[test]
fn a_world_that_cannot_be_is_refused() {
    for odd in [
        Options {
            delay_sigma: 0.0,
            ..Options::default()
        },
        Options {
            attribution_hours: 1e-3,
            ..Options::default()
        },
        Options {
            floor: f64::NAN,
            ..Options::default()
        },
        Options {
            seeds: 0,
            ..Options::default()
        },
    ] {
        assert!(
            matches!(run(&odd, &()), Err(LabError::Nothing(_))),
            "{odd:?}"
        );
    }
}
