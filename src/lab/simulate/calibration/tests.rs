//! Tests of `calibration`.
use super::*;

#[test]
fn claims_are_held_against_the_truth_and_the_same_seed_says_the_same() {
    let options = Options {
        campaigns: 60,
        sends: 2_000,
        batches: 4,
        ..Options::default()
    };
    let report = run(&options, &()).unwrap();
    for row in &report.rows {
        let claims: f64 = row.bins.iter().map(|bin| bin.claims).sum();
        assert_eq!(claims, 60.0 * 4.0 * 4.0);
        assert!(row.expected_over_realised.mean > 0.0, "{row:?}");
    }
    assert_eq!(report, run(&options, &()).unwrap());
}

#[test]
fn a_flat_prior_overstates_the_leaders_lift() {
    let options = Options {
        campaigns: 200,
        sends: 1_000,
        batches: 2,
        ..Options::default()
    };
    let report = run(&options, &()).unwrap();
    let slope = |at: usize| report.rows[at].lift_slope.mean;
    assert!(slope(2) < 0.8 * slope(0), "{} {}", slope(2), slope(0));
}

#[test]
fn options_that_make_no_population_are_refused() {
    let options = Options {
        batches: 0,
        ..Options::default()
    };
    assert!(run(&options, &()).is_err());
}
