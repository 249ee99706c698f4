//! Tests of `snapshot`.
use super::*;
use crate::domain::cell::{Lane, Track};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::tests::campaign;
use crate::domain::exposure::Exposure;
use crate::domain::name::{ExperimentUid, Slug};
use crate::domain::policy::Policy;
use crate::domain::posterior::Prior;

fn beliefs() -> Beliefs {
    Beliefs::alike(Belief {
        prior: Prior {
            mean: 0.1,
            weight: 10.0,
        },
        curve: DelayCurve::instant(),
    })
}

fn cell(variant: u16, segment: u8, lane: Lane, trials: f64, successes: f64) -> (CellId, Cell) {
    let id = CellId {
        experiment: ExperimentUid(7),
        variant: VariantIndex(variant),
        context: Context {
            segment,
            daypart: 0,
        },
        lane,
        track: Track::CONFIGURED,
    };
    let click = Exposure {
        trials,
        successes,
        ..Exposure::default()
    };
    (
        id,
        Cell {
            click,
            ..Cell::default()
        },
    )
}

fn build(experiment: Experiment, cells: Vec<(CellId, Cell)>) -> Snapshot {
    Snapshot::build(
        Arc::new(experiment),
        &cells.into_iter().collect(),
        &beliefs(),
        1,
        Timestamp::UNIX_EPOCH,
    )
}

#[test]
fn without_data_all_variants_are_alike_and_the_level_says_default() {
    let snapshot = build(campaign(4), Vec::new());
    let table = snapshot.table(Context::default()).unwrap();
    assert_eq!(table.level, ChoiceLevel::Default);
    table
        .allocation
        .probabilities()
        .iter()
        .for_each(|p| assert!((p - 0.25).abs() < 1e-9));
}

#[test]
fn the_better_variant_gets_more_and_the_holdout_teaches_nothing() {
    let cells = vec![
        cell(0, 0, Lane::Policy, 1000.0, 100.0),
        cell(1, 0, Lane::Policy, 1000.0, 150.0),
        cell(0, 0, Lane::Holdout, 1000.0, 900.0),
    ];
    let snapshot = build(campaign(2), cells);
    let table = snapshot.everyone().unwrap();
    assert!(
        table.allocation.propensity(1) > 0.97 && table.allocation.propensity(0) >= 0.01 - 1e-12
    );
}

#[test]
fn a_segment_that_differs_gets_its_own_choice() {
    let mut experiment = campaign(2);
    experiment.settings.segments = ["director", "it"].map(|s| Slug::parse(s).unwrap()).to_vec();
    let cells = vec![
        cell(0, 1, Lane::Policy, 20_000.0, 3_000.0),
        cell(1, 1, Lane::Policy, 20_000.0, 1_000.0),
        cell(0, 2, Lane::Policy, 20_000.0, 1_000.0),
        cell(1, 2, Lane::Policy, 20_000.0, 3_000.0),
    ];
    let snapshot = build(experiment, cells);
    let share = |segment| {
        snapshot
            .table(Context {
                segment,
                daypart: 0,
            })
            .unwrap()
            .allocation
            .propensity(0)
    };
    assert!(
        share(1) > 0.95 && share(2) < 0.05,
        "{} {}",
        share(1),
        share(2)
    );
    assert_eq!(
        snapshot
            .table(Context {
                segment: 1,
                daypart: 0
            })
            .unwrap()
            .level,
        ChoiceLevel::Segment
    );
}

#[test]
fn a_subset_is_computed_afresh() {
    let cells = (0..3)
        .map(|v| cell(v, 0, Lane::Policy, 500.0, 50.0 + 5.0 * f64::from(v)))
        .collect();
    let snapshot = build(campaign(3), cells);
    let table = snapshot.everyone().unwrap();
    let subset = snapshot
        .restricted(table, &[VariantIndex(0), VariantIndex(2)])
        .unwrap();
    let renormalised =
        table.best().probability[0] / (table.best().probability[0] + table.best().probability[2]);
    assert_eq!(subset.candidates.len(), 2);
    assert!((subset.best().probability[0] - renormalised).abs() > 1e-3);
    assert!(snapshot.restricted(table, &[]).is_none());
}

#[test]
fn fixed_weights_follow_their_variants_when_others_leave() {
    use crate::domain::experiment::VariantState;
    let mut experiment = campaign(3);
    experiment.settings.policy = Policy::Fixed {
        weights: vec![1.0, 2.0, 3.0],
    };
    experiment.settings.floor = 0.0;
    experiment
        .move_variant("v0", VariantState::Paused, "")
        .unwrap();
    let snapshot = build(experiment, Vec::new());
    let probabilities = snapshot
        .everyone()
        .unwrap()
        .allocation
        .probabilities()
        .to_vec();
    assert!((probabilities[0] - 0.4).abs() < 1e-9 && (probabilities[1] - 0.6).abs() < 1e-9);
}
