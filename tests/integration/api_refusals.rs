//! Bad requests for decisions and recipients: each is refused with its reason, and the server goes on answering.
use hermod::app::Clock as _;
use hermod::grpc::wire;
use jiff::SignedDuration;
use tonic::Code;

use crate::refusal::{Expected, assert_refused, bad_fields, refused};
use crate::server::{Place, Running, hours, question, subject_lines, wire_time};

pub const YEAR_9999: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 253_385_000_000,
    nanos: 0,
};

fn within(constraints: wire::SendConstraints) -> wire::DecideRequest {
    wire::DecideRequest {
        constraints: Some(constraints),
        ..question("experiments/autumn", "ann")
    }
}

fn quiet(periods: &[(&str, &str)]) -> wire::DecideRequest {
    let period = |(start, end): &(&str, &str)| wire::QuietHours {
        start: (*start).into(),
        end: (*end).into(),
    };
    within(wire::SendConstraints {
        quiet_hours: periods.iter().map(period).collect(),
        ..Default::default()
    })
}

fn bad_questions() -> Vec<(wire::DecideRequest, Expected<'static>)> {
    let long = "x".repeat(257);
    let base = || question("experiments/autumn", "ann");
    vec![
        (
            wire::DecideRequest::default(),
            bad_fields(&["experiment", "recipient_id"]),
        ),
        (question("autumn", "ann"), bad_fields(&["experiment"])),
        (
            question("experiments/absent", "ann"),
            refused(Code::NotFound, "EXPERIMENT_NOT_FOUND"),
        ),
        (
            question("experiments/draft", "ann"),
            refused(Code::FailedPrecondition, "EXPERIMENT_NOT_RUNNING"),
        ),
        (
            wire::DecideRequest {
                recipient_id: long.clone(),
                request_id: long.clone(),
                occasion: long,
                segment: "No Segment".into(),
                time_zone: "Mars/Olympus_Mons".into(),
                eligible_variants: vec!["plain".into(), "".into()],
                view: 77,
                ..base()
            },
            bad_fields(&[
                "recipient_id",
                "request_id",
                "occasion",
                "segment",
                "time_zone",
                "eligible_variants[1]",
                "view",
            ]),
        ),
        (
            wire::DecideRequest {
                segment: "vip".into(),
                eligible_variants: vec!["absent".into()],
                ..base()
            },
            bad_fields(&["segment", "eligible_variants[0]"]),
        ),
        (
            wire::DecideRequest {
                eligible_variants: vec!["plain".into(); 1_001],
                ..base()
            },
            bad_fields(&["eligible_variants"]),
        ),
        (
            quiet(&[("00:00", "12:00"), ("12:00", "00:00")]),
            bad_fields(&["constraints.quiet_hours"]),
        ),
        (
            quiet(&[("9:00", "25:00"), ("10:00", "10:00")]),
            bad_fields(&[
                "constraints.quiet_hours[0].start",
                "constraints.quiet_hours[0].end",
                "constraints.quiet_hours[1]",
            ]),
        ),
        (
            quiet(&[("01:00", "02:00"); 9]),
            bad_fields(&["constraints.quiet_hours"]),
        ),
    ]
}

fn bad_times(server: &Running) -> Vec<(wire::DecideRequest, Expected<'static>)> {
    let ahead = |hours| {
        Some(wire_time(
            server.clock.now() + SignedDuration::from_hours(hours),
        ))
    };
    let constraints = |earliest_time, deadline_time| {
        within(wire::SendConstraints {
            earliest_time,
            deadline_time,
            ..Default::default()
        })
    };
    let broken = Some(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: -1,
    });
    vec![
        (
            constraints(ahead(5), ahead(4)),
            bad_fields(&["constraints.deadline_time"]),
        ),
        (
            constraints(None, ahead(-1)),
            bad_fields(&["constraints.deadline_time"]),
        ),
        (
            constraints(ahead(1), ahead(722)),
            bad_fields(&["constraints.deadline_time"]),
        ),
        (
            constraints(ahead(721), None),
            bad_fields(&["constraints.earliest_time"]),
        ),
        (
            constraints(Some(YEAR_9999), None),
            bad_fields(&["constraints.earliest_time"]),
        ),
        (
            constraints(broken, broken),
            bad_fields(&["constraints.earliest_time", "constraints.deadline_time"]),
        ),
        (
            within(wire::SendConstraints {
                deadline_time: ahead(2),
                window: Some(hours(10_000)),
                blocked_dates: vec!["2026-02-30".into(), "2026-1-1".into()],
                frequency_cap: Some(wire::FrequencyCap {
                    max_sends: 0,
                    period: None,
                }),
                ..Default::default()
            }),
            bad_fields(&[
                "constraints.window",
                "constraints.window",
                "constraints.blocked_dates[0]",
                "constraints.blocked_dates[1]",
                "constraints.frequency_cap.max_sends",
                "constraints.frequency_cap.period",
            ]),
        ),
    ]
}

pub async fn start() -> Running {
    let server = Place::in_memory().start().await;
    server.running("autumn", subject_lines()).await;
    let draft = wire::CreateExperimentRequest {
        experiment_id: "draft".into(),
        experiment: Some(subject_lines()),
        ..Default::default()
    };
    server
        .experiments
        .clone()
        .create_experiment(draft)
        .await
        .unwrap();
    server
}

#[tokio::test]
async fn bad_questions_are_refused_with_all_bad_fields_at_once() {
    let server = start().await;
    let mut decisions = server.decisions.clone();
    for (at, (request, expected)) in bad_questions()
        .into_iter()
        .chain(bad_times(&server))
        .enumerate()
    {
        let what = format!("question {at}");
        match decisions.decide(request).await {
            Err(status) => assert_refused(&what, &status, &expected),
            Ok(answer) => panic!("{what} was answered: {answer:?}"),
        }
    }
    assert!(
        server
            .decide(question("experiments/autumn", "ann"))
            .await
            .send
    );
    server.stop().await;
}

#[tokio::test]
async fn bad_questions_for_a_variant_or_a_time_are_refused() {
    let server = start().await;
    let mut decisions = server.decisions.clone();
    for ahead in [-25, 721] {
        let request = wire::ChooseVariantRequest {
            send_time: Some(wire_time(
                server.clock.now() + SignedDuration::from_hours(ahead),
            )),
            view: -1,
            ..Default::default()
        };
        let status = decisions.choose_variant(request).await.unwrap_err();
        let expected = bad_fields(&["experiment", "send_time", "recipient_id", "view"]);
        assert_refused("choose", &status, &expected);
    }
    let request = wire::PredictSendTimeRequest {
        experiment: "experiments/".into(),
        time_zone: "x".repeat(1 << 20),
        goal: 3,
        ..Default::default()
    };
    let status = decisions.predict_send_time(request).await.unwrap_err();
    let expected = bad_fields(&["experiment", "goal", "recipient_id", "time_zone"]);
    assert_refused("predict", &status, &expected);
    let request = wire::PredictSendTimeRequest {
        recipient_id: "ann".into(),
        constraints: Some(wire::SendConstraints {
            earliest_time: Some(YEAR_9999),
            ..Default::default()
        }),
        ..Default::default()
    };
    let status = decisions.predict_send_time(request).await.unwrap_err();
    assert_refused(
        "year 9999",
        &status,
        &bad_fields(&["constraints.earliest_time"]),
    );
    server.stop().await;
}

#[tokio::test]
async fn bad_recipients_are_refused_with_all_bad_fields_at_once() {
    let server = start().await;
    let mut recipients = server.recipients.clone();
    let get = |recipient_id: String| wire::GetRecipientRequest { recipient_id };
    let status = recipients
        .get_recipient(get("nobody".into()))
        .await
        .unwrap_err();
    assert_refused(
        "nobody",
        &status,
        &refused(Code::NotFound, "RECIPIENT_NOT_FOUND"),
    );
    for id in [String::new(), "x".repeat(257)] {
        let status = recipients.get_recipient(get(id.clone())).await.unwrap_err();
        assert_refused("get", &status, &bad_fields(&["recipient_id"]));
        let export = wire::ExportRecipientRequest {
            recipient_id: id.clone(),
        };
        let status = recipients.export_recipient(export).await.unwrap_err();
        assert_refused("export", &status, &bad_fields(&["recipient_id"]));
        let erase = wire::EraseRecipientRequest { recipient_id: id };
        let status = recipients.erase_recipient(erase).await.unwrap_err();
        assert_refused("erase", &status, &bad_fields(&["recipient_id"]));
    }
    let status = recipients
        .update_recipient(wire::UpdateRecipientRequest::default())
        .await;
    assert_refused(
        "empty",
        &status.unwrap_err(),
        &bad_fields(&["recipient_id", "update_mask"]),
    );
    let update = wire::UpdateRecipientRequest {
        recipient_id: "ann".into(),
        recipient: Some(wire::Recipient {
            time_zone: "Europe/Atlantis".into(),
            segments: vec!["ok".into(), "NOT OK".into()],
            consent: Some(wire::Consent {
                timing: 9,
                content: -1,
                source: "x".repeat(257),
                consent_time: Some(prost_types::Timestamp {
                    seconds: i64::MIN,
                    nanos: 0,
                }),
            }),
            suppression: 44,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["*".into(), "touches".into()],
        }),
    };
    let status = recipients.update_recipient(update).await.unwrap_err();
    let expected = bad_fields(&[
        "recipient.time_zone",
        "recipient.segments[1]",
        "recipient.consent.timing",
        "recipient.consent.content",
        "recipient.consent.source",
        "recipient.consent.consent_time",
        "recipient.suppression",
        "update_mask",
    ]);
    assert_refused("update", &status, &expected);
    server.stop().await;
}
