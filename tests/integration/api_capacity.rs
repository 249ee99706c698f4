//! The sender's capacity: no hour gets more mails than it may, whoever asks at the same time, also after a restart.
use std::collections::BTreeMap;

use hermod::app::Clock as _;
use hermod::grpc::wire::{self, DoNotSendReason};

use crate::server::{Place, Running, hours, instant, question, subject_lines};

const PER_HOUR: i64 = 7;

fn throttled(warm_up: Option<wire::WarmUp>) -> wire::Experiment {
    wire::Experiment {
        sender_capacity: Some(wire::SenderCapacity {
            sends_per_hour: PER_HOUR,
            warm_up,
        }),
        ..subject_lines()
    }
}

fn within(hours_after_now: i64, request: wire::DecideRequest) -> wire::DecideRequest {
    wire::DecideRequest {
        constraints: Some(wire::SendConstraints {
            window: Some(hours(hours_after_now)),
            ..Default::default()
        }),
        ..request
    }
}

/// Asks for many recipients at once and counts by hour since 1970.
async fn by_hour(
    server: &Running,
    name: &str,
    people: std::ops::Range<usize>,
) -> BTreeMap<i64, i64> {
    let asked = people.map(|person| {
        let request = within(5, question(name, &format!("person-{person}")));
        async move { server.decide(request).await }
    });
    let mut counts = BTreeMap::new();
    for decision in futures_util::future::join_all(asked).await {
        if decision.send {
            let hour = instant(decision.send_time).as_second().div_euclid(3_600);
            *counts.entry(hour).or_default() += 1;
        } else {
            assert_eq!(decision.do_not_send_reason(), DoNotSendReason::CapacityFull);
            *counts.entry(-1).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn no_hour_gets_more_than_the_capacity_and_the_rest_is_told_so() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", throttled(None)).await;
    let counts = by_hour(&server, &name, 0..60).await;
    let refused = counts.get(&-1).copied().unwrap_or(0);
    let hours: Vec<i64> = counts
        .iter()
        .filter(|(hour, _)| **hour >= 0)
        .map(|(_, count)| *count)
        .collect();
    assert!(hours.iter().all(|count| *count <= PER_HOUR), "{counts:?}");
    assert!(hours.len() >= 5, "{counts:?}");
    // Only where all hours are full is anybody refused.
    assert!(
        refused > 0 && hours.iter().all(|count| *count == PER_HOUR),
        "{counts:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_warm_up_starts_low_and_grows_by_the_day() {
    let server = Place::in_memory().start().await;
    let warm_up = wire::WarmUp {
        initial_sends_per_hour: 2,
        daily_growth: Some(2.0),
    };
    let name = server.running("autumn", throttled(Some(warm_up))).await;
    let largest = |counts: &BTreeMap<i64, i64>| {
        let hours = counts.iter().filter(|(hour, _)| **hour >= 0);
        hours.map(|(_, count)| *count).max()
    };
    assert_eq!(largest(&by_hour(&server, &name, 0..40).await), Some(2));
    server.pass_hours(24);
    assert_eq!(largest(&by_hour(&server, &name, 100..140).await), Some(4));
    server.pass_hours(48);
    assert_eq!(largest(&by_hour(&server, &name, 200..260).await), Some(7));
    server.stop().await;
}

#[tokio::test]
async fn places_are_still_taken_after_a_restart_and_a_retry_takes_none() {
    let place = Place::on_disk();
    let server = place.start().await;
    let name = server.running("autumn", throttled(None)).await;
    let request = wire::DecideRequest {
        request_id: "once".into(),
        ..within(1, question(&name, "ann"))
    };
    let first = server.decide(request.clone()).await;
    for _ in 0..20 {
        assert_eq!(
            server.decide(request.clone()).await.send_time,
            first.send_time
        );
    }
    let before = by_hour(&server, &name, 0..20).await;
    let now = server.clock.now();
    server.stop().await;
    let server = place.start().await;
    server.clock.set(now);
    let after = by_hour(&server, &name, 100..200).await;
    let mut sum = before;
    after
        .iter()
        .for_each(|(hour, count)| *sum.entry(*hour).or_default() += count);
    let first_hour = instant(first.send_time).as_second().div_euclid(3_600);
    *sum.entry(first_hour).or_default() += 1;
    sum.remove(&-1);
    assert!(sum.values().all(|count| *count == PER_HOUR), "{sum:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_transactional_mail_leaves_though_its_hour_is_full() {
    let server = Place::in_memory().start().await;
    let name = server.running("autumn", throttled(None)).await;
    by_hour(&server, &name, 0..60).await;
    let receipt = wire::DecideRequest {
        constraints: Some(wire::SendConstraints {
            transactional: true,
            ..Default::default()
        }),
        ..question(&name, "receipt")
    };
    let decision = server.decide(receipt).await;
    assert!(decision.send);
    assert_eq!(instant(decision.send_time), server.clock.now());
    server.stop().await;
}
