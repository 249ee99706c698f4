//! The decision log: any decision can be made again bit for bit, damage is found, and what must be forgotten is.
use hermod::app::{Constraints, DecideRequest, DecisionLogSettings, RecipientChange, ReplayTarget};
use hermod::domain::decision_log::{LoggedDecision, LoggedOutcome, LoggedVerdict};
use hermod::domain::event::EventKind;
use hermod::domain::name::TenantId;
use hermod::domain::policy::Policy;
use hermod::domain::recipient::{Answer, ConsentLevel};
use hermod::store::records::{self, key};
use hermod::store::{Stored, envelope};
use jiff::SignedDuration;

mod world;

use world::{World, lived_world, settings, world};

#[tokio::test]
async fn thousands_of_random_decisions_come_out_alike_to_the_last_bit() {
    let (world, decided) = lived_world().await;
    let summary = world.replay_all().await;
    assert!(summary.is_equal(), "{summary:?}");
    assert!(summary.replayed > 2_800, "{summary:?}");
    let kinds = |of: fn(&LoggedDecision) -> bool| {
        let entries = world.log(key::DECISIONS);
        let decode = |stored: &Stored| records::decode::<LoggedDecision>(&stored.value).unwrap();
        entries
            .iter()
            .filter(|(_, _, stored)| of(&decode(stored)))
            .count()
    };
    // The log holds what makes decisions differ, so that the comparison means something.
    assert!(kinds(|logged| matches!(logged.outcome, LoggedVerdict::DoNotSend(_))) > 50);
    assert!(kinds(|logged| logged.inputs.activity.is_some()) > 50);
    assert!(kinds(|logged| logged.inputs.eligible.is_some()) > 300);
    assert!(kinds(|logged| !logged.inputs.mails.is_empty()) > 50);
    let ids = decided
        .iter()
        .filter(|decided| !decided.decision_id.is_empty());
    for decided in ids.step_by(97) {
        let replayed = world
            .app
            .replay(TenantId::DEFAULT, &decided.decision_id)
            .await;
        assert!(replayed.unwrap().is_equal());
    }
}

#[tokio::test]
async fn a_sample_is_replayed_the_same_each_time() {
    let (world, _) = lived_world().await;
    let target = ReplayTarget::Sample(100);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let summary = world
        .app
        .replay_log(None, target, |replayed| first.push(replayed.at))
        .await;
    world
        .app
        .replay_log(None, target, |replayed| second.push(replayed.at))
        .await
        .unwrap();
    assert_eq!((first.len(), summary.unwrap().equal), (100, 100));
    assert_eq!(first, second);
}

#[tokio::test]
async fn every_flipped_bit_of_an_entry_or_of_what_it_rests_on_is_found() {
    let mut world = world(DecisionLogSettings::default()).await;
    let experiment = world.experiment("test", settings(Policy::Thompson)).await;
    while world.log(key::DECISIONS).len() < 3 {
        world.play(&experiment).await;
    }
    assert!(world.replay_all().await.is_equal());
    for prefix in [key::DECISIONS, key::GROUNDS] {
        for (partition, key, stored) in world.log(prefix) {
            for bit in (0..stored.value.len() * 8).step_by(13) {
                let mut damaged = stored.value.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                world.put(partition, &key, &damaged);
                assert!(
                    !world
                        .app
                        .replay_log(None, ReplayTarget::All, |_| {})
                        .await
                        .unwrap()
                        .is_equal()
                );
            }
            world.put(partition, &key, &stored.value);
        }
    }
    assert!(world.replay_all().await.is_equal());
}

#[tokio::test]
async fn a_forged_entry_whose_checksum_fits_is_found_and_named() {
    let mut world = world(DecisionLogSettings::default()).await;
    let experiment = world.experiment("test", settings(Policy::Thompson)).await;
    let decided = loop {
        let decided = world.play(&experiment).await;
        if !decided.decision_id.is_empty() {
            break decided;
        }
    };
    for (partition, key, stored) in world.log(key::DECISIONS) {
        let mut logged: LoggedDecision = records::decode(&stored.value).unwrap();
        if let LoggedVerdict::Send {
            answer: Answer::Send { propensity, .. },
            ..
        } = &mut logged.outcome
        {
            *propensity = f64::from_bits(propensity.to_bits() ^ 1);
        }
        world.put(partition, &key, &records::encode(&logged).unwrap());
    }
    let replayed = world
        .app
        .replay(TenantId::DEFAULT, &decided.decision_id)
        .await
        .unwrap();
    let different = replayed
        .comparisons
        .iter()
        .filter(|comparison| !comparison.equal);
    let fields: Vec<&str> = different.map(|comparison| comparison.field).collect();
    assert_eq!(fields, ["propensity"]);
    // A table with another probability has another name, so its entries say that it is not theirs.
    for (partition, key, stored) in world.log(key::GROUNDS) {
        let opened = envelope::open(&stored.value).unwrap();
        let mut payload = opened.payload.to_vec();
        let last = payload.len() - 1;
        payload[last] ^= 1;
        world.put(
            partition,
            &key,
            &envelope::seal(opened.kind, opened.version, &payload),
        );
    }
    let replayed = world
        .app
        .replay(TenantId::DEFAULT, &decided.decision_id)
        .await
        .unwrap();
    assert!(
        replayed.problem.contains("content of its name"),
        "{replayed:?}"
    );
}

#[tokio::test]
async fn outcomes_follow_the_events_of_a_decision() {
    let mut world = world(DecisionLogSettings::default()).await;
    let experiment = world.experiment("test", settings(Policy::Uniform)).await;
    let mut request = world.any_request(&experiment);
    request.send_at = Some(world.app.now());
    request.constraints = Constraints::default();
    let decided = world.app.decide(&request).await.unwrap();
    assert!(world.log(key::OUTCOMES).is_empty());
    let at = world.app.now();
    for kind in [
        EventKind::Sent,
        EventKind::Opened,
        EventKind::Clicked,
        EventKind::Converted,
    ] {
        world.report(&decided.decision_id, kind, at).await;
    }
    let rows = world.log(key::OUTCOMES);
    let outcome: LoggedOutcome = records::decode(&rows[0].2.value).unwrap();
    assert_eq!(
        (rows.len(), outcome.open, outcome.click, outcome.value),
        (1, 0.75, 0.75, 3.5)
    );
    assert!(outcome.has(EventKind::Converted) && !outcome.has(EventKind::Bounced));
    let mut joined = Vec::new();
    let unreadable = world
        .app
        .each_logged(TenantId::DEFAULT, &experiment, |one| joined.push(one));
    assert!(unreadable.await.unwrap().is_empty());
    assert_eq!(joined[0].outcome, Some(outcome));
    assert_eq!(joined[0].table.as_ref().unwrap().probabilities, [0.25; 4]);
}

#[tokio::test]
async fn the_log_forgets_what_is_past_the_retention_and_nothing_else() {
    let mut world = world(DecisionLogSettings {
        enabled: true,
        retention_ms: 36 * 3_600_000,
    })
    .await;
    let experiment = world.experiment("test", settings(Policy::Thompson)).await;
    for _ in 0..6 {
        for _ in 0..50 {
            world.play(&experiment).await;
        }
        world.advance(SignedDuration::from_hours(12));
    }
    let until_ms = world.app.now().as_millisecond() - 36 * 3_600_000;
    let ages = |world: &World, prefix: &[u8]| {
        let rows = world.log(prefix);
        let at = |key: &[u8]| key::parse::logged(key).unwrap().decided_at_ms;
        rows.iter().map(|(_, key, _)| at(key)).collect::<Vec<i64>>()
    };
    let (before, old) = (
        ages(&world, key::DECISIONS).len(),
        ages(&world, key::DECISIONS),
    );
    let old = old.into_iter().filter(|at| *at < until_ms).count();
    assert_eq!(world.app.prune_decision_log().await.unwrap(), old);
    assert!(old > 50 && ages(&world, key::DECISIONS).len() == before - old);
    for prefix in [key::DECISIONS, key::OUTCOMES] {
        assert!(ages(&world, prefix).iter().all(|at| *at >= until_ms));
    }
    let days: Vec<i32> = world
        .rows(0, key::GROUNDS)
        .iter()
        .map(|(key, _)| key::parse::ground_day(key).unwrap())
        .collect();
    assert!(
        days.iter()
            .all(|day| i64::from(*day) >= until_ms.div_euclid(86_400_000))
    );
    let statistics = world.app.log_statistics();
    assert_eq!(statistics.expired, old as u64);
    assert!(statistics.oldest_at_ms.unwrap() >= until_ms && statistics.written_bytes > 1_000);
    // What remains can still be made again.
    assert!(world.replay_all().await.is_equal());
}

#[tokio::test]
async fn an_erased_person_and_one_who_withdraws_consent_leave_no_trace_in_the_log() {
    let (world, _) = lived_world().await;
    let of_person = |world: &World, person: &str| {
        let key = hermod::domain::name::RecipientKey::derive(&[7; 32], TenantId::DEFAULT, person);
        let rows = [key::DECISIONS, key::OUTCOMES]
            .map(|prefix| world.log(prefix))
            .concat();
        let holds = |value: &[u8]| value.windows(16).any(|window| window == key.0);
        rows.iter()
            .filter(|(_, _, stored)| holds(&stored.value))
            .count()
    };
    assert!(of_person(&world, "person-60") > 10 && of_person(&world, "person-61") > 10);
    let receipt = world
        .app
        .erase_recipient(TenantId::DEFAULT, "person-60")
        .await
        .unwrap();
    assert!(receipt.logged_decisions > 5, "{receipt:?}");
    assert_eq!(of_person(&world, "person-60"), 0);
    let change = RecipientChange {
        content: Some(Some(ConsentLevel::None)),
        ..RecipientChange::default()
    };
    let updated = world
        .app
        .update_recipient(TenantId::DEFAULT, "person-61", &change);
    updated.await.unwrap();
    assert_eq!(of_person(&world, "person-61"), 0);
    assert!(of_person(&world, "person-62") > 10);
    assert!(world.replay_all().await.is_equal());
}

#[tokio::test]
async fn nothing_is_logged_without_consent_or_when_the_log_is_off() {
    for (enabled, content) in [
        (false, ConsentLevel::Individual),
        (true, ConsentLevel::None),
    ] {
        let settings_of_log = DecisionLogSettings {
            enabled,
            ..DecisionLogSettings::default()
        };
        let mut world = world(settings_of_log).await;
        let experiment = world.experiment("test", settings(Policy::Thompson)).await;
        let change = RecipientChange {
            content: Some(Some(content)),
            ..RecipientChange::default()
        };
        let updated = world
            .app
            .update_recipient(TenantId::DEFAULT, "ann", &change);
        updated.await.unwrap();
        let request = DecideRequest {
            recipient_id: "ann".to_owned(),
            ..world.any_request(&experiment)
        };
        world.app.decide(&request).await.unwrap();
        assert!(world.log(key::DECISIONS).is_empty() && world.log(key::OUTCOMES).is_empty());
    }
}
