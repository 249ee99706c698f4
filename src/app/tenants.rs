//! The tenants of a store: their names and numbers, and what is learned of each besides its experiments.
//!
//! Invariant: a number is durable before it is used and never given out twice, and nothing learned here is shared by two tenants. Which
//! credentials belong to which tenant is left to the layers above.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::domain::allowance::Allowance;
use crate::domain::content_id::ContentId;
use crate::domain::name::{Slug, TenantId};
use crate::domain::send_time::{SendTimeModel, ZoneTally};
use crate::store::records::{self, LastTenant, NumberedTenant, key};
use crate::store::{Batch, Change, Outcome};

use super::fallback::Fallbacks;
use super::ledger::TenantHours;
use super::limits::LogBudget;
use super::load::foreign_key;
use super::writes::TRIES_MAX;
use super::{App, AppError, HOME, Kind, LoadReport};

/// Most tenants of one store.
pub const TENANTS_MAX: usize = 10_000;
/// The tenant there is while no credentials tell others apart.
const DEFAULT_NAME: &str = "default";

/// What is learned of one tenant besides its experiments.
#[derive(Default)]
pub(super) struct Learned {
    /// Everybody's hours, and how far people differ in them.
    pub hours: TenantHours,
    /// The send-time model in service.
    pub model: ArcSwap<SendTimeModel>,
    /// Where its people live, as counted last.
    pub zones: ArcSwap<ZoneTally>,
    /// Answers given as for somebody unknown.
    pub fallbacks: Fallbacks,
    /// The model last written to the decision log, with its name there.
    pub logged_model: Mutex<Option<(Arc<SendTimeModel>, ContentId)>>,
    /// Bytes of the decision log today.
    log_budget: Mutex<LogBudget>,
    /// What is left of its requests per second, once it made one.
    allowance: Mutex<Option<Allowance>>,
    /// Recipients kept, over all partitions.
    recipients: AtomicI64,
}

/// All tenants in service.
#[derive(Default)]
pub(super) struct Tenants {
    index: ArcSwap<Index>,
}

#[derive(Clone, Default)]
struct Index {
    learned: BTreeMap<TenantId, Arc<Learned>>,
    names: BTreeMap<Slug, TenantId>,
}

// === impl Learned ===

impl Learned {
    /// Recipients kept.
    pub fn recipients(&self) -> i64 {
        self.recipients.load(Ordering::Relaxed)
    }

    /// Counts recipients that came, or with a negative count went.
    pub fn add_recipients(&self, count: i64) {
        self.recipients.fetch_add(count, Ordering::Relaxed);
    }

    /// Bytes of the decision log today.
    pub fn log_budget(&self) -> MutexGuard<'_, LogBudget> {
        let budget = self.log_budget.lock();
        budget.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of its requests per second.
    pub fn allowance(&self) -> MutexGuard<'_, Option<Allowance>> {
        let allowance = self.allowance.lock();
        allowance.unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tenants ===

impl Tenants {
    /// What is learned of a tenant; nothing yet of one that was never seen.
    pub fn of(&self, tenant: TenantId) -> Arc<Learned> {
        if let Some(learned) = self.index.load().learned.get(&tenant) {
            return learned.clone();
        }
        let fresh = Arc::new(Learned::default());
        let of_tenant = |index: &Arc<Index>| {
            let mut index = Index::clone(index);
            index.learned.entry(tenant).or_insert_with(|| fresh.clone());
            index
        };
        self.index.rcu(of_tenant);
        let found = self.index.load().learned.get(&tenant).cloned();
        found.unwrap_or(fresh)
    }

    /// All tenants of whom anything is learned.
    pub fn all(&self) -> Vec<(TenantId, Arc<Learned>)> {
        let index = self.index.load();
        let all = index.learned.iter();
        all.map(|(tenant, learned)| (*tenant, learned.clone()))
            .collect()
    }

    fn named(&self, name: &Slug) -> Option<TenantId> {
        self.index.load().names.get(name).copied()
    }

    /// Takes a tenant's number into service.
    fn keep(&self, name: &Slug, tenant: TenantId) {
        self.index.rcu(|index| {
            let mut index = Index::clone(index);
            index.names.insert(name.clone(), tenant);
            index
        });
    }
}

// === impl App ===

impl App {
    /// The number of a tenant, given out durably when it is first named; `default` is [`TenantId::DEFAULT`].
    ///
    /// Errors: no valid name, too many tenants, a store that cannot be written, a damaged record.
    pub async fn tenant(&self, name: &str) -> Result<TenantId, AppError> {
        let name = Slug::parse(name).map_err(|error| {
            AppError::invalid_field("TENANT_NAME_INVALID", "tenant", error.to_string())
        })?;
        if name.as_str() == DEFAULT_NAME {
            return Ok(TenantId::DEFAULT);
        }
        if let Some(tenant) = self.tenants.named(&name) {
            return Ok(tenant);
        }
        for _ in 0..TRIES_MAX {
            if let Some(tenant) = self.number_tenant(&name).await? {
                self.tenants.keep(&name, tenant);
                return Ok(tenant);
            }
        }
        Err(AppError::contended())
    }

    /// All tenants that were ever named, by name, `default` among them.
    pub fn tenants(&self) -> Vec<(Slug, TenantId)> {
        let index = self.tenants.index.load();
        let default = Slug::parse(DEFAULT_NAME).map(|name| (name, TenantId::DEFAULT));
        let named = index.names.iter().map(|(name, id)| (name.clone(), *id));
        let mut all: Vec<(Slug, TenantId)> = named.chain(default).collect();
        all.sort();
        all
    }

    /// One try at finding or giving out a number: `None` when somebody else gave one out in between.
    async fn number_tenant(&self, name: &Slug) -> Result<Option<TenantId>, AppError> {
        let place = key::tenant(name);
        if let Some(stored) = self.engine.read(HOME, &place).await? {
            let found: NumberedTenant = records::decode(&stored.value)?;
            // Whoever wrote it may not have waited for the disk yet.
            self.engine.flush().await?;
            return Ok(Some(TenantId(found.number)));
        }
        if self.tenants().len() >= TENANTS_MAX {
            let message = format!("a store has at most {TENANTS_MAX} tenants");
            return Err(AppError::new(
                Kind::ResourceExhausted,
                "TOO_MANY_TENANTS",
                message,
            ));
        }
        let last = self.engine.read(HOME, key::LAST_TENANT).await?;
        let (number, version) = match &last {
            Some(stored) => {
                let LastTenant(number) = records::decode(&stored.value)?;
                (number, stored.version)
            }
            None => (TenantId::DEFAULT.0, 0),
        };
        let tenant = NumberedTenant {
            number: number.saturating_add(1),
            created_at_ms: self.now().as_millisecond(),
        };
        let put = |key: Vec<u8>, value: Vec<u8>, version| Change::Put {
            key,
            value,
            expected: Some(version),
        };
        let last = records::encode(&LastTenant(tenant.number))?;
        let changes = vec![
            put(key::LAST_TENANT.to_vec(), last, version),
            put(place, records::encode(&tenant)?, 0),
        ];
        match self.engine.commit(HOME, Batch { changes }).await? {
            Outcome::Committed(ticket) => {
                self.engine.durable(ticket).await?;
                Ok(Some(TenantId(tenant.number)))
            }
            Outcome::Conflict { .. } => Ok(None),
        }
    }

    /// Reads the numbers of all tenants back at start.
    pub(super) async fn load_tenants(&self, report: &mut LoadReport) -> Result<(), AppError> {
        self.each(HOME, key::TENANTS, report, |key, value| {
            let name = key::parse::tenant_name(key).ok_or_else(|| foreign_key(key))?;
            let NumberedTenant { number, .. } = records::decode(value)?;
            self.tenants.keep(&name, TenantId(number));
            Ok(())
        })
        .await
    }
}
