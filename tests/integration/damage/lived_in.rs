//! A store that was lived in: two tenants, a month, every kind of record; and everything that a server over it answers.
//!
//! Invariant: what is seen depends on nothing but the store's content, so two stores that hold the same are seen alike.
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hermod::app::{
    AlertsRequest, App, AppError, Constraints, DecideRequest, Kind, NewExperiment, PlatformChoice,
    RecipientChange, VirtualClock,
};
use hermod::domain::alert::Severity;
use hermod::domain::event::EventKind;
use hermod::domain::experiment::{ExperimentKind, SenderCapacity};
use hermod::domain::name::{Slug, TenantId};
use hermod::domain::recipient::ConsentLevel;
use hermod::ops::compose::{OpenError, Opened, open_app};
use hermod::ops::config::Config;
use hermod::store::records::key;
use hermod::store::{Batch, Change, Engine, Outcome, Partition, Scan};
use jiff::{SignedDuration, Timestamp};

use crate::tenants::player::{Player, settings, slug};

const BEGIN: &str = "2026-03-02T09:00:00Z";
const DAYS: i64 = 9;
/// Experiments of each tenant: those of the player, one with a capacity and one in shadow mode.
const EXPERIMENTS: [&str; 4] = ["mail-0", "mail-1", "throttled", "shadowed"];
/// Somebody of whom nothing is known.
pub const STRANGER: &str = "a-stranger";
const TENANTS: [&str; 2] = ["default", "globex"];

/// What a server answers to one question.
pub type Answer = Result<String, AppError>;
/// What it answers to everything that can be asked without changing anything.
pub type Seen = BTreeMap<String, Answer>;

/// A configuration of a store at a path, with all its randomness fixed.
pub fn config(path: &Path, partitions: u32) -> Config {
    let mut config = Config::default();
    config.store.path = path.to_owned();
    config.store.cache_bytes = 4 << 20;
    config.store.partitions = partitions;
    config.decisions.seed = Some(1);
    config
}

/// The instant at which the store is looked at: the end of what was lived.
fn end() -> Timestamp {
    let begin: Timestamp = BEGIN.parse().unwrap();
    begin
        .checked_add(SignedDuration::from_hours(24 * DAYS))
        .unwrap()
}

async fn open(config: &Config, at: Timestamp) -> Result<(Opened, Arc<VirtualClock>), OpenError> {
    let clock = Arc::new(VirtualClock::at(at));
    Ok((open_app(config, clock.clone()).await?, clock))
}

/// Lives in a new store at a path, and stops in order.
pub async fn live(path: &Path) {
    let begin = BEGIN.parse().unwrap();
    let (opened, clock) = open(&config(path, 4), begin).await.unwrap();
    let app = &opened.app;
    let mut players = Vec::new();
    for (seed, name) in (1..).zip(TENANTS) {
        let mut player = Player::new(app.tenant(name).await.unwrap(), seed);
        player.begin(app, 2).await;
        more_experiments(app, player.tenant).await;
        players.push(player);
    }
    for day in 0..DAYS {
        for player in &mut players {
            player.play(app, 120).await;
            people(app, player.tenant, day).await;
            throttled_and_shadowed(app, player, day).await;
        }
        let now = app.now();
        clock.set(now.checked_add(SignedDuration::from_hours(24)).unwrap());
        app.refresh();
        assert!(app.maintain().await.failed.is_empty());
    }
    assert_eq!(app.now(), end());
    rare(opened.engine.as_ref()).await;
    opened.engine.close().await.unwrap();
}

async fn more_experiments(app: &App, tenant: TenantId) {
    for (id, capacity, shadow) in [
        (
            "throttled",
            Some(SenderCapacity {
                sends_per_hour: 5,
                warm_up: None,
            }),
            false,
        ),
        ("shadowed", None, true),
    ] {
        let id = slug(id);
        let new = NewExperiment {
            tenant,
            id: id.clone(),
            display_name: "of another kind".to_owned(),
            variants: ["a", "b", "c"].map(|v| (slug(v), String::new())).to_vec(),
            settings: hermod::domain::experiment::Settings {
                capacity,
                shadow,
                holdout_share: 0.0,
                segments: Vec::new(),
                ..settings(ExperimentKind::Campaign)
            },
            request_id: String::new(),
            validate_only: false,
        };
        app.create_experiment(new).await.unwrap();
        app.start_experiment(tenant, &id).await.unwrap();
    }
}

/// Consents given and taken back, activity without mails, and people who want to be forgotten.
async fn people(app: &App, tenant: TenantId, day: i64) {
    let levels = [
        ConsentLevel::Individual,
        ConsentLevel::Segment,
        ConsentLevel::Aggregate,
        ConsentLevel::None,
    ];
    for (number, level) in levels.into_iter().enumerate() {
        let change = RecipientChange {
            timing: Some(Some(level)),
            content: Some(Some(level)),
            source: Some("web form".to_owned()),
            given_at: Some(app.now()),
            ..RecipientChange::default()
        };
        let person = format!("person-{}", 5 * number + usize::try_from(day).unwrap());
        app.update_recipient(tenant, &person, &change)
            .await
            .unwrap();
    }
    let forgotten = format!("person-{}", 40 + day);
    app.erase_recipient(tenant, &forgotten).await.unwrap();
}

async fn throttled_and_shadowed(app: &App, player: &Player, day: i64) {
    for number in 0..8 {
        let throttled = question(player.tenant, "throttled", &format!("person-{number}"));
        let throttled = DecideRequest {
            occasion: format!("throttled-{day}"),
            ..throttled
        };
        app.decide(&throttled).await.unwrap();
        let shadowed = question(player.tenant, "shadowed", &format!("person-{number}"));
        let shadowed = DecideRequest {
            occasion: format!("shadowed-{day}"),
            platform: Some(PlatformChoice {
                variant: slug(["a", "b", "c"][number % 3]),
                send_at: Some(app.now()),
            }),
            ..shadowed
        };
        let decided = app.decide(&shadowed).await.unwrap();
        let kind = [
            EventKind::Clicked,
            EventKind::Complained,
            EventKind::Unsubscribed,
        ][number % 3];
        let taken = player.event(app, &decided.decision_id, kind).await;
        assert!(taken.is_ok(), "{taken:?}");
    }
}

fn question(tenant: TenantId, experiment: &str, person: &str) -> DecideRequest {
    DecideRequest {
        tenant,
        experiment: slug(experiment),
        recipient_id: person.to_owned(),
        request_id: String::new(),
        occasion: String::new(),
        segment: None,
        zone: None,
        constraints: Constraints::default(),
        send_at: None,
        eligible: Vec::new(),
        platform: None,
        validate_only: false,
        full: true,
    }
}

/// What takes more people or more trouble than is worth playing, as kept samples under the keys that they would have.
async fn rare(engine: &dyn Engine) {
    let tenant = TenantId::DEFAULT;
    let samples = [
        ("chronotypes", [key::CHRONOTYPES, &[0; 4]].concat()),
        ("alert", key::alert(tenant, 999)),
        (
            "oversight",
            key::oversight(tenant, hermod::domain::name::ExperimentUid(1)),
        ),
        (
            "drift",
            key::drift(tenant, hermod::domain::name::ExperimentUid(2)),
        ),
    ];
    for (name, at) in samples {
        let change = Change::Put {
            key: at,
            value: sample(name),
            expected: None,
        };
        let batch = Batch {
            changes: vec![change],
        };
        let committed = engine.commit(Partition(0), batch).await.unwrap();
        assert!(matches!(committed, Outcome::Committed(_)));
    }
    engine.flush().await.unwrap();
}

fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let text = fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Opens a store, asks everything, and lets go of it as a killed process would.
///
/// # Errors
/// The store does not open.
pub async fn seen(path: &Path, partitions: u32) -> Result<(Seen, Vec<String>), OpenError> {
    let (opened, _) = open(&config(path, partitions), end()).await?;
    let mut seen = Seen::new();
    for name in TENANTS {
        let tenant = opened.app.tenant(name).await?;
        look(&opened.app, (name, tenant), &mut seen).await;
    }
    Ok((seen, opened.report.unreadable))
}

async fn look(app: &App, (name, tenant): (&str, TenantId), seen: &mut Seen) {
    let mut note = |what: String, answer: Answer| {
        seen.insert(format!("{name} {what}"), answer);
    };
    for id in EXPERIMENTS.map(slug) {
        note(format!("results {id}"), text(app.results(tenant, &id)));
        let card = app.model_card(tenant, &id).map(|card| card.markdown());
        note(format!("card {id}"), text(card));
        note(format!("log {id}"), log(app, tenant, &id).await);
    }
    note("statistics".to_owned(), text(Ok(app.statistics(tenant))));
    let request = AlertsRequest {
        tenant,
        before: None,
        experiment: None,
        severity_min: Severity::Notice,
        since: None,
        size: 1_000,
    };
    note("alerts".to_owned(), text(Ok(app.alerts(&request))));
    let people = (0..62).map(|number| format!("person-{number}"));
    for person in people.chain([STRANGER.to_owned()]) {
        let read = app.recipient(tenant, &person).await;
        note(
            format!("{person} record"),
            text(read.map(|view| view.recipient)),
        );
        let asked = DecideRequest {
            validate_only: true,
            send_at: Some(app.now()),
            ..question(tenant, "mail-0", &person)
        };
        let decided = app.decide(&asked).await;
        let decided = decided.map(|decided| (decided.answer, decided.repeated));
        note(format!("{person} decision"), text(decided));
    }
}

async fn log(app: &App, tenant: TenantId, id: &Slug) -> Answer {
    let mut logged = Vec::new();
    let unreadable = app
        .each_logged(tenant, id, |joined| {
            logged.push(format!("{:?}", (joined.decision, joined.outcome)));
        })
        .await?;
    logged.sort();
    if unreadable.is_empty() {
        Ok(logged.join("\n"))
    } else {
        Err(AppError::new(
            Kind::DataLoss,
            "RECORD_UNREADABLE",
            unreadable.join("\n"),
        ))
    }
}

fn text<T: Debug>(answer: Result<T, AppError>) -> Answer {
    answer.map(|answer| format!("{answer:?}"))
}

/// Every row of a store: partition, key and value.
pub async fn rows(engine: &dyn Engine) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for partition in 0..engine.partitions() {
        let mut after = None;
        loop {
            let scan = Scan {
                prefix: Vec::new(),
                after,
                limit: 1_000,
            };
            let page = engine.scan(Partition(partition), scan).await.unwrap();
            after = page.last().map(|(key, _)| key.clone());
            if after.is_none() {
                break;
            }
            all.extend(
                page.into_iter()
                    .map(|(key, stored)| (partition, key, stored.value.to_vec())),
            );
        }
    }
    all
}

/// A copy of a directory and all below it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
