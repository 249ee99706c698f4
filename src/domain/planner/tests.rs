//! Tests of whole plans.
use super::*;
use crate::domain::delay::DelayCurve;
use crate::domain::posterior::Prior;

pub(super) fn blast(variants: usize, audience: u64, window_hours: f64) -> Blast {
    Blast {
        known: vec![Exposure::default(); variants],
        belief: Belief {
            prior: Prior {
                mean: 0.2,
                weight: 10.0,
            },
            curve: DelayCurve::default_open(),
        },
        policy: Policy::HorizonThompson,
        floor: 0.02,
        planned_sends: audience as f64,
        effect_scale: EFFECT_SCALE,
        holdout_share: 0.0,
        audience,
        lead_hours: 0.0,
        window_hours,
        sends_per_hour: None,
    }
}

#[test]
fn with_time_and_many_mails_it_plans_waves_that_gain() {
    let blast = blast(4, 100_000, 24.0);
    let plan = plan(&blast, 1).unwrap();
    assert_eq!(plan.advice, Advice::Waves);
    let mails: u64 = plan.waves.iter().map(|wave| wave.mails).sum();
    assert_eq!((mails, plan.unsent), (100_000, 0));
    assert!(plan.waves.len() >= 2 && plan.waves[0].at_hours == 0.0);
    let ordered = plan
        .waves
        .is_sorted_by(|one, other| one.at_hours < other.at_hours);
    assert!(ordered && plan.waves.iter().all(|wave| wave.at_hours <= 24.0));
    // The first wave knows nothing, the last nearly everything.
    let (first, last) = (plan.waves[0], plan.waves[plan.waves.len() - 1]);
    assert!(
        first.leader_share < 0.3 && last.leader_share > 0.8,
        "{plan:?}"
    );
    assert!(last.best_share > first.best_share + 0.3);
    let gain = plan.gain_over_evenly;
    assert!(gain.expected > 0.03 * plan.evenly.expected, "{gain:?}");
    assert!((plan.evenly.expected / 20_000.0 - 1.0).abs() < 0.1);
    assert!(plan.successes.low < plan.successes.expected);
    assert!(plan.successes.expected < plan.successes.high);
    let over_test = plan.gain_over_test.unwrap();
    assert!(
        over_test.expected > -2.0 * over_test.standard_error,
        "{over_test:?}"
    );
    let sooner_gains = plan
        .sooner
        .iter()
        .all(|sooner| sooner.gain.expected < gain.expected * 1.02);
    assert!(sooner_gains, "{:?}", plan.sooner);
}

#[test]
fn the_same_question_gets_the_same_plan() {
    let blast = blast(3, 5_000, 6.0);
    assert_eq!(plan(&blast, 7).unwrap(), plan(&blast, 7).unwrap());
}

#[test]
fn where_nothing_can_be_gained_all_is_sent_now() {
    let sends_now = |blast: Blast| {
        let plan = plan(&blast, 3).unwrap();
        assert_eq!(plan.advice, Advice::SendAllNow, "{plan:?}");
        assert_eq!(plan.waves.len(), 1);
        assert_eq!(plan.waves[0].mails + plan.unsent, blast.audience);
    };
    sends_now(blast(4, 100_000, 0.0));
    sends_now(blast(1, 100_000, 24.0));
    sends_now(Blast {
        effect_scale: 0.0,
        ..blast(4, 20_000, 24.0)
    });
    sends_now(Blast {
        policy: Policy::Uniform,
        ..blast(4, 20_000, 24.0)
    });
}

#[test]
fn a_slow_sender_leaves_the_rest_unsent_and_says_so() {
    let slow = Blast {
        sends_per_hour: Some(1_000.0),
        ..blast(2, 30_000, 20.0)
    };
    let plan = plan(&slow, 1).unwrap();
    let mails: u64 = plan.waves.iter().map(|wave| wave.mails).sum();
    assert_eq!((mails, plan.unsent), (20_000, 10_000));
    let end = plan
        .waves
        .last()
        .map(|wave| wave.at_hours + wave.lasts_hours);
    assert!(end.unwrap() <= 20.0 + 1e-9);
}

#[test]
fn what_is_known_already_needs_no_test() {
    let mut blast = blast(2, 50_000, 24.0);
    let answered = |successes| Exposure {
        trials: 50_000.0,
        pending: [0.0; 5],
        successes,
    };
    blast.known = vec![answered(10_000.0), answered(13_000.0)];
    blast.planned_sends = 150_000.0;
    let plan = plan(&blast, 1).unwrap();
    assert!(plan.waves[0].leader_share > 0.9, "{plan:?}");
    assert!(
        (plan.successes.expected / 13_000.0 - 1.0).abs() < 0.02,
        "{plan:?}"
    );
}

#[test]
fn a_holdout_gains_nothing() {
    let all = blast(4, 100_000, 24.0);
    let half = Blast {
        holdout_share: 0.5,
        ..all.clone()
    };
    let (all, half) = (plan(&all, 1).unwrap(), plan(&half, 1).unwrap());
    let share = half.gain_over_evenly.expected / all.gain_over_evenly.expected;
    assert!((0.35..0.55).contains(&share), "{share}");
}

#[test]
fn impossible_questions_are_refused_with_the_fact() {
    let refused = |blast: Blast| plan(&blast, 1).unwrap_err();
    assert_eq!(
        refused(blast(0, 10, 1.0)),
        PlanError::Variants { variants: 0 }
    );
    assert_eq!(
        refused(blast(2, 0, 1.0)),
        PlanError::Audience { audience: 0 }
    );
    for window_hours in [-1.0, f64::NAN, 1e6] {
        let error = refused(blast(2, 10, window_hours));
        assert!(matches!(error, PlanError::Number { what, .. } if what.contains("window")));
    }
    let standing = Blast {
        sends_per_hour: Some(0.0),
        ..blast(2, 10, 1.0)
    };
    assert!(matches!(refused(standing), PlanError::Number { .. }));
}
