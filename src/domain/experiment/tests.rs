//! Tests of `experiment`.
use super::*;
use crate::domain::policy::Policy;

/// A running campaign with variants `a`, `b`, … for tests.
pub(crate) fn campaign(variants: usize) -> Experiment {
    let at = Timestamp::UNIX_EPOCH;
    let variant = |i: usize| Variant {
        id: Slug::parse(&format!("v{i}")).unwrap(),
        display_name: String::new(),
        state: VariantState::Live,
        created_at: at,
        quarantine_reason: String::new(),
    };
    Experiment {
        id: Slug::parse("test").unwrap(),
        uid: ExperimentUid(7),
        revision: 1,
        display_name: String::new(),
        state: ExperimentState::Running,
        variants: (0..variants).map(variant).collect(),
        settings: Settings {
            policy: Policy::Thompson,
            objective: Objective::Click,
            kind: ExperimentKind::Campaign,
            attribution_window_ms: 72 * 3_600_000,
            trial_on: TrialOn::Decision,
            holdout_share: 0.0,
            floor: 0.02,
            segments: Vec::new(),
            daypart_start_hours: Vec::new(),
            send_defaults: SendDefaults::default(),
            half_life_hours: 504.0,
            planned_sends: 0,
            guardrails: Guardrails::default(),
            probation: Probation::default(),
            utility: Utility::default(),
            open_proxy: false,
            exploration_share: 0.0,
            capacity: None,
            shadow: false,
        },
        created_at: at,
        updated_at: at,
        started_at: Some(at),
        concluded_at: None,
        winner: None,
        request: 0,
    }
}

#[test]
fn dayparts_wrap_over_midnight() {
    let mut experiment = campaign(1);
    assert_eq!(experiment.context(None, 3).daypart, 0);
    experiment.settings.daypart_start_hours = vec![6, 12, 18];
    let dayparts: Vec<u8> = [3, 6, 11, 12, 18, 23]
        .map(|h| experiment.context(None, h).daypart)
        .to_vec();
    assert_eq!(dayparts, [3, 1, 1, 2, 3, 3]);
}

#[test]
fn segments_are_found_in_the_experiments_order() {
    let mut experiment = campaign(1);
    experiment.settings.segments = ["director", "it"].map(|s| Slug::parse(s).unwrap()).to_vec();
    let of_recipient = ["it".to_owned(), "director".to_owned()];
    assert_eq!(experiment.first_segment_of(&of_recipient), Some("director"));
    assert_eq!(experiment.context(Some("it"), 0).segment, 2);
    assert_eq!(experiment.context(Some("other"), 0).segment, 0);
}

#[test]
fn a_concluded_experiment_cannot_be_started_and_a_retired_variant_not_resumed() {
    let mut experiment = campaign(2);
    experiment
        .move_variant("v0", VariantState::Retired, "")
        .unwrap();
    assert!(
        experiment
            .move_variant("v0", VariantState::Live, "")
            .is_err()
    );
    assert_eq!(experiment.live_variants(), [VariantIndex(1)]);
    experiment
        .conclude(Some("v1"), Timestamp::UNIX_EPOCH)
        .unwrap();
    assert!(experiment.start(Timestamp::UNIX_EPOCH).is_err());
    assert!(matches!(
        experiment.conclude(None, Timestamp::UNIX_EPOCH),
        Err(LifecycleError::WrongState { .. })
    ));
}
