//! Retention on a virtual clock: what goes when, what never goes, and that no sum and no promise changes by it.

use hermod::app::{RecipientChange, ReportOutcome};
use hermod::domain::cell::Cell;
use hermod::domain::event::EventKind;
use hermod::domain::recipient::{ConsentLevel, DoNotSend, Recipient, Suppression};
use hermod::store::records;
use jiff::SignedDuration;

use crate::tenants::World;
use crate::tenants::player::Player;

async fn begun(world: &World) -> Player {
    let mut player = Player::new(world.app.tenant("acme").await.unwrap(), 1);
    player.begin(&world.app, 1).await;
    player
}

async fn days(world: &World, days: i64) {
    world.advance(SignedDuration::from_hours(24 * days)).await;
}

async fn people(world: &World) -> Vec<Recipient> {
    let rows = world.rows(b"r").await.into_iter();
    rows.map(|(_, value)| records::decode(&value).unwrap())
        .collect()
}

/// Trials and clicks over all cells of the store.
async fn counted(world: &World) -> (f64, f64) {
    let rows = world.rows(b"c").await.into_iter();
    let cells = rows.map(|(_, value)| records::decode::<Cell>(&value).unwrap());
    cells.fold((0.0, 0.0), |(trials, clicks), cell| {
        (trials + cell.click.trials, clicks + cell.click.successes)
    })
}

#[tokio::test]
async fn a_recipient_goes_after_thirteen_months_and_what_was_counted_stays() {
    let world = World::new().await;
    let acme = begun(&world).await;
    for person in ["ann", "bob"] {
        let decided = acme.decide(&world.app, person, true).await;
        let clicked = acme.event(&world.app, &decided.decision_id, EventKind::Clicked);
        assert_eq!(clicked.await.unwrap(), ReportOutcome::Counted);
    }
    world.advance(SignedDuration::from_hours(2)).await;
    let before = counted(&world).await;
    assert_eq!(before.1, 2.0);
    days(&world, 31).await;
    assert_eq!(world.app.retention_statistics().touches, 2);
    assert!(
        people(&world)
            .await
            .iter()
            .all(|one| one.touches.is_empty())
    );
    days(&world, 300).await;
    acme.activity(&world.app, "bob").await.unwrap();
    days(&world, 65).await;
    let statistics = world.app.retention_statistics();
    assert_eq!((statistics.recipients, statistics.reduced), (1, 0));
    let now_ms = world.app.now().as_millisecond();
    assert_eq!(statistics.finished_at_ms, Some(now_ms));
    assert!(world.app.recipient(acme.tenant, "ann").await.is_err());
    assert!(world.app.recipient(acme.tenant, "bob").await.is_ok());
    assert_eq!(world.app.recipients_kept(acme.tenant), 1);
    assert_eq!(counted(&world).await, before);
}

#[tokio::test]
async fn an_event_after_its_touch_was_cleaned_counts_nothing_and_begins_no_record() {
    let world = World::new().await;
    let acme = begun(&world).await;
    let decided = acme.decide(&world.app, "ann", true).await;
    world.advance(SignedDuration::from_hours(2)).await;
    let before = counted(&world).await;
    for gone in [31, 400] {
        days(&world, gone).await;
        let late = acme.event(&world.app, &decided.decision_id, EventKind::Clicked);
        assert_eq!(late.await.unwrap(), ReportOutcome::TooLate);
        assert_eq!(counted(&world).await, before);
    }
    assert_eq!(people(&world).await, []);
}

#[tokio::test]
async fn neither_an_unsubscription_nor_a_refusal_is_ever_forgotten() {
    let world = World::new().await;
    let acme = begun(&world).await;
    let decided = acme.decide(&world.app, "ann", true).await;
    let left = acme.event(&world.app, &decided.decision_id, EventKind::Unsubscribed);
    assert_eq!(left.await.unwrap(), ReportOutcome::Counted);
    let refusal = RecipientChange {
        timing: Some(Some(ConsentLevel::None)),
        content: Some(Some(ConsentLevel::None)),
        source: Some("letter".to_owned()),
        ..RecipientChange::default()
    };
    let refused = world.app.update_recipient(acme.tenant, "bob", &refusal);
    refused.await.unwrap();
    for _ in 0..3 {
        days(&world, 400).await;
    }
    let statistics = world.app.retention_statistics();
    assert_eq!((statistics.recipients, statistics.reduced), (0, 1));
    let ann = world.app.recipient(acme.tenant, "ann").await.unwrap();
    let ann = ann.recipient;
    assert_eq!(ann.suppression, Some(Suppression::Unsubscribed));
    let nothing = Recipient {
        created_at_ms: ann.created_at_ms,
        updated_at_ms: ann.updated_at_ms,
        suppression: ann.suppression,
        ..Recipient::default()
    };
    assert_eq!(ann, nothing);
    let decided = acme.decide(&world.app, "ann", true).await;
    assert_eq!(decided.answer.err(), Some(DoNotSend::Suppressed));
    let bob = world.app.recipient(acme.tenant, "bob").await.unwrap();
    assert_eq!(bob.allowed.content, ConsentLevel::None);
    assert_eq!(bob.recipient.consent.source, "letter");
}

#[tokio::test]
async fn a_pass_takes_as_many_runs_as_it_needs_and_begins_once_a_day() {
    let world = World::new().await;
    let acme = begun(&world).await;
    for person in 0..5_100 {
        let change = RecipientChange::default();
        let person = person.to_string();
        let made = world.app.update_recipient(acme.tenant, &person, &change);
        made.await.unwrap();
    }
    days(&world, 400).await;
    let first = world.app.retention_statistics();
    assert_eq!((first.recipients, first.finished_at_ms), (5_000, None));
    world.advance(SignedDuration::from_secs(5)).await;
    let second = world.app.retention_statistics();
    assert_eq!(second.recipients, 5_100);
    assert!(second.finished_at_ms.is_some());
    assert_eq!(people(&world).await, []);
    world.advance(SignedDuration::from_hours(1)).await;
    assert_eq!(world.app.retention_statistics(), second);
}
