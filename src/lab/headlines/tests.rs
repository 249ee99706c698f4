//! Tests on small made-up data in which the right answer is known.
use super::*;
use std::io::Write;

fn archive() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        file,
        "experiment_id,impressions,clicks,randomization_risk,kind"
    )
    .unwrap();
    for test in 0..6 {
        for (impressions, clicks) in [(900, 20), (1_000, 90), (1_100, 30)] {
            writeln!(file, "t{test},{impressions},{clicks},0,headline").unwrap();
        }
    }
    file
}

fn options(method: Method) -> Options {
    Options {
        seed: 1,
        seeds: 3,
        tests: Some(4),
        batches: 10,
        method,
        truth: Truth::Shrunken,
        with_risky: false,
    }
}

fn row(report: &Report, player: Player) -> &Row {
    report.rows.iter().find(|row| row.player == player).unwrap()
}

#[test]
fn where_the_best_is_obvious_hermod_loses_less_than_a_classical_test() {
    let file = archive();
    let report = run(file.path(), &options(Method::UseCases), &()).unwrap();
    assert_eq!((report.tests, report.tests_available), (4, 6));
    let lost = |player| row(&report, player).lost_percent.mean;
    for hermod in [Player::HermodPlanned, Player::HermodUnknown] {
        assert!(
            lost(hermod) < 0.5 * lost(Player::Uniform),
            "{:?}",
            report.rows
        );
    }
    let yardstick = row(&report, Player::ThompsonAtOnce);
    assert!((yardstick.ratio_over_tests.mean - 1.0).abs() < 1e-12);
}

#[test]
fn a_seed_fixes_every_number() {
    let file = archive();
    let run = |seed| {
        let options = Options {
            seed,
            ..options(Method::Snapshots)
        };
        run(file.path(), &options, &()).unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).rows, run(2).rows);
    let check = run(1).cross_check.unwrap();
    assert!(
        (check.use_cases_percent - check.snapshots_percent).abs() < 5.0,
        "{check:?}"
    );
}
