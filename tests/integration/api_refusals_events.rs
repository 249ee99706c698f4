//! Bad events and verdicts are refused one by one, and batches of no items or too many as a whole.
use hermod::grpc::wire::{self, EventKind, EventOutcome};

use crate::api_refusals::{YEAR_9999, start};
use crate::refusal::{assert_refused, bad_field};
use crate::server::{Place, Running, event, hours, subject_lines};

#[tokio::test]
async fn batches_of_no_items_or_too_many_are_refused_whole() {
    let server = start().await;
    let too_many = 10_001;
    let batch = |items| wire::BatchDecideRequest {
        requests: vec![wire::DecideRequest::default(); items],
    };
    for items in [0, too_many] {
        let status = server.decisions.clone().batch_decide(batch(items)).await;
        assert_refused(
            "decide",
            &status.unwrap_err(),
            &bad_field("BATCH_SIZE", &["requests"]),
        );
        let events = vec![wire::Event::default(); items];
        let status = server
            .feedback
            .clone()
            .report_events(wire::ReportEventsRequest { events })
            .await;
        assert_refused(
            "report",
            &status.unwrap_err(),
            &bad_field("BATCH_SIZE", &["events"]),
        );
        let reclassifications = vec![wire::Reclassification::default(); items];
        let request = wire::ReclassifyEventsRequest { reclassifications };
        let status = server
            .feedback
            .clone()
            .reclassify_events(request)
            .await
            .unwrap_err();
        assert_refused(
            "reclassify",
            &status,
            &bad_field("BATCH_SIZE", &["reclassifications"]),
        );
    }
    let answer = server.decisions.clone().batch_decide(batch(10_000)).await;
    assert_eq!(answer.unwrap().into_inner().results.len(), 10_000);
    server.stop().await;
}

/// Events that are bad, with the reason and the bad fields.
fn bad_events(
    server: &Running,
    good: &str,
) -> Vec<(wire::Event, &'static str, &'static [&'static str])> {
    let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
    let click = |time| event(EventKind::Clicked, good, time);
    let now = server.in_minutes(0);
    let token = |decision_id: String| wire::Event {
        decision_id,
        ..click(now)
    };
    let forged = format!(
        "{}{}",
        if good.starts_with('A') { "B" } else { "A" },
        &good[1..]
    );
    vec![
        (click(at(0)), "INVALID_FIELDS", &["event_time"]),
        (
            click(at(-62_135_596_801)),
            "INVALID_FIELDS",
            &["event_time"],
        ),
        (click(YEAR_9999), "EVENT_IN_FUTURE", &["event_time"]),
        (
            click(server.in_minutes(24 * 60 + 1)),
            "EVENT_IN_FUTURE",
            &["event_time"],
        ),
        (
            click(server.in_minutes(-61)),
            "EVENT_BEFORE_DECISION",
            &["event_time"],
        ),
        (
            wire::Event {
                kind: 99,
                ..click(now)
            },
            "INVALID_FIELDS",
            &["kind"],
        ),
        (
            wire::Event {
                human_probability: Some(f64::NAN),
                value: f64::INFINITY,
                sentiment: -4,
                evidence: Some(wire::Evidence {
                    user_agent: "x".repeat(1_025),
                    network: 9,
                    since_delivery: Some(hours(-1)),
                    links_within_10_seconds: -1,
                    ..Default::default()
                }),
                ..click(now)
            },
            "INVALID_FIELDS",
            &[
                "human_probability",
                "value",
                "evidence.network",
                "evidence.links_within_10_seconds",
                "evidence.user_agent",
                "evidence.since_delivery",
                "sentiment",
            ],
        ),
        (
            wire::Event {
                value: -1.0,
                ..click(now)
            },
            "INVALID_FIELDS",
            &["value"],
        ),
        (
            wire::Event {
                kind: EventKind::Active.into(),
                ..click(now)
            },
            "INVALID_FIELDS",
            &["recipient_id"],
        ),
        (
            token("not a token".into()),
            "DECISION_ID_INVALID",
            &["decision_id"],
        ),
        (
            token("A".repeat(100_000)),
            "DECISION_ID_INVALID",
            &["decision_id"],
        ),
        (
            token(good[..good.len() - 2].into()),
            "DECISION_ID_INVALID",
            &["decision_id"],
        ),
        (
            token(format!("{good}AAAA")),
            "DECISION_ID_INVALID",
            &["decision_id"],
        ),
        (token(forged), "DECISION_ID_INVALID", &["decision_id"]),
        (
            token(good.to_lowercase()),
            "DECISION_ID_INVALID",
            &["decision_id"],
        ),
    ]
}

#[tokio::test]
async fn bad_events_are_refused_one_by_one() {
    let server = start().await;
    let good = server.choose("experiments/autumn", "ann").await.decision_id;
    let elsewhere = Place::in_memory().start().await;
    elsewhere.running("autumn", subject_lines()).await;
    let foreign = elsewhere
        .choose("experiments/autumn", "ann")
        .await
        .decision_id;
    elsewhere.stop().await;
    let mut cases = bad_events(&server, &good);
    let foreign = event(EventKind::Clicked, &foreign, server.in_minutes(0));
    cases.push((foreign, "DECISION_ID_INVALID", &["decision_id"]));
    let mut events: Vec<wire::Event> = cases.iter().map(|(event, ..)| event.clone()).collect();
    events.push(event(EventKind::Clicked, &good, server.in_minutes(1)));
    let mut results = server.report(events).await;
    let last = results.pop().unwrap();
    assert_eq!(last.outcome(), EventOutcome::Counted);
    for (result, (event, reason, fields)) in results.iter().zip(cases) {
        assert_eq!(result.outcome(), EventOutcome::Refused, "{event:?}");
        let problem = result.problem.as_ref().unwrap();
        assert_eq!(
            (problem.code, problem.reason.as_str()),
            (3, reason),
            "{event:?}"
        );
        let found: Vec<&str> = problem.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(found, fields, "{event:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn bad_verdicts_are_refused_one_by_one() {
    let server = start().await;
    let verdict = |kind, human_probability| wire::Reclassification {
        decision_id: "forged".into(),
        kind,
        human_probability,
    };
    let request = wire::ReclassifyEventsRequest {
        reclassifications: vec![
            wire::Reclassification::default(),
            verdict(EventKind::Sent.into(), Some(2.0)),
            verdict(99, Some(f64::NAN)),
            verdict(EventKind::Opened.into(), Some(0.5)),
        ],
    };
    let answer = server.feedback.clone().reclassify_events(request).await;
    let results = answer.unwrap().into_inner().results;
    let fields: Vec<String> = results
        .iter()
        .map(|result| {
            let problem = result.problem.as_ref().unwrap();
            let fields = problem.fields.iter().map(|f| f.field.as_str());
            fields.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        fields,
        [
            "decision_id kind human_probability",
            "kind human_probability",
            "kind human_probability",
            "decision_id"
        ]
    );
    server.stop().await;
}
