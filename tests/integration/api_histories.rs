//! Random histories of calls, sensible or not: whatever happens, counts stay counts, rates stay rates and propensities sum to one.
use hermod::grpc::wire::{self, ConsentLevel, DecisionView, EventKind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::server::{Place, Running, VARIANTS, event, question, subject_lines};

const PEOPLE: usize = 6;

/// One call of a history; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Call {
    Decide {
        person: usize,
        occasion: u8,
    },
    Choose {
        person: usize,
    },
    Report {
        decision: usize,
        kind: i32,
        minutes: i64,
        weight: f64,
    },
    Reclassify {
        decision: usize,
        weight: f64,
    },
    Pass {
        hours: i64,
    },
    Erase {
        person: usize,
    },
    Consent {
        person: usize,
        level: i32,
    },
    Pause {
        variant: usize,
    },
    Resume {
        variant: usize,
    },
    Refresh,
}

fn call() -> impl Strategy<Value = Call> {
    let weight = prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0];
    prop_oneof![
        4 => (0..PEOPLE, 0..3_u8).prop_map(|(person, occasion)| Call::Decide { person, occasion }),
        4 => (0..PEOPLE).prop_map(|person| Call::Choose { person }),
        10 => (any::<usize>(), 1..10_i32, -90..6_000_i64, weight.clone())
            .prop_map(|(decision, kind, minutes, weight)| Call::Report { decision, kind, minutes, weight }),
        2 => (any::<usize>(), weight).prop_map(|(decision, weight)| Call::Reclassify { decision, weight }),
        2 => (0..100_i64).prop_map(|hours| Call::Pass { hours }),
        1 => (0..PEOPLE).prop_map(|person| Call::Erase { person }),
        1 => (0..PEOPLE, 1..=4_i32).prop_map(|(person, level)| Call::Consent { person, level }),
        1 => (0..3_usize).prop_map(|variant| Call::Pause { variant }),
        1 => (0..3_usize).prop_map(|variant| Call::Resume { variant }),
        1 => Just(Call::Refresh),
    ]
}

fn experiment() -> impl Strategy<Value = wire::Experiment> {
    (1..=3_i32, 1..=2_i32, 1..=2_i32, 0.0..0.5).prop_map(|(objective, kind, trial_on, holdout)| {
        wire::Experiment {
            objective,
            kind,
            trial_on,
            holdout_share: Some(holdout),
            ..subject_lines()
        }
    })
}

/// Makes one call; what it decided is added to the decisions. Refusals are part of a history, so they are dropped.
async fn make(server: &Running, name: &str, call: &Call, decided: &mut Vec<wire::Decision>) {
    match call {
        Call::Decide { person, occasion } => {
            let request = wire::DecideRequest {
                // The first occasion is none.
                occasion: "x".repeat(usize::from(*occasion)),
                ..question(name, &id_of(*person))
            };
            let answer = server.decisions.clone().decide(request).await;
            decided.extend(answer.ok().and_then(|answer| answer.into_inner().decision));
        }
        Call::Choose { person } => {
            let request = wire::ChooseVariantRequest {
                experiment: name.into(),
                recipient_id: id_of(*person),
                ..Default::default()
            };
            let answer = server.decisions.clone().choose_variant(request).await;
            decided.extend(answer.ok().and_then(|answer| answer.into_inner().decision));
        }
        Call::Report { decision, .. } | Call::Reclassify { decision, .. } => {
            if let Some(decision) = decided.get(decision % decided.len().max(1)) {
                tell(server, call, decision).await;
            }
        }
        Call::Pass { hours } => server.pass_hours(*hours),
        Call::Refresh => server.app.refresh(),
        Call::Erase { .. } | Call::Consent { .. } | Call::Pause { .. } | Call::Resume { .. } => {
            manage(server, name, call).await;
        }
    }
}

fn id_of(person: usize) -> String {
    format!("person-{person}")
}

/// Reports or reclassifies what came of a decision.
async fn tell(server: &Running, call: &Call, decision: &wire::Decision) {
    match call {
        Call::Report {
            kind,
            minutes,
            weight,
            ..
        } => {
            let mut at = decision.send_time.or(decision.decide_time).unwrap();
            at.seconds += minutes * 60;
            let kind = EventKind::try_from(*kind).unwrap();
            let event = wire::Event {
                human_probability: Some(*weight),
                value: 12.5,
                permanent: *weight > 0.5,
                sentiment: wire::Sentiment::Negative.into(),
                ..event(kind, &decision.decision_id, at)
            };
            server.report(vec![event]).await;
        }
        Call::Reclassify { weight, .. } => {
            let verdict = |kind: EventKind| wire::Reclassification {
                decision_id: decision.decision_id.clone(),
                kind: kind.into(),
                human_probability: Some(*weight),
            };
            let reclassifications = vec![verdict(EventKind::Opened), verdict(EventKind::Clicked)];
            let request = wire::ReclassifyEventsRequest { reclassifications };
            let answer = server.feedback.clone().reclassify_events(request).await;
            answer.unwrap();
        }
        _ => {}
    }
}

/// Changes a recipient or a variant.
async fn manage(server: &Running, name: &str, call: &Call) {
    let variant = |at: &usize| VARIANTS[*at].to_owned();
    let name = name.to_owned();
    let mut experiments = server.experiments.clone();
    match call {
        Call::Erase { person } => {
            let request = wire::EraseRecipientRequest {
                recipient_id: id_of(*person),
            };
            let receipt = server.recipients.clone().erase_recipient(request).await;
            receipt.unwrap();
        }
        Call::Consent { person, level } => {
            let level = ConsentLevel::try_from(*level).unwrap().into();
            let consent = wire::Consent {
                timing: level,
                content: level,
                ..Default::default()
            };
            let recipient = wire::Recipient {
                consent: Some(consent),
                ..Default::default()
            };
            server.update(&id_of(*person), recipient, "consent").await;
        }
        Call::Pause { variant: at } => {
            let variant_id = variant(at);
            let request = wire::PauseVariantRequest { name, variant_id };
            drop(experiments.pause_variant(request).await);
        }
        Call::Resume { variant: at } => {
            let variant_id = variant(at);
            let request = wire::ResumeVariantRequest { name, variant_id };
            drop(experiments.resume_variant(request).await);
        }
        _ => {}
    }
}

fn assert_sound(shown: &wire::ExperimentResults) {
    // The evidence of a flow fades, and a planned trial is dated to the end of its five minutes: by that much the two may differ.
    let epsilon = 1e-3;
    for variant in &shown.variants {
        let counts = variant.counts.unwrap();
        let numbers = [
            variant.trials,
            variant.successes,
            variant.effective_trials,
            variant.pending_trials,
            variant.expected_loss,
            counts.decided,
            counts.opened,
            counts.clicked,
            counts.converted,
            counts.value,
        ];
        assert!(
            numbers.iter().all(|n| n.is_finite() && *n >= -epsilon),
            "{variant:?}"
        );
        assert!(variant.successes <= variant.trials + epsilon, "{variant:?}");
        let ordered = [
            0.0,
            variant.interval_low,
            variant.mean,
            variant.interval_high,
            1.0,
        ];
        assert!(ordered.is_sorted(), "{variant:?}");
        for share in [variant.probability_best, variant.share, variant.raw_rate] {
            assert!((-epsilon..=1.0 + epsilon).contains(&share), "{variant:?}");
        }
    }
    let holdout = shown.holdout.unwrap();
    for number in [
        holdout.trials,
        holdout.effective_trials,
        holdout.successes,
        holdout.rate,
        holdout.policy_rate,
    ] {
        assert!(number.is_finite() && number >= -epsilon, "{holdout:?}");
    }
    assert!(holdout.successes <= holdout.trials + epsilon, "{holdout:?}");
    let check = shown.sample_ratio_check.unwrap();
    assert!((0.0..=1.0).contains(&check.p_value), "{check:?}");
}

async fn live(experiment: wire::Experiment, history: Vec<Call>) {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", experiment).await;
    let mut decided = Vec::new();
    for (at, call) in history.iter().enumerate() {
        make(&server, &name, call, &mut decided).await;
        if at % 8 == 0 {
            assert_sound(&server.results(&name).await);
        }
    }
    server.app.refresh();
    assert_sound(&server.results(&name).await);
    let request = wire::DecideRequest {
        view: DecisionView::Full.into(),
        ..question(&name, "newcomer")
    };
    if let Ok(answer) = server.decisions.clone().decide(request).await {
        let ranked = answer.into_inner().decision.unwrap().ranked_variants;
        let sum: f64 = ranked.iter().map(|variant| variant.propensity).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
    server.stop().await;
}

#[test]
fn no_history_makes_a_count_negative_or_a_rate_impossible() {
    let config = Config {
        cases: 16,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = Runtime::new().unwrap();
    TestRunner::new(config)
        .run(
            &(experiment(), prop::collection::vec(call(), 1..60)),
            |(experiment, history)| {
                runtime.block_on(live(experiment, history));
                Ok(())
            },
        )
        .unwrap();
}
