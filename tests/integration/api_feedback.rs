//! Feedback: every outcome, in any order, counted once, and taken back exactly when a verdict changes.
use futures_util::{StreamExt as _, stream};
use hermod::app::Clock as _;
use hermod::grpc::wire::{self, ConsentLevel, EventKind, EventOutcome, TrialOn};
use jiff::SignedDuration;

use crate::server::{Place, Running, event, hours, question, subject_lines, wire_time};

fn weighted(human_probability: f64, event: wire::Event) -> wire::Event {
    wire::Event {
        human_probability: Some(human_probability),
        ..event
    }
}

/// Results with what only says when they were read left out.
fn timeless(mut results: wire::ExperimentResults) -> wire::ExperimentResults {
    results.as_of_time = None;
    results
}

async fn reclassify(
    server: &Running,
    decision_id: &str,
    human_probability: f64,
) -> Vec<wire::EventResult> {
    let request = wire::ReclassifyEventsRequest {
        reclassifications: vec![wire::Reclassification {
            decision_id: decision_id.into(),
            kind: EventKind::Clicked.into(),
            human_probability: Some(human_probability),
        }],
    };
    let answer = server.feedback.clone().reclassify_events(request).await;
    answer.unwrap().into_inner().results
}

#[tokio::test]
async fn each_outcome_is_told_apart_and_a_bad_event_never_sinks_its_batch() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let mut ids = Vec::new();
    for person in ["ann", "bob", "cid"] {
        ids.push(server.choose(&name, person).await.decision_id);
    }
    let refusing = wire::Recipient {
        consent: Some(wire::Consent {
            content: ConsentLevel::None.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    server.update("cid", refusing, "consent.content").await;
    let erase = wire::EraseRecipientRequest {
        recipient_id: "bob".into(),
    };
    let receipt = server.recipients.clone().erase_recipient(erase).await;
    assert!(receipt.unwrap().into_inner().existed);
    let at = server.in_minutes(10);
    let clicked = |id: &str| event(EventKind::Clicked, id, at);
    let results = server
        .report(vec![
            weighted(0.25, clicked(&ids[0])),
            weighted(0.25, clicked(&ids[0])),
            weighted(0.75, clicked(&ids[0])),
            weighted(0.5, clicked(&ids[0])),
            event(EventKind::Opened, &ids[0], server.in_minutes(23 * 60)),
            wire::Event::default(),
            clicked("forged"),
            clicked(&ids[1]),
            clicked(&ids[2]),
            event(EventKind::Delivered, &ids[0], at),
        ])
        .await;
    use EventOutcome as O;
    let outcomes: Vec<O> = results.iter().map(wire::EventResult::outcome).collect();
    let expected = [
        O::Counted,
        O::Duplicate,
        O::Upgraded,
        O::Duplicate,
        O::Counted,
        O::Refused,
        O::Refused,
        O::NotAllowed,
        O::NotAllowed,
        O::Counted,
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(results[2].human_probability, 0.75);
    let empty = results[5].problem.as_ref().unwrap();
    let fields: Vec<&str> = empty.fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["kind", "event_time", "decision_id"]);
    let forged = results[6].problem.as_ref().unwrap();
    assert_eq!(
        (forged.code, forged.reason.as_str()),
        (3, "DECISION_ID_INVALID")
    );
    let shown = server.results(&name).await;
    let successes: f64 = shown.variants.iter().map(|v| v.successes).sum();
    assert_eq!(successes, 0.75);
    server.stop().await;
}

#[tokio::test]
async fn after_the_attribution_window_an_event_is_charted_and_not_learned_from() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        attribution_window: Some(hours(2)),
        objective: wire::Objective::Conversion.into(),
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    let id = server.choose(&name, "ann").await.decision_id;
    let late = event(EventKind::Converted, &id, server.in_minutes(121));
    let outcomes = server.outcomes(vec![late.clone(), late]).await;
    assert_eq!(outcomes, [EventOutcome::TooLate; 2]);
    let shown = server.results(&name).await;
    let converted: f64 = shown
        .variants
        .iter()
        .map(|v| v.counts.unwrap().converted)
        .sum();
    let successes: f64 = shown.variants.iter().map(|v| v.successes).sum();
    assert_eq!(
        (converted, successes),
        (1.0, 0.0),
        "charted once, not learned from"
    );
    assert!(server.recipient("ann").await.touches[0].events.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_late_event_reported_first_does_not_hide_the_one_in_time() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        attribution_window: Some(hours(2)),
        objective: wire::Objective::Conversion.into(),
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    for (person, late_first) in [("ann", true), ("bob", false)] {
        let id = server.choose(&name, person).await.decision_id;
        let (late, timely) = (server.in_minutes(121), server.in_minutes(60));
        let times = if late_first {
            [late, timely]
        } else {
            [timely, late]
        };
        for kind in [EventKind::Converted, EventKind::Clicked] {
            let events = times.map(|at| event(kind, &id, at)).to_vec();
            let outcomes = server.outcomes(events).await;
            assert!(
                outcomes.contains(&EventOutcome::Counted),
                "{person} {kind:?} {outcomes:?}"
            );
        }
    }
    let shown = server.results(&name).await;
    let sum = |of: fn(&wire::VariantResults) -> f64| -> f64 { shown.variants.iter().map(of).sum() };
    assert_eq!(sum(|v| v.successes), 2.0);
    assert_eq!(
        sum(|v| v.counts.unwrap().converted),
        2.0,
        "once per decision"
    );
    assert_eq!(sum(|v| v.counts.unwrap().clicked), 2.0, "once per decision");
    server.stop().await;
}

#[tokio::test]
async fn the_order_and_number_of_reports_do_not_matter() {
    let mut shown = Vec::new();
    for rotation in 0..5 {
        let server = Place::in_memory().start().await;
        let name = server.running("autumn", subject_lines()).await;
        let id = server.choose(&name, "ann").await.decision_id;
        let mut events = vec![
            event(EventKind::Sent, &id, server.in_minutes(1)),
            event(EventKind::Delivered, &id, server.in_minutes(2)),
            weighted(0.125, event(EventKind::Opened, &id, server.in_minutes(3))),
            event(EventKind::Opened, &id, server.in_minutes(30)),
            event(EventKind::Clicked, &id, server.in_minutes(31)),
        ];
        events.rotate_left(rotation);
        events.extend(events.clone());
        server.report(events).await;
        server.pass_hours(2);
        let results = timeless(server.results(&name).await);
        let variant = results.variants.iter().find(|v| v.trials > 0.0).unwrap();
        let touch = server.recipient("ann").await.touches.remove(0);
        assert_eq!(touch.events, ["sent", "delivered", "opened", "clicked"]);
        let counts = variant.counts.unwrap();
        shown.push((variant.successes, variant.trials, counts, touch.send_time));
        server.stop().await;
    }
    shown.dedup();
    assert_eq!(shown.len(), 1, "{shown:?}");
}

#[tokio::test]
async fn a_verdict_there_and_back_leaves_the_results_exactly_as_before() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let mut ids = Vec::new();
    for person in 0..10 {
        let id = server
            .choose(&name, &format!("person-{person}"))
            .await
            .decision_id;
        let clicked = event(EventKind::Clicked, &id, server.in_minutes(person));
        server.report(vec![weighted(0.7, clicked)]).await;
        ids.push(id);
    }
    server.pass_hours(3);
    let counted = server.report(vec![weighted(
        0.7,
        event(EventKind::Clicked, &ids[0], server.in_minutes(0)),
    )]);
    let weight = counted.await[0].human_probability;
    let before = timeless(server.results(&name).await);
    for id in &ids {
        let there = reclassify(&server, id, 0.0).await;
        assert_eq!(there[0].outcome(), EventOutcome::Counted);
        let same = reclassify(&server, id, 0.0).await;
        assert_eq!(same[0].outcome(), EventOutcome::Duplicate);
    }
    let taken_out = server.results(&name).await;
    assert!(taken_out.variants.iter().all(|v| v.successes == 0.0));
    for id in &ids {
        let back = reclassify(&server, id, weight).await;
        assert_eq!(back[0].outcome(), EventOutcome::Counted);
    }
    assert_eq!(timeless(server.results(&name).await), before);
    let never = server.choose(&name, "never").await.decision_id;
    let missing = &reclassify(&server, &never, 0.5).await[0];
    assert_eq!(missing.problem.as_ref().unwrap().reason, "EVENT_NOT_FOUND");
    server.stop().await;
}

#[tokio::test]
async fn a_reserved_mail_counts_once_it_is_sent() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        trial_on: TrialOn::Sent.into(),
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    let trials = async || -> f64 {
        let shown = server.results(&name).await;
        shown.variants.iter().map(|v| v.trials).sum()
    };
    let id = server.choose(&name, "ann").await.decision_id;
    server.choose(&name, "bob").await;
    server.pass_hours(1);
    assert_eq!(trials().await, 0.0);
    let sent = event(EventKind::Sent, &id, server.in_minutes(0));
    assert_eq!(server.outcomes(vec![sent]).await, [EventOutcome::Counted]);
    assert_eq!(trials().await, 1.0);
    server.pass_hours(100);
    assert_eq!(trials().await, 1.0, "what was never confirmed never counts");
    server.stop().await;
}

#[tokio::test]
async fn feedback_finds_its_decision_by_the_token_alone() {
    let mut place = Place::in_memory();
    let keys = tempfile::tempdir().unwrap();
    place.config.privacy.keys_file = Some(keys.path().join("hermod.keys"));
    let server = place.start().await;
    let name = server.running("autumn", subject_lines()).await;
    let decision = server.choose(&name, "ann").await;
    server.stop().await;
    // The memory is gone with the touch in it; keys, seed and the experiment's number are as before.
    let server = place.start().await;
    server.running("autumn", subject_lines()).await;
    let clicked = event(
        EventKind::Clicked,
        &decision.decision_id,
        server.in_minutes(10),
    );
    let outcomes = server.outcomes(vec![clicked.clone(), clicked]).await;
    assert_eq!(outcomes, [EventOutcome::Counted, EventOutcome::Duplicate]);
    let shown = server.results(&name).await;
    let variant = shown
        .variants
        .iter()
        .find(|v| v.variant_id == decision.variant)
        .unwrap();
    assert_eq!(
        (
            variant.trials,
            variant.successes,
            variant.counts.unwrap().decided
        ),
        (1.0, 1.0, 1.0)
    );
    let again = server.choose(&name, "ann").await;
    assert_eq!(again.decision_id, decision.decision_id, "and it is sticky");
    server.stop().await;
}

#[tokio::test]
async fn activity_without_a_mail_counts_once_an_hour() {
    let server = Place::in_memory().start().await;
    let active = |at| wire::Event {
        kind: EventKind::Active.into(),
        event_time: Some(at),
        recipient_id: "ann".into(),
        ..Default::default()
    };
    let old = wire_time(server.clock.now() - SignedDuration::from_hours(24 * 365));
    let outcomes = server
        .outcomes(vec![
            active(server.in_minutes(0)),
            active(server.in_minutes(1)),
            active(server.in_minutes(60)),
            active(old),
        ])
        .await;
    use EventOutcome as O;
    assert_eq!(outcomes, [O::Counted, O::Duplicate, O::Counted, O::TooLate]);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_events_answers_each_in_order() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let id = server.decide(question(&name, "ann")).await.decision_id;
    let at = server.in_minutes(1);
    let items: Vec<_> = (0..3_000)
        .map(|n| wire::StreamEventsRequest {
            correlation_id: format!("c-{n}"),
            event: (n % 3 != 1).then(|| event(EventKind::Clicked, &id, at)),
        })
        .collect();
    let answers = server
        .feedback
        .clone()
        .stream_events(stream::iter(items))
        .await;
    let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
    assert_eq!(answers.len(), 3_000);
    for (n, answer) in answers.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!(answer.correlation_id, format!("c-{n}"));
        let expected = match n {
            0 => EventOutcome::Counted,
            n if n % 3 == 1 => EventOutcome::Refused,
            _ => EventOutcome::Duplicate,
        };
        assert_eq!(answer.result.unwrap().outcome(), expected, "{n}");
    }
    server.stop().await;
}
