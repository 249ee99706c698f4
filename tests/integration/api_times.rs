//! Send times: inside what the caller allows, in the recipient's own zone, and never delayed where delay does harm.
use hermod::app::Clock as _;
use hermod::grpc::wire::{self, DoNotSendReason, TimeZoneSource};
use jiff::{SignedDuration, Timestamp};

use crate::server::{Place, Running, hours, instant, question, subject_lines, wire_time};

fn allowed(
    constraints: wire::SendConstraints,
    request: wire::DecideRequest,
) -> wire::DecideRequest {
    wire::DecideRequest {
        constraints: Some(constraints),
        ..request
    }
}

fn quiet(start: &str, end: &str) -> wire::SendConstraints {
    wire::SendConstraints {
        quiet_hours: vec![wire::QuietHours {
            start: start.into(),
            end: end.into(),
        }],
        ..Default::default()
    }
}

async fn predict(
    server: &Running,
    request: wire::PredictSendTimeRequest,
) -> wire::PredictSendTimeResponse {
    let answer = server.decisions.clone().predict_send_time(request).await;
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn quiet_hours_are_kept_in_the_recipients_zone() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    for (person, zone) in [
        "Asia/Tokyo",
        "America/New_York",
        "Europe/Berlin",
        "Australia/Lord_Howe",
    ]
    .into_iter()
    .enumerate()
    {
        let request = wire::DecideRequest {
            time_zone: zone.into(),
            ..question(&name, &format!("person-{person}"))
        };
        let decision = server
            .decide(allowed(quiet("12:00", "09:00"), request))
            .await;
        let at = instant(decision.send_time).in_tz(zone).unwrap();
        assert!((9..12).contains(&at.hour()), "{at}");
        let explanation = decision.send_time_explanation.unwrap();
        assert_eq!(explanation.local_hour, i32::from(at.hour()));
        assert_eq!(explanation.time_zone_source(), TimeZoneSource::Request);
    }
    server.stop().await;
}

#[tokio::test]
async fn no_allowed_time_before_the_deadline_is_do_not_send() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let now = server.clock.now();
    let constraints = wire::SendConstraints {
        deadline_time: Some(wire_time(now + SignedDuration::from_hours(2))),
        ..quiet("09:00", "15:00")
    };
    let answer = server
        .decide(allowed(constraints, question(&name, "ann")))
        .await;
    assert_eq!(
        (answer.send, answer.do_not_send_reason()),
        (false, DoNotSendReason::NoAllowedTime)
    );
    assert!(answer.variant.is_empty() && answer.decision_id.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_time_is_between_the_earliest_and_the_deadline() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    let now = server.clock.now();
    let window = |from: i64, to: i64| {
        let at = |h| now + SignedDuration::from_hours(h);
        (at(from), at(to))
    };
    for (person, (earliest, deadline)) in [
        window(1, 2),
        window(3, 30),
        window(700, 719),
        window(0, 720),
    ]
    .into_iter()
    .enumerate()
    {
        let constraints = wire::SendConstraints {
            earliest_time: Some(wire_time(earliest)),
            deadline_time: Some(wire_time(deadline)),
            ..Default::default()
        };
        let request = question(&name, &format!("person-{person}"));
        let decision = server.decide(allowed(constraints, request)).await;
        let at = instant(decision.send_time);
        assert!(
            (earliest..=deadline).contains(&at),
            "{earliest} {at} {deadline}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_transactional_mail_leaves_at_once_whatever_the_hour_and_the_cap() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", subject_lines()).await;
    server.choose(&name, "ann").await;
    let receipts = server.running("receipts", subject_lines()).await;
    let constraints = wire::SendConstraints {
        transactional: true,
        frequency_cap: Some(wire::FrequencyCap {
            max_sends: 1,
            period: Some(hours(24)),
        }),
        ..quiet("09:00", "15:00")
    };
    let decision = server
        .decide(allowed(constraints.clone(), question(&receipts, "ann")))
        .await;
    assert_eq!(instant(decision.send_time), server.clock.now());
    assert!(decision.send_time_explanation.unwrap().transactional);
    let request = wire::PredictSendTimeRequest {
        recipient_id: "ann".into(),
        constraints: Some(constraints),
        ..Default::default()
    };
    let predicted = predict(&server, request).await;
    assert_eq!(instant(predicted.send_time), server.clock.now());
    server.stop().await;
}

#[tokio::test]
async fn the_zone_is_the_requests_then_the_recipients_then_the_servers() {
    let mut place = Place::in_memory();
    place.config.decisions.default_time_zone = "Europe/Lisbon".into();
    let server = place.start().await;
    let ask = |zone: &str| wire::PredictSendTimeRequest {
        recipient_id: "ann".into(),
        time_zone: zone.into(),
        ..Default::default()
    };
    let source = |answer: wire::PredictSendTimeResponse| {
        let explanation = answer.explanation.unwrap();
        let source = explanation.time_zone_source();
        (explanation.time_zone, source)
    };
    let unknown = source(predict(&server, ask("")).await);
    assert_eq!(unknown, ("Europe/Lisbon".into(), TimeZoneSource::Default));
    let stored = wire::Recipient {
        time_zone: "asia/tokyo".into(),
        ..Default::default()
    };
    server.update("ann", stored, "time_zone").await;
    let stored = source(predict(&server, ask("")).await);
    assert_eq!(stored, ("Asia/Tokyo".into(), TimeZoneSource::Recipient));
    let asked = source(predict(&server, ask("America/Lima")).await);
    assert_eq!(asked, ("America/Lima".into(), TimeZoneSource::Request));
    assert_eq!(server.recipient("ann").await.time_zone, "Asia/Tokyo");
    server.stop().await;
}

#[tokio::test]
async fn a_prediction_says_how_long_the_mail_waits_and_records_nothing() {
    let server = Place::in_memory().start().await;
    let request = wire::PredictSendTimeRequest {
        recipient_id: "ann".into(),
        ..Default::default()
    };
    let answer = predict(&server, request).await;
    let delay = answer.delay.unwrap().seconds;
    let at: Timestamp = instant(answer.send_time);
    assert_eq!(at.duration_since(server.clock.now()).as_secs(), delay);
    assert!((0..=86_400).contains(&delay));
    let get = wire::GetRecipientRequest {
        recipient_id: "ann".into(),
    };
    let missing = server.recipients.clone().get_recipient(get).await;
    assert_eq!(missing.unwrap_err().code(), tonic::Code::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn experiment_defaults_hold_unless_the_request_says_otherwise() {
    let server = Place::in_memory().start().await;
    let experiment = wire::Experiment {
        send_defaults: Some(quiet("10:00", "20:00")),
        ..subject_lines()
    };
    let name = server.running("autumn", experiment).await;
    let by_default = server.decide(question(&name, "ann")).await;
    let hour = instant(by_default.send_time).in_tz("UTC").unwrap().hour();
    assert!(!(10..20).contains(&hour), "{hour}");
    let own = allowed(quiet("13:00", "11:00"), question(&name, "bob"));
    let asked = server.decide(own).await;
    let hour = instant(asked.send_time).in_tz("UTC").unwrap().hour();
    assert!((11..13).contains(&hour), "{hour}");
    server.stop().await;
}
