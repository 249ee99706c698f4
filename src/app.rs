//! The use cases: load, ask the domain, commit. Called by gRPC, the command line and simulations alike.
//!
//! Invariant: time and randomness come from outside, and every change of one recipient with its cells is one atomic commit.
mod alerts;
mod backups;
mod check;
mod chronotypes;
mod clock;
mod curves;
mod decision_log;
mod decisions;
mod drift;
mod error;
mod exchange;
mod experiments;
mod fallback;
mod feedback;
mod folding;
mod ledger;
mod limits;
mod load;
mod maintenance;
mod model_card;
mod oversight;
mod planning;
mod recipients;
mod registry;
mod results;
mod retention;
mod statistics;
mod survey;
mod tenants;
mod turns;
mod writes;
mod zones;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

pub use alerts::{ALERTS_KEPT, AlertsRequest, Numbered};
pub use backups::{
    BackupSettings, BackupState, BackupStatistics, BackupView, Loader, Preparation,
    backup_manifest, fingerprint_text, restore,
};
pub use check::{Checked, Checker};
pub use clock::{Clock, SystemClock, VirtualClock};
pub use decision_log::{
    DecisionLogSettings, Joined, LogStatistics, ReplaySummary, ReplayTarget, Replayed,
};
pub use decisions::{
    Constraints, DecideRequest, Decided, PlatformChoice, PredictRequest, Predicted, SendAnswer,
    WouldHave, ZoneSource,
};
pub use error::{AppError, Kind, Violation};
pub use exchange::{EXPORT_VERSION, ExportHeader, Exported, ImportError, Imported, export, import};
pub use experiments::{
    ExperimentPage, FIELDS_IN_DRAFT, ListRequest, NewExperiment, SettingsChange,
};
pub use feedback::{Activity, EventReport, EventResult, Reclassification, ReportOutcome};
pub use limits::LimitSettings;
pub use maintenance::{MaintenanceReport, MaintenanceStep};
pub use model_card::{CardData, CardGuardrail, CardModel, ModelCard};
pub use planning::{Assumptions, PlanRequest, PlanSubject, Planned};
pub use recipients::{ErasedAmount, ErasureReceipt, RecipientChange, RecipientView};
pub use results::{
    HalfLife, HoldoutResults, RatioCheck, Results, SAFE_RELATIVE_LOSS, SAFE_TRIALS, UpliftScope,
    VariantPart, VariantResults,
};
pub use retention::{RetentionSettings, RetentionStatistics};
pub use statistics::Statistics;
pub use survey::Survey;
pub use tenants::TENANTS_MAX;
pub use turns::{TakenOn, take_turns};

use crate::domain::civil::Zone;
use crate::domain::decide::Allowed;
use crate::domain::draws::Seed;
use crate::domain::name::{RecipientKey, TenantId};
use crate::domain::recipient::{Consent, ConsentLevel};
use crate::domain::token::TokenKeys;
use crate::store::records::{self, Record, StoreIdentity, key};
use crate::store::{Engine, Partition, StoreError, pace};

use alerts::AlertBook;
use folding::Moved;
use maintenance::Schedule;
use registry::Registry;
use retention::Cleaning;
use tenants::Tenants;

/// What an operator may set about decisions.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// Zone of recipients whose zone is unknown.
    pub default_zone: Zone,
    /// Consent of recipients who have not said.
    pub default_consent: ConsentLevel,
    /// Holdout share of experiments that do not say.
    pub default_holdout_share: f64,
    /// Floor of experiments that do not say.
    pub default_floor: f64,
    /// Share of random send times of experiments that do not say.
    pub default_exploration_share: f64,
    /// What the decision log keeps.
    pub decision_log: DecisionLogSettings,
    /// What one tenant can make the server keep.
    pub limits: LimitSettings,
    /// How long people are remembered.
    pub retention: RetentionSettings,
}

/// The secrets of a server, which live outside the store.
#[derive(Clone)]
pub struct AppKeys {
    /// Hashes recipients.
    pub recipient: [u8; 32],
    /// Sign and verify decision ids.
    pub tokens: TokenKeys,
}

/// hermod itself, on any engine and clock.
pub struct App {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    keys: AppKeys,
    seed: Seed,
    settings: AppSettings,
    registry: Registry,
    tenants: Tenants,
    log: decision_log::DecisionLog,
    changes: tokio::sync::watch::Sender<u64>,
    refreshing: Mutex<()>,
    schedule: Schedule,
    alerts: AlertBook,
    cleaning: Cleaning,
    moved: Moved,
    backups: backups::Backups,
    batches: turns::Batches,
}

/// Records that could not be read at start; they are left alone and everything else is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Experiments read.
    pub experiments: usize,
    /// Cells read.
    pub cells: usize,
    /// What could not be read: where, and why.
    pub unreadable: Vec<String>,
}

// === impl App ===

impl App {
    /// Opens the use cases on an engine: checks that the keys fit the store, and loads experiments and sums.
    ///
    /// `seed` is used for a new store only; a store keeps the seed it was created with.
    pub async fn open(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        keys: AppKeys,
        seed: Seed,
        settings: AppSettings,
    ) -> Result<(Self, LoadReport), AppError> {
        let seed = identify(engine.as_ref(), clock.as_ref(), &keys, seed).await?;
        let app = Self {
            engine,
            clock,
            keys,
            seed,
            settings,
            registry: Registry::default(),
            tenants: Tenants::default(),
            log: decision_log::DecisionLog::default(),
            changes: tokio::sync::watch::Sender::new(0),
            refreshing: Mutex::default(),
            schedule: Schedule::default(),
            alerts: AlertBook::default(),
            cleaning: Cleaning::default(),
            moved: Moved::default(),
            backups: backups::Backups::default(),
            batches: turns::Batches::default(),
        };
        let report = app.load().await?;
        app.refresh();
        Ok((app, report))
    }

    /// Now, by the clock that was passed in.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The defaults that experiments and recipients fall back to.
    pub fn settings(&self) -> &AppSettings {
        &self.settings
    }

    /// Whether the store can be read and written.
    pub fn health(&self) -> Result<(), StoreError> {
        self.engine.health()
    }

    /// The engine's counters.
    pub fn engine_statistics(&self) -> crate::store::EngineStatistics {
        self.engine.statistics()
    }

    /// Counts refreshes in which something changed; wakes whoever watches results.
    pub fn watch_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Recomputes what has changed since the last call: planned trials that are due, allocations, everybody's hours.
    ///
    /// Decisions read only what this prepared; call it at the refresh interval.
    pub fn refresh(&self) {
        // One at a time, and the time is read in turn: what an earlier moment teaches must not replace what a later one did.
        let _turn = self
            .refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        self.registry.learn_delays(now);
        self.registry.learn_rates(now);
        let expected = |tenant, objective| self.registry.expected_rate(tenant, objective);
        let changed = self
            .registry
            .lives()
            .into_iter()
            .filter(|live| {
                pace::breathe();
                live.refresh(self.now(), &expected)
            })
            .count();
        for (_, learned) in self.tenants.all() {
            pace::breathe();
            if let Some(model) = learned.hours.refreshed_model(now) {
                learned.model.store(Arc::new(model));
            }
        }
        pace::breathe();
        if changed > 0 {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Waits until everything committed so far is durable.
    pub async fn flush(&self) -> Result<(), AppError> {
        Ok(self.engine.flush().await?)
    }

    /// The keyed hash that a recipient goes by in the store.
    pub fn recipient_key(&self, tenant: TenantId, recipient_id: &str) -> RecipientKey {
        RecipientKey::derive(&self.keys.recipient, tenant, recipient_id)
    }

    fn partition_of(&self, recipient: RecipientKey) -> Partition {
        Partition(recipient.partition(self.engine.partitions()))
    }

    fn allowed(&self, consent: &Consent) -> Allowed {
        let level = |said: Option<ConsentLevel>| said.unwrap_or(self.settings.default_consent);
        Allowed {
            timing: level(consent.timing),
            content: level(consent.content),
        }
    }
}

/// Experiments, identity and numbers live in the first partition.
const HOME: Partition = Partition(0);

/// What a store remembers of the key that its recipients are hashed with.
fn recipient_key_fingerprint(key: &[u8; 32]) -> [u8; 16] {
    *blake3::keyed_hash(key, b"hermod recipient key")
        .as_bytes()
        .first_chunk::<16>()
        .unwrap_or(&[0; 16])
}

/// Reads the store's identity and compares it, or writes it into a new store.
async fn identify(
    engine: &dyn Engine,
    clock: &dyn Clock,
    keys: &AppKeys,
    seed: Seed,
) -> Result<Seed, AppError> {
    let fingerprint = recipient_key_fingerprint(&keys.recipient);
    if let Some(stored) = engine.read(HOME, key::IDENTITY).await? {
        let identity: StoreIdentity = records::decode(&stored.value)?;
        if identity.recipient_key_fingerprint != fingerprint {
            return Err(AppError::foreign_keys());
        }
        return Ok(Seed(identity.seed));
    }
    let identity = StoreIdentity {
        recipient_key_fingerprint: fingerprint,
        seed: seed.0,
        created_at_ms: clock.now().as_millisecond(),
    };
    let value = records::encode(&identity)?;
    let batch = crate::store::Batch {
        changes: vec![crate::store::Change::Put {
            key: key::IDENTITY.to_vec(),
            value,
            expected: Some(0),
        }],
    };
    engine.commit(HOME, batch).await?;
    engine.flush().await?;
    tracing::debug!(kind = StoreIdentity::NAME, "new store");
    Ok(seed)
}
