//! Objectives beyond rates, as callers meet them: values per send and utilities with penalties.
use hermod::grpc::wire::{self, EventKind, EventOutcome, Objective};

use crate::server::{Place, Running, event, hours, subject_lines};

/// Everybody is sent a mail; a third of those with the first variant order dearly and complain, half of the others order cheaply.
async fn played(server: &Running, objective: Objective) -> wire::ExperimentResults {
    let experiment = wire::Experiment {
        objective: objective.into(),
        policy: Some(wire::Policy {
            policy: Some(wire::policy::Policy::Uniform(wire::UniformPolicy {})),
        }),
        // The objective is to judge, not the guardrail.
        guardrails: Some(wire::Guardrails {
            complaint_rate_max: Some(1.0),
            ..Default::default()
        }),
        ..subject_lines()
    };
    let dear = experiment.variants[0].variant_id.clone();
    let name = server.running("autumn", experiment).await;
    let mut events = Vec::new();
    for person in 0..300 {
        let decision = server.choose(&name, &format!("person-{person}")).await;
        let at = server.in_minutes(5);
        let happened = |kind| event(kind, &decision.decision_id, at);
        if decision.variant == dear && person % 3 == 0 {
            let ordered = wire::Event {
                value: 300.0,
                ..happened(EventKind::Converted)
            };
            events.extend([happened(EventKind::Clicked), ordered]);
            events.push(happened(EventKind::Complained));
        } else if decision.variant != dear && person % 2 == 0 {
            let ordered = wire::Event {
                value: 10.0,
                ..happened(EventKind::Converted)
            };
            events.extend([happened(EventKind::Clicked), ordered]);
        }
    }
    let outcomes = server.outcomes(events).await;
    assert!(outcomes.iter().all(|o| *o == EventOutcome::Counted));
    server.pass_hours(160);
    server.results(&name).await
}

#[tokio::test]
async fn a_value_experiment_is_led_by_who_sells_most_not_most_often() {
    let server = Place::in_memory().start().await;
    let results = played(&server, Objective::Value).await;
    assert_eq!(results.objective(), Objective::Value);
    let [dear, cheap] = [0, 1].map(|at| results.variants[at].clone());
    assert_eq!(results.leader, dear.variant_id);
    assert!(dear.successes < cheap.successes, "{dear:?} {cheap:?}");
    assert_eq!(dear.counts.unwrap().value, 300.0 * dear.successes);
    assert!(dear.mean > 50.0 && cheap.mean < 20.0, "{dear:?} {cheap:?}");
    assert!(dear.interval_low < dear.mean && dear.mean < dear.interval_high);
    assert!(dear.probability_best > 0.95 && cheap.expected_loss > 20.0);
    let get = wire::GetExperimentRequest {
        name: results.name.clone(),
    };
    let shown = server.experiments.clone().get_experiment(get).await;
    let shown = shown.unwrap().into_inner().experiment.unwrap();
    assert_eq!(shown.attribution_window, Some(hours(168)));
    server.stop().await;
}

#[tokio::test]
async fn a_utility_experiment_is_not_led_by_who_annoys() {
    let server = Place::in_memory().start().await;
    let results = played(&server, Objective::Utility).await;
    let [annoying, other] = [0, 1].map(|at| results.variants[at].clone());
    assert_ne!(results.leader, annoying.variant_id);
    assert!(annoying.mean < -1.0, "{annoying:?}");
    assert!(annoying.mean < other.mean && annoying.probability_best < 0.01);
    server.stop().await;
}
