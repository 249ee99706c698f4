//! Tests of `variants`.
use jiff::Timestamp;

use super::*;
use crate::domain::experiment::tests::campaign;
use crate::domain::name::Slug;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn newcomer(id: &str, second: i64) -> Variant {
    Variant {
        id: Slug::parse(id).unwrap(),
        display_name: String::new(),
        state: VariantState::Live,
        created_at: at(second),
        quarantine_reason: String::new(),
    }
}

/// Started, with two variants of the start and one that came an hour later.
fn joined() -> Experiment {
    let mut experiment = campaign(2);
    experiment.variants.clear();
    experiment.started_at = None;
    for id in ["a", "b"] {
        experiment.add_variant(newcomer(id, 0)).unwrap();
    }
    experiment.state = ExperimentState::Draft;
    experiment.start(at(0)).unwrap();
    experiment.add_variant(newcomer("late", 3_600)).unwrap();
    experiment
}

fn state(experiment: &Experiment, id: &str) -> VariantState {
    let index = experiment.variant_index(id).unwrap();
    experiment.variant(index).unwrap().state
}

#[test]
fn who_joins_a_started_experiment_is_eligible_on_probation() {
    let experiment = joined();
    assert_eq!(state(&experiment, "a"), VariantState::Live);
    assert_eq!(state(&experiment, "late"), VariantState::Probation);
    assert_eq!(experiment.live_variants().len(), 3);
    assert_eq!(experiment.variants_on_probation(), [VariantIndex(2)]);
}

#[test]
fn a_share_of_one_means_no_probation() {
    let mut experiment = joined();
    experiment.settings.probation.share_max = 1.0;
    experiment.add_variant(newcomer("later", 7_200)).unwrap();
    assert_eq!(state(&experiment, "later"), VariantState::Live);
}

#[test]
fn put_back_a_newcomer_is_on_probation_again_and_the_others_are_live() {
    let mut experiment = joined();
    for (id, back) in [("a", VariantState::Live), ("late", VariantState::Probation)] {
        for gone in [VariantState::Paused, VariantState::Quarantined] {
            experiment.move_variant(id, gone, "harm").unwrap();
            assert_eq!(state(&experiment, id), gone);
            experiment.move_variant(id, VariantState::Live, "").unwrap();
            assert_eq!(state(&experiment, id), back, "{id} after {gone:?}");
        }
    }
    assert!(experiment.end_probation(VariantIndex(2)));
    experiment
        .move_variant("late", VariantState::Live, "")
        .unwrap();
    assert_eq!(
        state(&experiment, "late"),
        VariantState::Live,
        "resuming a live one changes nothing"
    );
    assert!(!experiment.end_probation(VariantIndex(2)));
}

#[test]
fn only_a_variant_that_may_be_chosen_is_quarantined() {
    let mut experiment = joined();
    experiment
        .move_variant("b", VariantState::Paused, "")
        .unwrap();
    assert!(!experiment.quarantine(VariantIndex(1), "harm"));
    assert!(experiment.quarantine(VariantIndex(2), "harm"));
    assert!(!experiment.quarantine(VariantIndex(2), "more harm"));
    let stopped = experiment.variant(VariantIndex(2)).unwrap();
    assert_eq!(stopped.quarantine_reason, "harm");
    assert_eq!(experiment.live_variants(), [VariantIndex(0)]);
    assert!(!experiment.quarantine(VariantIndex(9), "nobody"));
}
