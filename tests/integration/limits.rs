//! Limits on what one tenant can make the server keep: what is answered once they are reached, and that they count right.

use hermod::app::{AppSettings, Kind, LimitSettings, RecipientChange};
use hermod::domain::decide::Reason;
use hermod::domain::name::TenantId;
use hermod::store::records::key;
use hermod::store::{Batch, Change, Engine, Partition};
use jiff::SignedDuration;

use crate::tenants::player::Player;
use crate::tenants::{World, settings};

fn few(recipients_max: u64) -> AppSettings {
    let limits = LimitSettings {
        recipients_max,
        ..LimitSettings::default()
    };
    AppSettings {
        limits,
        ..settings()
    }
}

async fn player(world: &World, name: &str) -> Player {
    let mut player = Player::new(world.app.tenant(name).await.unwrap(), 1);
    player.begin(&world.app, 1).await;
    player
}

fn reason(decided: &hermod::app::Decided) -> Reason {
    decided.answer.as_ref().unwrap().basis.reason
}

#[tokio::test]
async fn beyond_the_limit_a_new_recipient_is_answered_and_not_recorded() {
    let world = World::with(few(3)).await;
    let (acme, globex) = (player(&world, "acme").await, player(&world, "globex").await);
    for person in ["ann", "bob", "cid"] {
        let decided = acme.decide(&world.app, person, true).await;
        assert!(!decided.decision_id.is_empty());
    }
    let fourth = acme.decide(&world.app, "dan", true).await;
    assert_eq!(reason(&fourth), Reason::RecipientLimit);
    assert_eq!(fourth.decision_id, "");
    let nothing = world.app.recipient(acme.tenant, "dan").await.unwrap_err();
    assert_eq!(nothing.kind, Kind::NotFound);
    // Those who are known go on as before, and so does everybody else's tenant.
    let again = acme.decide(&world.app, "bob", true).await;
    assert!(again.repeated);
    let other = globex.decide(&world.app, "dan", true).await;
    assert!(!other.decision_id.is_empty());
    let kept = [acme.tenant, globex.tenant].map(|tenant| world.app.recipients_kept(tenant));
    assert_eq!(kept, [3, 1]);
}

#[tokio::test]
async fn beyond_the_limit_nothing_else_begins_a_record_either() {
    let world = World::with(few(1)).await;
    let acme = player(&world, "acme").await;
    acme.decide(&world.app, "ann", true).await;
    let change = RecipientChange::default();
    let refused = world.app.update_recipient(acme.tenant, "bob", &change);
    let refused = refused.await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.reason),
        (Kind::ResourceExhausted, "TOO_MANY_RECIPIENTS")
    );
    let refused = acme.activity(&world.app, "bob").await.unwrap_err();
    assert_eq!(refused.reason, "TOO_MANY_RECIPIENTS");
    acme.activity(&world.app, "ann").await.unwrap();
    let known = world.app.update_recipient(acme.tenant, "ann", &change);
    known.await.unwrap();
    assert_eq!(world.rows(b"r").await.len(), 1);
}

#[tokio::test]
async fn the_count_survives_restarts_and_is_made_again_where_it_is_missing_or_damaged() {
    let world = World::new().await;
    let acme = player(&world, "acme").await;
    for person in 0..20 {
        acme.decide(&world.app, &person.to_string(), true).await;
    }
    world.app.erase_recipient(acme.tenant, "7").await.unwrap();
    let reopened = World::open(world.engine.clone(), settings()).await;
    assert_eq!(reopened.app.recipients_kept(acme.tenant), 20);
    let change = |partition: u16| match partition {
        0 => Change::Put {
            key: key::recipient_count(acme.tenant),
            value: b"damaged".to_vec(),
            expected: None,
        },
        _ => Change::Delete {
            key: key::recipient_count(acme.tenant),
            expected: None,
        },
    };
    for partition in [0, 2] {
        let changes = vec![change(partition)];
        let batch = Batch { changes };
        world
            .engine
            .commit(Partition(partition), batch)
            .await
            .unwrap();
    }
    // The damage is reported, so the world's own opening would refuse it.
    let settings = settings();
    let keys = hermod::app::AppKeys {
        recipient: [7; 32],
        tokens: hermod::domain::token::TokenKeys::new(
            hermod::domain::token::TokenKey {
                id: 1,
                secret: [7; 32],
            },
            Vec::new(),
        ),
    };
    let seed = hermod::domain::draws::Seed::from_number(5);
    let opened = hermod::app::App::open(
        world.engine.clone(),
        world.clock.clone(),
        keys,
        seed,
        settings,
    );
    let (app, report) = opened.await.unwrap();
    assert_eq!(report.unreadable.len(), 1);
    assert_eq!(app.recipients_kept(acme.tenant), 20);
    let healed = World::open(world.engine.clone(), crate::tenants::settings()).await;
    assert_eq!(healed.app.recipients_kept(acme.tenant), 20);
    assert_eq!(healed.app.recipients_kept(TenantId::DEFAULT), 0);
    assert_eq!(healed.app.recipients_kept_in_all(), 20);
}

#[tokio::test]
async fn an_erasure_frees_its_place_once_its_mark_is_past_its_time() {
    let world = World::with(few(1)).await;
    let acme = player(&world, "acme").await;
    acme.decide(&world.app, "ann", true).await;
    world.app.erase_recipient(acme.tenant, "ann").await.unwrap();
    let bob = acme.decide(&world.app, "bob", true).await;
    assert_eq!(reason(&bob), Reason::RecipientLimit);
    world.advance(SignedDuration::from_hours(61 * 24)).await;
    assert_eq!(world.app.retention_statistics().erasures, 1);
    let bob = acme.decide(&world.app, "bob", true).await;
    assert!(!bob.decision_id.is_empty());
    assert_eq!(world.app.recipients_kept(acme.tenant), 1);
}

#[tokio::test]
async fn a_log_that_has_taken_its_bytes_of_the_day_leaves_decisions_recorded_and_goes_on_the_next_day()
 {
    let limits = LimitSettings {
        decision_log_bytes_per_day_max: 2_000,
        ..LimitSettings::default()
    };
    let world = World::with(AppSettings {
        limits,
        ..settings()
    })
    .await;
    let (acme, globex) = (player(&world, "acme").await, player(&world, "globex").await);
    for person in 0..60 {
        let decided = acme.decide(&world.app, &person.to_string(), true).await;
        assert!(!decided.decision_id.is_empty());
    }
    let logged = world.rows(b"d").await.len();
    assert!((1..30).contains(&logged), "{logged}");
    assert_eq!(world.app.recipients_kept(acme.tenant), 60);
    globex.decide(&world.app, "ann", true).await;
    assert_eq!(world.rows(b"d").await.len(), logged + 1);
    world.advance(SignedDuration::from_hours(24)).await;
    acme.decide(&world.app, "someone new", true).await;
    assert_eq!(world.rows(b"d").await.len(), logged + 2);
}
