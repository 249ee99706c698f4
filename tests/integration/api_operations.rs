//! Alerts and what they are about: quarantine over the wire, newcomers on probation, the watch that misses none, and statistics.
use hermod::grpc::wire::{self, AlertKind, AlertSeverity, EventKind, EventOutcome, VariantState};

use crate::refusal::{assert_refused, bad_fields};
use crate::server::{Place, Running, event, subject_lines};

/// Chooses for so many people; answers the decisions that got this variant.
async fn given(server: &Running, name: &str, variant: &str, people: usize) -> Vec<wire::Decision> {
    let mut given = Vec::new();
    for person in 0..people {
        let decision = server.choose(name, &format!("{variant}-{person}")).await;
        if decision.variant == variant {
            given.push(decision);
        }
    }
    given
}

async fn complain(server: &Running, decisions: &[wire::Decision]) {
    let at = server.in_minutes(1);
    let events: Vec<wire::Event> = decisions
        .iter()
        .map(|decision| event(EventKind::Complained, &decision.decision_id, at))
        .collect();
    for outcome in server.outcomes(events).await {
        assert_eq!(outcome, EventOutcome::Counted);
    }
}

async fn list(server: &Running, request: wire::ListAlertsRequest) -> wire::ListAlertsResponse {
    let answer = server.operating.clone().list_alerts(request).await;
    answer.unwrap().into_inner()
}

async fn experiment(server: &Running, name: &str) -> wire::Experiment {
    let request = wire::GetExperimentRequest { name: name.into() };
    let answer = server.experiments.clone().get_experiment(request).await;
    answer.unwrap().into_inner().experiment.unwrap()
}

#[tokio::test]
async fn complaints_quarantine_at_once_and_the_alert_outlives_a_restart() {
    let place = Place::on_disk();
    let server = place.start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decisions = given(&server, &name, "question", 60).await;
    complain(&server, &decisions[..3]).await;
    let stopped = experiment(&server, &name).await.variants[1].clone();
    assert_eq!(stopped.state(), VariantState::Quarantined);
    assert!(
        stopped.quarantine_reason.contains("3 complaints in"),
        "{stopped:?}"
    );
    let listed = list(&server, wire::ListAlertsRequest::default()).await;
    let kinds: Vec<AlertKind> = listed.alerts.iter().map(wire::Alert::kind).collect();
    assert_eq!(
        kinds,
        [AlertKind::VariantQuarantined, AlertKind::GuardrailWarning]
    );
    let newest = &listed.alerts[0];
    assert_eq!(newest.severity(), AlertSeverity::Critical);
    assert_eq!(
        (newest.experiment.as_str(), newest.variant_id.as_str()),
        (name.as_str(), "question")
    );
    assert_eq!(newest.numbers["events"], 3.0);
    assert!(newest.numbers["probability_above_limit"] > 0.9);
    server.stop().await;
    let server = place.start().await;
    assert_eq!(
        list(&server, wire::ListAlertsRequest::default()).await,
        listed
    );
    assert_eq!(experiment(&server, &name).await.variants[1], stopped);
    let page = server.page("/metrics").await;
    assert!(
        page.contains("hermod_alerts_total{kind=\"variant_quarantined\",severity=\"critical\"}"),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_resumed_variant_is_judged_by_what_comes_after() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decisions = given(&server, &name, "question", 90).await;
    complain(&server, &decisions[..4]).await;
    let resume = wire::ResumeVariantRequest {
        name: name.clone(),
        variant_id: "question".into(),
    };
    let answer = server.experiments.clone().resume_variant(resume).await;
    let resumed = answer.unwrap().into_inner().experiment.unwrap();
    assert_eq!(resumed.variants[1].state(), VariantState::Live);
    complain(&server, &decisions[4..6]).await;
    let state = experiment(&server, &name).await.variants[1].state();
    assert_eq!(state, VariantState::Live, "two new complaints are few");
    complain(&server, &decisions[6..7]).await;
    let state = experiment(&server, &name).await.variants[1].state();
    assert_eq!(state, VariantState::Quarantined);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_from_the_last_alert_seen() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let mut operating = server.operating.clone();
    let from_now = wire::WatchAlertsRequest {
        severity_min: AlertSeverity::Critical.into(),
        ..Default::default()
    };
    let mut critical = operating.watch_alerts(from_now).await.unwrap().into_inner();
    for variant in ["plain", "question", "numbers"] {
        let decisions = given(&server, &name, variant, 60).await;
        complain(&server, &decisions[..3]).await;
    }
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let alert = critical.message().await.unwrap().unwrap().alert.unwrap();
        kinds.push((alert.kind(), alert.variant_id));
    }
    let quarantined = |id: &str| (AlertKind::VariantQuarantined, id.to_owned());
    assert_eq!(
        kinds,
        [
            quarantined("plain"),
            quarantined("question"),
            quarantined("numbers"),
            (AlertKind::NoVariantLeft, String::new())
        ]
    );
    let mut decisions = server.decisions.clone();
    let refused = decisions.choose_variant(wire::ChooseVariantRequest {
        experiment: name.clone(),
        recipient_id: "late".into(),
        ..Default::default()
    });
    assert_eq!(
        refused.await.unwrap_err().code(),
        tonic::Code::FailedPrecondition
    );
    let after = wire::WatchAlertsRequest {
        after: "alerts/3".into(),
        experiment: name,
        ..Default::default()
    };
    let mut rest = operating.watch_alerts(after).await.unwrap().into_inner();
    let next = rest.message().await.unwrap().unwrap().alert.unwrap();
    assert_eq!(next.name, "alerts/4");
    drop((critical, rest));
    server.stop().await;
}

#[tokio::test]
async fn alerts_come_in_pages_and_bad_requests_name_every_field() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decisions = given(&server, &name, "question", 60).await;
    complain(&server, &decisions[..3]).await;
    let first = list(
        &server,
        wire::ListAlertsRequest {
            page_size: 1,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(first.alerts.len(), 1);
    let second = list(
        &server,
        wire::ListAlertsRequest {
            page_size: 1,
            page_token: first.next_page_token,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(second.alerts[0].kind(), AlertKind::GuardrailWarning);
    assert_eq!(second.next_page_token, "");
    for (request, expected) in [
        (
            wire::ListAlertsRequest {
                experiment: name.clone(),
                ..Default::default()
            },
            2,
        ),
        (
            wire::ListAlertsRequest {
                experiment: "experiments/other".into(),
                ..Default::default()
            },
            0,
        ),
        (
            wire::ListAlertsRequest {
                since_time: Some(server.in_minutes(1)),
                ..Default::default()
            },
            0,
        ),
    ] {
        assert_eq!(list(&server, request).await.alerts.len(), expected);
    }
    let mut operating = server.operating.clone();
    let refused = operating.list_alerts(wire::ListAlertsRequest {
        page_size: -1,
        page_token: "?".into(),
        experiment: "autumn".into(),
        severity_min: 9,
        since_time: None,
    });
    let fields = ["page_size", "experiment", "severity_min", "page_token"];
    assert_refused("list", &refused.await.unwrap_err(), &bad_fields(&fields));
    let refused = operating.watch_alerts(wire::WatchAlertsRequest {
        after: "alerts/x".into(),
        ..Default::default()
    });
    assert_refused(
        "watch",
        &refused.await.unwrap_err(),
        &bad_fields(&["after"]),
    );
    server.stop().await;
}

#[tokio::test]
async fn a_newcomer_is_on_probation_until_it_has_matured() {
    let server = Place::in_memory().start().await;
    let uniform = wire::Experiment {
        policy: Some(wire::Policy {
            policy: Some(wire::policy::Policy::Uniform(wire::UniformPolicy {})),
        }),
        probation: Some(wire::Probation {
            share_max: Some(0.2),
            matured_trials_min: Some(5),
        }),
        ..subject_lines()
    };
    let name = server.running("flow", uniform).await;
    server.pass_hours(1);
    let added = wire::AddVariantRequest {
        name: name.clone(),
        variant: Some(wire::Variant {
            variant_id: "emoji".into(),
            ..Default::default()
        }),
    };
    let answer = server.experiments.clone().add_variant(added).await.unwrap();
    let joined = answer.into_inner().experiment.unwrap();
    assert_eq!(joined.variants[3].state(), VariantState::Probation);
    let shown = server.results(&name).await;
    assert!((shown.variants[3].share - 0.2).abs() < 1e-9, "{shown:?}");
    assert!((shown.variants[0].share - 0.8 / 3.0).abs() < 1e-9);
    let given = given(&server, &name, "emoji", 80).await;
    assert!(given.len() > 6, "{}", given.len());
    let mut operating = server.operating.clone();
    let watch = operating.watch_alerts(wire::WatchAlertsRequest::default());
    let mut alerts = watch.await.unwrap().into_inner();
    server.pass_hours(100);
    server.app.refresh();
    server.app.oversee().await.unwrap();
    let alert = alerts.message().await.unwrap().unwrap().alert.unwrap();
    assert_eq!(alert.kind(), AlertKind::ProbationPassed);
    assert_eq!(alert.variant_id, "emoji");
    let state = experiment(&server, &name).await.variants[3].state();
    assert_eq!(state, VariantState::Live);
    drop(alerts);
    server.stop().await;
}

#[tokio::test]
async fn statistics_count_what_there_is() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decisions = given(&server, &name, "question", 30).await;
    complain(&server, &decisions[..1]).await;
    let mut operating = server.operating.clone();
    let answer = operating.get_statistics(wire::GetStatisticsRequest {});
    let shown = answer.await.unwrap().into_inner().statistics.unwrap();
    assert_eq!((shown.experiments_running, shown.experiments_draft), (1, 0));
    let counts = shown.counts.unwrap();
    assert_eq!((counts.decided, counts.complained), (30.0, 1.0));
    assert_eq!((shown.alerts, shown.alerts_critical), (1, 0));
    assert!(shown.store_records > 30, "{shown:?}");
    server.stop().await;
}
