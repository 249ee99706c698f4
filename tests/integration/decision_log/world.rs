//! A small hermod in memory whose clock the tests move, with decisions of all kinds in it.
//!
//! The same each time: all randomness has a fixed seed.
use hermod::app::{
    Activity, App, AppKeys, AppSettings, Constraints, DecideRequest, Decided, DecisionLogSettings,
    EventReport, LimitSettings, NewExperiment, RecipientChange, ReplaySummary, ReplayTarget,
    RetentionSettings, VirtualClock,
};
use hermod::domain::civil::Zone;
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
use hermod::store::records::MergeRecords;
use hermod::store::{Batch, Change, Engine, MemoryEngine, Partition, Rows, Scan, Stored};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

pub const PARTITIONS: u16 = 4;
pub const DAY_HOURS: i64 = 24;

pub struct World {
    pub app: App,
    pub engine: Arc<MemoryEngine>,
    pub clock: Arc<VirtualClock>,
    pub random: ChaCha8Rng,
}

pub fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub fn settings(policy: Policy) -> Settings {
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

pub async fn world(log: DecisionLogSettings) -> World {
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
        limits: LimitSettings::default(),
        retention: RetentionSettings::default(),
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
    pub async fn experiment(&self, name: &str, settings: Settings) -> Slug {
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

    pub fn advance(&self, by: SignedDuration) {
        self.clock.set(self.app.now().checked_add(by).unwrap());
        self.app.refresh();
    }

    pub fn any_request(&mut self, experiment: &Slug) -> DecideRequest {
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
            platform: None,
            validate_only: false,
            full: random.random_bool(0.1),
        }
    }

    /// A decision about a mail that leaves now, with a random answer to it.
    pub async fn play(&mut self, experiment: &Slug) -> Decided {
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

    pub async fn report(&self, token: &str, kind: EventKind, at: Timestamp) {
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

    pub async fn replay_all(&self) -> ReplaySummary {
        let show = |replayed: &hermod::app::Replayed| {
            if !replayed.is_equal() {
                eprintln!("{replayed:?}");
            }
        };
        self.app
            .replay_log(None, ReplayTarget::All, show)
            .await
            .unwrap()
    }

    pub fn rows(&self, partition: u16, prefix: &[u8]) -> Rows {
        let scan = Scan {
            prefix: prefix.to_vec(),
            after: None,
            limit: usize::MAX,
        };
        self.engine.scan(Partition(partition), scan).wait().unwrap()
    }

    pub fn log(&self, prefix: &[u8]) -> Vec<(u16, Vec<u8>, Stored)> {
        let of = |partition| {
            let rows = self.rows(partition, prefix).into_iter();
            rows.map(move |(key, stored)| (partition, key, stored))
        };
        (0..PARTITIONS).flat_map(of).collect()
    }

    pub fn put(&self, partition: u16, key: &[u8], value: &[u8]) {
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

pub fn every_policy() -> [Policy; 5] {
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
pub async fn lived_world() -> (World, Vec<Decided>) {
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

pub async fn habits(world: &World, person: u32) {
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
