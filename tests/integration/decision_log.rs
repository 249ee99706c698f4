//! The decision log: any decision can be made again bit for bit, damage is found, and what must be forgotten is.
use std::sync::Arc;

use hermod::app::{
    Activity, App, AppKeys, AppSettings, Constraints, DecideRequest, Decided, DecisionLogSettings,
    EventReport, NewExperiment, RecipientChange, ReplaySummary, ReplayTarget, VirtualClock,
};
use hermod::domain::civil::Zone;
use hermod::domain::decision_log::{LoggedDecision, LoggedOutcome, LoggedVerdict};
use hermod::domain::draws::Seed;
use hermod::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use hermod::domain::experiment::{
    ExperimentKind, FrequencyCap, Guardrails, Objective, Probation, SendDefaults, Settings,
    TrialOn, Utility,
};
use hermod::domain::name::{Slug, TenantId};
use hermod::domain::policy::Policy;
use hermod::domain::recipient::{Answer, ConsentLevel, Suppression};
use hermod::domain::send_window::QuietHours;
use hermod::domain::token::{TokenKey, TokenKeys};
use hermod::store::records::{self, MergeRecords, Record, key};
use hermod::store::{Batch, Change, Engine, MemoryEngine, Partition, Rows, Scan, Stored, envelope};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PARTITIONS: u16 = 4;
const DAY_HOURS: i64 = 24;

struct World {
    app: App,
    engine: Arc<MemoryEngine>,
    clock: Arc<VirtualClock>,
    random: ChaCha8Rng,
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        objective: Objective::Click,
        kind: ExperimentKind::Campaign,
        attribution_window_ms: 72 * 3_600_000,
        trial_on: TrialOn::Decision,
        holdout_share: 0.1,
        floor: 0.02,
        segments: vec![slug("new"), slug("loyal")],
        daypart_start_hours: vec![6, 12, 18],
        send_defaults: SendDefaults {
            quiet: vec![QuietHours {
                start_minute: 22 * 60,
                end_minute: 6 * 60 + 30,
            }],
            ..SendDefaults::default()
        },
        half_life_hours: 504.0,
        planned_sends: 0,
        guardrails: Guardrails::default(),
        probation: Probation::default(),
        utility: Utility::default(),
        open_proxy: true,
        exploration_share: 0.2,
        capacity: None,
        shadow: false,
    }
}

async fn world(log: DecisionLogSettings) -> World {
    let clock = Arc::new(VirtualClock::at("2026-03-20T09:00:00Z".parse().unwrap()));
    let engine = Arc::new(MemoryEngine::new(PARTITIONS, Arc::new(MergeRecords)));
    let secret = [7; 32];
    let keys = AppKeys {
        recipient: secret,
        tokens: TokenKeys::new(TokenKey { id: 1, secret }, Vec::new()),
    };
    let app_settings = AppSettings {
        default_zone: Zone::utc(),
        default_consent: ConsentLevel::Individual,
        default_holdout_share: 0.0,
        default_floor: 0.02,
        default_exploration_share: 0.05,
        decision_log: log,
    };
    let opened = App::open(
        engine.clone(),
        clock.clone(),
        keys,
        Seed::from_number(5),
        app_settings,
    );
    World {
        app: opened.await.unwrap().0,
        engine,
        clock,
        random: ChaCha8Rng::seed_from_u64(11),
    }
}

impl World {
    async fn experiment(&self, name: &str, settings: Settings) -> Slug {
        let id = slug(name);
        let new = NewExperiment {
            tenant: TenantId::DEFAULT,
            id: id.clone(),
            display_name: String::new(),
            variants: ["a", "b", "c", "d"]
                .map(|v| (slug(v), String::new()))
                .to_vec(),
            settings,
            request_id: String::new(),
            validate_only: false,
        };
        self.app.create_experiment(new).await.unwrap();
        self.app
            .start_experiment(TenantId::DEFAULT, &id)
            .await
            .unwrap();
        id
    }

    fn advance(&self, by: SignedDuration) {
        self.clock.set(self.app.now().checked_add(by).unwrap());
        self.app.refresh();
    }

    fn any_request(&mut self, experiment: &Slug) -> DecideRequest {
        let now = self.app.now();
        let random = &mut self.random;
        let recipient = random.random_range(0..150_u32);
        let mut constraints = Constraints {
            transactional: random.random_bool(0.05),
            window_ms: Some(random.random_range(1..96_i64) * 3_600_000),
            ..Constraints::default()
        };
        if random.random_bool(0.3) {
            let ahead = SignedDuration::from_nanos(random.random_range(0..90_000_000_000_000_i64));
            constraints.earliest_at = Some(now.checked_add(ahead).unwrap());
        }
        if random.random_bool(0.3) {
            constraints.quiet = vec![QuietHours {
                start_minute: random.random_range(0..700),
                end_minute: random.random_range(800..1_400),
            }];
            constraints.blocked_days =
                vec![jiff::civil::date(2026, 3, random.random_range(20..30))];
        }
        if random.random_bool(0.4) {
            constraints.frequency_cap = Some(FrequencyCap {
                sends_max: random.random_range(1..4),
                period_ms: 48 * 3_600_000,
            });
        }
        let zones = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"];
        let names = ["a", "b", "c", "d"];
        let subset = names.into_iter().filter(|_| random.random_bool(0.6));
        let eligible: Vec<Slug> = subset.map(slug).collect();
        DecideRequest {
            tenant: TenantId::DEFAULT,
            experiment: experiment.clone(),
            recipient_id: format!("person-{recipient}"),
            request_id: if random.random_bool(0.2) {
                random.random_range(0..u32::MAX).to_string()
            } else {
                String::new()
            },
            occasion: random.random_range(0..u32::MAX).to_string(),
            segment: random.random_bool(0.4).then(|| slug("loyal")),
            zone: random
                .random_bool(0.7)
                .then(|| Zone::parse(zones[random.random_range(0..4)]).unwrap()),
            constraints,
            send_at: random.random_bool(0.2).then_some(now),
            eligible: if random.random_bool(0.3) {
                eligible
            } else {
                Vec::new()
            },
            validate_only: false,
            full: random.random_bool(0.1),
        }
    }

    /// A decision about a mail that leaves now, with a random answer to it.
    async fn play(&mut self, experiment: &Slug) -> Decided {
        let request = self.any_request(experiment);
        let decided = self.app.decide(&request).await.unwrap();
        if let Ok(answer) = &decided.answer {
            let Answer::Send { variant, .. } = answer.answer else {
                panic!("an answer to send");
            };
            if self.random.random_bool(0.2 + 0.1 * f64::from(variant.0)) {
                let at = self.app.now();
                self.report(&decided.decision_id, EventKind::Clicked, at)
                    .await;
            }
        }
        decided
    }

    async fn report(&self, token: &str, kind: EventKind, at: Timestamp) {
        let event = DecisionEvent {
            kind,
            at,
            weight: HumanWeight::nearest(0.75),
            value: 3.5,
            sentiment: Sentiment::Neutral,
            permanent: false,
        };
        let report = EventReport::Decision {
            token: token.to_owned(),
            event,
        };
        let results = self.app.report(TenantId::DEFAULT, vec![Ok(report)]).await;
        assert!(results.unwrap()[0].is_ok());
    }

    async fn replay_all(&self) -> ReplaySummary {
        let show = |replayed: &hermod::app::Replayed| {
            if !replayed.is_equal() {
                eprintln!("{replayed:?}");
            }
        };
        self.app.replay_log(ReplayTarget::All, show).await.unwrap()
    }

    fn rows(&self, partition: u16, prefix: &[u8]) -> Rows {
        let scan = Scan {
            prefix: prefix.to_vec(),
            after: None,
            limit: usize::MAX,
        };
        self.engine.scan(Partition(partition), scan).wait().unwrap()
    }

    fn log(&self, prefix: &[u8]) -> Vec<(u16, Vec<u8>, Stored)> {
        let of = |partition| {
            let rows = self.rows(partition, prefix).into_iter();
            rows.map(move |(key, stored)| (partition, key, stored))
        };
        (0..PARTITIONS).flat_map(of).collect()
    }

    fn put(&self, partition: u16, key: &[u8], value: &[u8]) {
        let put = Change::Put {
            key: key.to_vec(),
            value: value.to_vec(),
            expected: None,
        };
        let batch = Batch { changes: vec![put] };
        self.engine
            .commit(Partition(partition), batch)
            .wait()
            .unwrap();
    }
}

fn every_policy() -> [Policy; 5] {
    [
        Policy::HorizonThompson,
        Policy::Thompson,
        Policy::TopTwo { beta: 0.5 },
        Policy::Uniform,
        Policy::Fixed {
            weights: vec![3.0, 2.0, 1.0, 1.0],
        },
    ]
}

/// A world with a past: 600 decisions under each policy, with clicks, habits, suppressions and consents of all kinds.
async fn lived_world() -> (World, Vec<Decided>) {
    let mut world = world(DecisionLogSettings::default()).await;
    let mut experiments = Vec::new();
    for (at, policy) in every_policy().into_iter().enumerate() {
        let name = format!("test-{at}");
        experiments.push(world.experiment(&name, settings(policy)).await);
    }
    for person in 0..40 {
        habits(&world, person).await;
    }
    let mut decided = Vec::new();
    for round in 0..60 {
        for experiment in &experiments {
            for _ in 0..10 {
                decided.push(world.play(experiment).await);
            }
        }
        world.advance(SignedDuration::from_mins(73 + round));
    }
    (world, decided)
}

async fn habits(world: &World, person: u32) {
    let recipient_id = format!("person-{person}");
    for day in 1..15_i64 {
        let hours = -DAY_HOURS * day - i64::from(person % 12);
        let activity = Activity {
            recipient_id: recipient_id.clone(),
            at: world
                .app
                .now()
                .checked_add(SignedDuration::from_hours(hours))
                .unwrap(),
            weight: HumanWeight::CERTAIN,
        };
        let reports = vec![Ok(EventReport::Active(activity))];
        world.app.report(TenantId::DEFAULT, reports).await.unwrap();
    }
    let change = RecipientChange {
        segments: Some(vec!["new".to_owned()]),
        timing: person
            .is_multiple_of(5)
            .then_some(Some(ConsentLevel::Aggregate)),
        content: person
            .is_multiple_of(7)
            .then_some(Some(ConsentLevel::Aggregate)),
        suppression: person
            .is_multiple_of(11)
            .then_some(Some(Suppression::Unsubscribed)),
        ..RecipientChange::default()
    };
    let updated = world
        .app
        .update_recipient(TenantId::DEFAULT, &recipient_id, &change);
    updated.await.unwrap();
}

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
        .replay_log(target, |replayed| first.push(replayed.at))
        .await;
    world
        .app
        .replay_log(target, |replayed| second.push(replayed.at))
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
                        .replay_log(ReplayTarget::All, |_| {})
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
    assert_eq!(LoggedDecision::NAME, "logged decision");
}
