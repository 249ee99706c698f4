//! Consent, separately for timing and content, at all four levels of each: what is written, what is read, and what the answer says.

use hermod::app::{NewExperiment, RecipientChange, RecipientView, ReportOutcome};
use hermod::domain::civil::Zone;
use hermod::domain::decide::Reason;
use hermod::domain::decision_log::LoggedDecision;
use hermod::domain::event::EventKind;
use hermod::domain::experiment::{ExperimentKind, Settings};
use hermod::domain::recipient::{Answer, ConsentLevel, Recipient};
use hermod::domain::send_time::Level;
use hermod::domain::snapshot::ChoiceLevel;
use hermod::store::records::{self, key};
use jiff::SignedDuration;

use crate::tenants::World;
use crate::tenants::player::{Player, settings, slug};

const LEVELS: [ConsentLevel; 4] = [
    ConsentLevel::None,
    ConsentLevel::Aggregate,
    ConsentLevel::Segment,
    ConsentLevel::Individual,
];
const PERSON: &str = "ann@example.com";

/// A world with one experiment, in which Ann has a zone, a segment and these levels of consent.
async fn world(timing: ConsentLevel, content: ConsentLevel) -> (World, Player) {
    let world = World::new().await;
    let mut acme = Player::new(world.app.tenant("acme").await.unwrap(), 1);
    let id = slug("mail");
    let new = NewExperiment {
        tenant: acme.tenant,
        id: id.clone(),
        display_name: String::new(),
        variants: ["a", "b"].map(|v| (slug(v), String::new())).to_vec(),
        settings: Settings {
            holdout_share: 0.0,
            exploration_share: 0.0,
            daypart_start_hours: Vec::new(),
            ..settings(ExperimentKind::Campaign)
        },
        request_id: String::new(),
        validate_only: false,
    };
    world.app.create_experiment(new).await.unwrap();
    let started = world.app.start_experiment(acme.tenant, &id).await;
    started.unwrap();
    acme.experiments.push(id);
    consent(&world, &acme, timing, content).await;
    (world, acme)
}

async fn consent(
    world: &World,
    acme: &Player,
    timing: ConsentLevel,
    content: ConsentLevel,
) -> RecipientView {
    let change = RecipientChange {
        zone: Some(Some(Zone::parse("Europe/Berlin").unwrap())),
        segments: Some(vec!["loyal".to_owned()]),
        timing: Some(Some(timing)),
        content: Some(Some(content)),
        source: Some("form".to_owned()),
        ..RecipientChange::default()
    };
    let changed = world.app.update_recipient(acme.tenant, PERSON, &change);
    changed.await.unwrap()
}

/// A mail whose time is chosen, opened and clicked an hour after it left; and a visit to the site.
async fn mail(world: &World, acme: &Player, timing: ConsentLevel, content: ConsentLevel) {
    let said = format!("timing {timing:?}, content {content:?}");
    let decided = acme.decide(&world.app, PERSON, false).await;
    let answer = decided.answer.as_ref().unwrap();
    if content == ConsentLevel::None {
        assert_eq!(answer.basis.reason, Reason::NoConsent, "{said}");
        assert_eq!(decided.decision_id, "", "{said}");
    } else {
        assert_eq!(answer.basis.reason, Reason::Policy, "{said}");
        assert!(!decided.decision_id.is_empty(), "{said}");
    }
    let segment = if content >= ConsentLevel::Segment {
        2
    } else {
        0
    };
    assert_eq!(answer.segment, segment, "{said}");
    if content < ConsentLevel::Segment {
        assert_ne!(answer.basis.choice_level, ChoiceLevel::Segment, "{said}");
    }
    let time_level = answer.basis.time_level.unwrap();
    if timing < ConsentLevel::Individual {
        let own = [Level::Recipient, Level::Chronotype];
        assert!(!own.contains(&time_level), "{said}: {time_level:?}");
    }
    if timing < ConsentLevel::Segment {
        assert_ne!(time_level, Level::Segment, "{said}");
    }
    let wait = answer.send_at.duration_since(world.app.now());
    world.advance(wait + SignedDuration::from_hours(1)).await;
    for kind in [EventKind::Opened, EventKind::Clicked] {
        if content > ConsentLevel::None {
            let outcome = acme.event(&world.app, &decided.decision_id, kind).await;
            assert_eq!(outcome.unwrap(), ReportOutcome::Counted, "{said}");
        }
    }
    let outcome = acme.activity(&world.app, PERSON).await.unwrap();
    match timing {
        ConsentLevel::None => assert_eq!(outcome, ReportOutcome::NotAllowed, "{said}"),
        _ => assert_eq!(outcome, ReportOutcome::Counted, "{said}"),
    }
}

async fn ann(world: &World) -> Recipient {
    let rows = world.rows(key::RECIPIENTS).await;
    assert_eq!(rows.len(), 1);
    records::decode(&rows[0].1).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|found| found == text.as_bytes())
}

/// What the person's own records may hold at these levels, field by field and byte by byte.
async fn check_own(world: &World, timing: ConsentLevel, content: ConsentLevel) {
    let said = format!("timing {timing:?}, content {content:?}");
    let ann = ann(world).await;
    let is_personal = timing == ConsentLevel::Individual;
    let (nothing, is_recorded) = (Recipient::default(), content > ConsentLevel::None);
    assert!(is_personal || ann.activity == nothing.activity, "{said}");
    assert!(is_personal || ann.opens == nothing.opens, "{said}");
    let may_mark = timing > ConsentLevel::None;
    assert!(
        may_mark || ann.active_hours == nothing.active_hours,
        "{said}"
    );
    let uses_segments = timing.max(content) >= ConsentLevel::Segment;
    assert_eq!(!ann.segments.is_empty(), uses_segments, "{said}");
    assert_eq!(ann.touches.len(), usize::from(is_recorded), "{said}");
    for touch in &ann.touches {
        let Answer::Send { context, .. } = touch.answer else {
            panic!("{said}: a mail was sent");
        };
        let is_in_segment = content >= ConsentLevel::Segment;
        assert!(is_in_segment || context.segment == 0, "{said}");
        assert!(is_personal || !touch.exposure_recorded, "{said}");
        assert!(may_mark || !touch.everyone_recorded, "{said}");
        let hours = [touch.open, touch.click].map(|answer| answer.unwrap().local_hour_of_week);
        assert!(may_mark || hours == [0, 0], "{said}");
    }
    for prefix in [key::RECIPIENTS, key::DECISIONS, key::OUTCOMES] {
        for (key, value) in world.rows(prefix).await {
            assert!(uses_segments || !holds(&value, "loyal"), "{said}");
            assert!(!holds(&value, PERSON) && !holds(&key, PERSON), "{said}");
        }
    }
    for (_, value) in world.rows(key::DECISIONS).await {
        let logged: LoggedDecision = records::decode(&value).unwrap();
        assert!(is_recorded, "{said}");
        assert!(is_personal || logged.inputs.activity.is_none(), "{said}");
    }
    assert!(is_recorded || world.rows(key::OUTCOMES).await.is_empty());
}

#[tokio::test]
async fn every_level_writes_and_reads_what_it_allows_and_nothing_more() {
    for timing in LEVELS {
        for content in LEVELS {
            let said = format!("timing {timing:?}, content {content:?}");
            let (world, acme) = world(timing, content).await;
            mail(&world, &acme, timing, content).await;
            check_own(&world, timing, content).await;
            let (counts, has_hours) = (content > ConsentLevel::None, timing > ConsentLevel::None);
            let count = async |prefix| world.rows(prefix).await.len();
            assert_eq!(count(key::CELLS).await > 0, counts, "{said}");
            assert_eq!(count(key::TIMELINES).await > 0, counts, "{said}");
            assert_eq!(count(key::ARRIVALS).await > 0, counts, "{said}");
            assert_eq!(count(key::HOURS).await > 0, has_hours, "{said}");
            let logged = usize::from(counts);
            assert_eq!(count(key::DECISIONS).await, logged, "{said}");
            assert_eq!(count(key::OUTCOMES).await, logged, "{said}");
            let is_personal = timing == ConsentLevel::Individual;
            let has_profile = ann(&world).await.activity != Recipient::default().activity;
            assert_eq!(has_profile, is_personal, "{said}");
            assert!(is_personal || count(key::INDIVIDUALITIES).await == 0);
        }
    }
}

#[tokio::test]
async fn consent_that_is_lowered_takes_out_at_once_what_it_no_longer_covers() {
    let all = ConsentLevel::Individual;
    for timing in LEVELS {
        for content in LEVELS {
            let said = format!("timing {timing:?}, content {content:?}");
            let (world, acme) = world(all, all).await;
            mail(&world, &acme, all, all).await;
            let before = ann(&world).await;
            assert!(before.touches[0].everyone_recorded && before.segments == ["loyal"]);
            let view = consent(&world, &acme, timing, content).await;
            assert_eq!(
                (view.allowed.timing, view.allowed.content),
                (timing, content)
            );
            if timing == ConsentLevel::None {
                let left = ann(&world).await;
                assert_eq!(left.active_hours, Recipient::default().active_hours);
            }
            check_own(&world, timing, content).await;
            let is_lowered = timing < all || content < all;
            let logged = world.rows(key::DECISIONS).await.len();
            assert_eq!(logged, usize::from(!is_lowered), "{said}");
            let results = world.app.results(acme.tenant, &acme.experiments[0]);
            let variants = results.unwrap().variants;
            let trials: f64 = variants.iter().map(|variant| variant.trials).sum();
            let counted = f64::from(u8::from(content > ConsentLevel::None));
            assert!((trials - counted).abs() < 1e-9, "{said}: {trials} trials");
        }
    }
}
