//! Shadow mode: the platform gets back exactly what it said, hermod says what it would have done, learns, and can be switched on.
use hermod::grpc::wire::{self, DecisionReason, EventKind};
use tonic::Code;

use crate::server::{Place, Running, VARIANTS, event, instant, question, subject_lines};

fn platform(name: &str, person: usize, variant: &str) -> wire::DecideRequest {
    wire::DecideRequest {
        platform_variant_id: variant.into(),
        ..question(name, &format!("person-{person}"))
    }
}

async fn shadowed(server: &Running) -> String {
    let experiment = wire::Experiment {
        shadow: true,
        ..subject_lines()
    };
    server.running("autumn", experiment).await
}

/// The platform sends all variants in turn; a third of the mails of the second one are clicked.
async fn play(server: &Running, name: &str, mails: usize) {
    for person in 0..mails {
        let variant = VARIANTS[person % VARIANTS.len()];
        let decision = server.decide(platform(name, person, variant)).await;
        assert_eq!((decision.variant.as_str(), decision.send), (variant, true));
        assert_eq!(decision.reason(), DecisionReason::Shadow);
        let shadow = decision.shadow.expect("what hermod would have done");
        assert_eq!(shadow.agrees, shadow.variant == variant);
        assert!(VARIANTS.contains(&shadow.variant.as_str()) && shadow.propensity > 0.0);
        if variant == VARIANTS[1] && person % 9 == 1 {
            let at = server.in_minutes(1);
            let click = event(EventKind::Clicked, &decision.decision_id, at);
            server.outcomes(vec![click]).await;
        }
    }
}

#[tokio::test]
async fn the_platforms_choice_comes_back_and_what_it_brings_is_learned() {
    let server = Place::in_memory().start().await;
    let name = shadowed(&server).await;
    play(&server, &name, 600).await;
    server.app.refresh();
    let results = server.results(&name).await;
    let shadow = results.shadow.expect("shadow results");
    assert_eq!(shadow.sends, 600.0);
    assert!(
        shadow.agreement > 0.0 && shadow.agreement < 1.0,
        "{shadow:?}"
    );
    assert!(
        shadow.identified && (shadow.overlap - 1.0).abs() < 0.1,
        "{shadow:?}"
    );
    assert!(
        shadow.policy_rate_low <= shadow.policy_rate
            && shadow.policy_rate <= shadow.policy_rate_high
    );
    let trials: f64 = results.variants.iter().map(|variant| variant.trials).sum();
    assert_eq!(trials, 600.0, "every mail of the platform is a trial");
    assert_eq!(
        results.holdout.unwrap().trials,
        0.0,
        "nobody is held out in shadow mode"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_platforms_own_time_is_kept_and_a_retry_gets_the_same() {
    let server = Place::in_memory().start().await;
    let name = shadowed(&server).await;
    let at = server.in_minutes(90);
    let request = wire::DecideRequest {
        platform_send_time: Some(at),
        request_id: "try-1".into(),
        ..platform(&name, 1, VARIANTS[0])
    };
    let first = server.decide(request.clone()).await;
    let again = server.decide(request).await;
    assert_eq!(instant(first.send_time), instant(Some(at)));
    assert_eq!(
        (&first.decision_id, first.send_time),
        (&again.decision_id, again.send_time)
    );
    assert_eq!(again.reason(), DecisionReason::Shadow);
    // Another variant is what the platform sends now, so it comes back too.
    let other = server.decide(platform(&name, 1, VARIANTS[1])).await;
    assert_eq!(other.variant, VARIANTS[1]);
    server.stop().await;
}

#[tokio::test]
async fn leaving_shadow_mode_switches_on_with_everything_learned() {
    let server = Place::in_memory().start().await;
    let name = shadowed(&server).await;
    play(&server, &name, 900).await;
    let update = wire::UpdateExperimentRequest {
        experiment: Some(wire::Experiment {
            name: name.clone(),
            shadow: false,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["shadow".into()],
        }),
    };
    let mut experiments = server.experiments.clone();
    experiments.update_experiment(update).await.unwrap();
    server.pass_hours(200);
    server.app.refresh();
    let results = server.results(&name).await;
    assert_eq!(results.leader, VARIANTS[1]);
    let mut chosen = 0;
    for person in 10_000..10_060 {
        let decision = server
            .decide(question(&name, &format!("person-{person}")))
            .await;
        assert!(decision.shadow.is_none());
        chosen += u32::from(decision.variant == VARIANTS[1]);
    }
    assert!(chosen > 40, "{chosen} of 60 with the best variant");
    server.stop().await;
}

#[tokio::test]
async fn the_platforms_variant_is_needed_in_shadow_mode_and_refused_elsewhere() {
    let server = Place::in_memory().start().await;
    let shadow = shadowed(&server).await;
    let plain = server.running("winter", subject_lines()).await;
    let refused = [
        question(&shadow, "ann"),
        platform(&shadow, 1, "nowhere"),
        platform(&plain, 1, VARIANTS[0]),
    ];
    for request in refused {
        let status = server.decisions.clone().decide(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().contains("platform_variant_id"),
            "{status:?}"
        );
    }
    server.stop().await;
}
