//! Tenants of one store: numbered once and for good, and nothing that one does shows in anything that another is answered.

pub mod player;

use std::sync::Arc;

use hermod::app::{
    App, AppKeys, AppSettings, DecisionLogSettings, Kind, LimitSettings, RetentionSettings,
    VirtualClock,
};
use hermod::domain::civil::Zone;
use hermod::domain::draws::Seed;
use hermod::domain::name::TenantId;
use hermod::domain::recipient::ConsentLevel;
use hermod::domain::token::{TokenKey, TokenKeys};
use hermod::store::records::{MergeRecords, key};
use hermod::store::{Batch, Change, Engine, MemoryEngine, Partition, Scan};
use jiff::SignedDuration;

use player::Player;

/// A hermod in memory; the same engine opens again as after a restart.
pub struct World {
    pub app: App,
    pub clock: Arc<VirtualClock>,
    pub engine: Arc<MemoryEngine>,
}

pub fn settings() -> AppSettings {
    AppSettings {
        default_zone: Zone::utc(),
        default_consent: ConsentLevel::Individual,
        default_holdout_share: 0.05,
        default_floor: 0.02,
        default_exploration_share: 0.05,
        decision_log: DecisionLogSettings::default(),
        limits: LimitSettings::default(),
        retention: RetentionSettings::default(),
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(settings()).await
    }

    pub async fn with(settings: AppSettings) -> Self {
        let merge = Arc::new(MergeRecords);
        Self::open(Arc::new(MemoryEngine::new(3, merge)), settings).await
    }

    async fn on(engine: Arc<MemoryEngine>) -> Self {
        Self::open(engine, settings()).await
    }

    pub async fn open(engine: Arc<MemoryEngine>, settings: AppSettings) -> Self {
        let clock = Arc::new(VirtualClock::at("2026-03-20T09:00:00Z".parse().unwrap()));
        let secret = [7; 32];
        let keys = AppKeys {
            recipient: secret,
            tokens: TokenKeys::new(TokenKey { id: 1, secret }, Vec::new()),
        };
        let seed = Seed::from_number(5);
        let opened = App::open(engine.clone(), clock.clone(), keys, seed, settings);
        let (app, report) = opened.await.unwrap();
        assert!(report.unreadable.is_empty(), "{report:?}");
        Self { app, clock, engine }
    }

    /// Every record whose key begins so.
    pub async fn rows(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        for partition in (0..self.engine.partitions()).map(Partition) {
            let scan = Scan {
                prefix: prefix.to_vec(),
                after: None,
                limit: 10_000,
            };
            let rows = self.engine.scan(partition, scan).await.unwrap();
            assert!(rows.len() < 10_000);
            all.extend(
                rows.into_iter()
                    .map(|(key, stored)| (key, stored.value.to_vec())),
            );
        }
        all
    }

    pub async fn advance(&self, by: SignedDuration) {
        self.clock.set(self.app.now().checked_add(by).unwrap());
        self.app.refresh();
        let report = self.app.maintain().await;
        assert!(report.failed.is_empty(), "{report:?}");
    }
}

/// Eight days of one tenant, and of another beside it that does `loud` times as much; all that the first was answered.
async fn eight_days(loud: usize) -> Vec<String> {
    let mut world = World::new().await;
    let [acme, globex] = ["acme", "globex"].map(|name| name.to_owned());
    let mut quiet = Player::new(world.app.tenant(&acme).await.unwrap(), 1);
    let mut other = Player::new(world.app.tenant(&globex).await.unwrap(), 2);
    if loud > 0 {
        other.begin(&world.app, 7).await;
    }
    quiet.begin(&world.app, 2).await;
    for day in 0..8 {
        for _ in 0..3 {
            other.play(&world.app, 30 * loud).await;
            quiet.play(&world.app, 40).await;
            world.advance(SignedDuration::from_hours(8)).await;
        }
        if day % 3 == 1 {
            quiet.look(&world.app).await;
        }
        if day == 5 {
            let now = world.app.now();
            world = World::on(world.engine.clone()).await;
            world.clock.set(now);
        }
    }
    quiet.plan(&world.app);
    quiet.answers
}

#[tokio::test]
async fn no_traffic_of_one_tenant_changes_one_bit_of_what_another_is_answered() {
    let (alone, beside) = (eight_days(0).await, eight_days(2).await);
    assert!(alone.len() > 900, "{}", alone.len());
    for (at, (alone, beside)) in alone.iter().zip(&beside).enumerate() {
        assert_eq!(alone, beside, "answer {at}");
    }
    assert_eq!(alone.len(), beside.len());
}

#[tokio::test]
async fn what_a_tenant_learns_is_its_own() {
    let world = World::new().await;
    let mut busy = Player::new(world.app.tenant("acme").await.unwrap(), 1);
    let mut new = Player::new(world.app.tenant("globex").await.unwrap(), 1);
    let mut never = Player::new(TenantId::DEFAULT, 1);
    let shown = |player: &Player| player.answers.last().cloned().unwrap();
    new.predict(&world.app, "ann").await;
    let before = shown(&new);
    busy.begin(&world.app, 2).await;
    for _ in 0..10 {
        busy.play(&world.app, 60).await;
        world.advance(SignedDuration::from_hours(24)).await;
    }
    for player in [&mut busy, &mut new, &mut never] {
        world.clock.set("2026-03-20T09:00:00Z".parse().unwrap());
        player.predict(&world.app, "ann").await;
    }
    assert_eq!(shown(&new), before);
    assert_eq!(shown(&never), before);
    assert_ne!(shown(&busy), before);
}

#[tokio::test]
async fn a_tenant_keeps_its_number_and_no_number_is_given_out_twice() {
    let world = World::new().await;
    let app = &world.app;
    assert_eq!(app.tenant("default").await.unwrap(), TenantId::DEFAULT);
    let acme = app.tenant("acme").await.unwrap();
    let (one, two) = tokio::join!(app.tenant("globex"), app.tenant("globex"));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(app.tenant("acme").await.unwrap(), acme);
    let engine = world.engine.clone();
    let names = |app: &App| {
        let all = app.tenants();
        let pair = |(name, TenantId(id)): &(_, _)| format!("{name}={id}");
        all.iter().map(pair).collect::<Vec<_>>().join(" ")
    };
    let reopened = World::on(engine.clone()).await;
    assert_eq!(names(&reopened.app), "acme=2 default=1 globex=3");
    // Should a tenant's record ever go, its number goes with it.
    let place = key::tenant(&player::slug("globex"));
    let gone = Change::Delete {
        key: place,
        expected: None,
    };
    let batch = Batch {
        changes: vec![gone],
    };
    engine.commit(Partition(0), batch).await.unwrap();
    let again = World::on(engine).await;
    assert_eq!(again.app.tenant("globex").await.unwrap(), TenantId(4));
}

#[tokio::test]
async fn a_name_that_is_none_and_a_damaged_number_are_refused_and_not_guessed_at() {
    let world = World::new().await;
    let refused = world.app.tenant("Acme Ltd").await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.reason),
        (Kind::InvalidArgument, "TENANT_NAME_INVALID")
    );
    let put = Change::Put {
        key: key::tenant(&player::slug("acme")),
        value: b"damaged".to_vec(),
        expected: None,
    };
    let batch = Batch { changes: vec![put] };
    world.engine.commit(Partition(0), batch).await.unwrap();
    let refused = world.app.tenant("acme").await.unwrap_err();
    assert_eq!(refused.kind, Kind::DataLoss);
    assert_eq!(world.app.tenant("globex").await.unwrap(), TenantId(2));
}

#[tokio::test]
async fn experiments_of_a_tenant_are_numbered_for_itself_and_never_as_those_of_another() {
    let world = World::new().await;
    let mut numbers = Vec::new();
    for name in ["default", "acme", "globex"] {
        let mut player = Player::new(world.app.tenant(name).await.unwrap(), 1);
        player.begin(&world.app, 2).await;
        for id in &player.experiments {
            let found = world.app.experiment(player.tenant, id).unwrap();
            numbers.push(found.uid.0);
        }
    }
    assert_eq!(
        numbers,
        [1, 2, 2 << 32 | 1, 2 << 32 | 2, 3 << 32 | 1, 3 << 32 | 2]
    );
}

#[tokio::test]
async fn every_record_of_a_tenant_lies_under_its_number() {
    let world = World::new().await;
    let mut player = Player::new(world.app.tenant("acme").await.unwrap(), 1);
    player.begin(&world.app, 2).await;
    for _ in 0..6 {
        player.play(&world.app, 40).await;
        world.advance(SignedDuration::from_hours(24)).await;
    }
    player.play(&world.app, 40).await;
    let number = player.tenant.0.to_be_bytes();
    let mut kinds = std::collections::BTreeSet::new();
    for (key, _) in world.rows(b"").await {
        let prefix = char::from(key[0]);
        kinds.insert(prefix);
        let of = match prefix {
            // The store's own, and what decisions name by its content.
            'm' | 'g' => continue,
            // By time first.
            'p' | 'd' | 'o' => &key[9..13],
            _ => &key[1..5],
        };
        assert_eq!(of, number, "{prefix} {key:?}");
    }
    let kinds: String = kinds.into_iter().collect();
    assert_eq!(kinds, "acdefghiklmnoprtvz");
}
