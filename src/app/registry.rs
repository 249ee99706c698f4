//! The experiments that are known, each with its sums and the snapshot that answers.
//!
//! Invariant: decisions read a snapshot without waiting; whoever changes an experiment replaces its configuration as a whole.
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::domain::delay::learning::LearnedDelay;
use crate::domain::drift::Drift;
use crate::domain::experiment::{Experiment, ExperimentState, Objective};
use crate::domain::name::{ExperimentUid, Slug, TenantId};
use crate::domain::oversight::Oversight;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot, default_curve};
use crate::domain::timing::CampaignLevel;

use super::curves::{Curves, Delays};
use super::ledger::Sums;

mod checks;

pub use checks::Check;
use checks::Checks;

/// A snapshot older than this is recomputed though nothing came in: waiting answers change what the same counts mean.
const STALE_MS: i64 = 30_000;

/// Expected rates are learned anew at most this often.
const RATES_INTERVAL_MS: i64 = 60_000;
/// Effective trials from which on an experiment's rate counts.
const RATE_TRIALS_MIN: f64 = 1_000.0;

/// Mails at the tenant's rate that an experiment's own rate is shrunk by when it is compared with the others.
const LEVEL_TRIALS: f64 = 500.0;

/// An experiment in service.
pub struct Live {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// What answers decisions.
    snapshot: ArcSwap<Snapshot>,
    sums: Mutex<Sums>,
    delays: Mutex<Delays>,
    drift: Mutex<Drift>,
    dirty: AtomicBool,
    version: AtomicU64,
    oversight: Mutex<Oversight>,
    checks: Checks,
    /// Bits of how often it is opened over how often the tenant's experiments are.
    opened_over_all: AtomicU64,
}

/// All experiments in service.
#[derive(Default)]
pub struct Registry {
    index: RwLock<Index>,
    rates: Mutex<Rates>,
    /// Delay curves, by tenant.
    pub curves: Curves,
}

/// Rates to be expected of an experiment, as last learned.
#[derive(Default)]
struct Rates {
    by_objective: HashMap<(TenantId, Objective), f64>,
    learned_at_ms: Option<i64>,
}

#[derive(Default)]
struct Index {
    by_name: BTreeMap<TenantId, BTreeMap<Slug, Arc<Live>>>,
    by_uid: BTreeMap<ExperimentUid, Arc<Live>>,
}

/// The rate of a kind of response that a tenant's experiments can be expected to have.
pub type ExpectedRate<'a> = dyn Fn(TenantId, Objective) -> f64 + 'a;

// === impl Live ===

impl Live {
    /// Puts an experiment in service with what has been summed so far.
    pub fn new(
        tenant: TenantId,
        experiment: Experiment,
        sums: Sums,
        expected: &ExpectedRate<'_>,
        now: Timestamp,
    ) -> Self {
        let cells = sums.clone().due(now);
        let beliefs = beliefs(tenant, expected);
        let snapshot = Snapshot::build(Arc::new(experiment), &cells, &beliefs, 1, now);
        Self {
            tenant,
            snapshot: ArcSwap::from_pointee(snapshot),
            sums: Mutex::new(sums),
            delays: Mutex::new(Delays::published()),
            drift: Mutex::default(),
            dirty: AtomicBool::new(false),
            version: AtomicU64::new(1),
            oversight: Mutex::default(),
            checks: Checks::default(),
            opened_over_all: AtomicU64::new(1.0_f64.to_bits()),
        }
    }

    /// The same with what is remembered about watching over it.
    pub fn overseen(self, oversight: Oversight) -> Self {
        Self {
            oversight: Mutex::new(oversight),
            ..self
        }
    }

    /// What is remembered about watching over it.
    pub fn oversight(&self) -> MutexGuard<'_, Oversight> {
        self.oversight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the snapshot is another one than when this was last asked for the same end.
    pub fn begin_check(&self, check: Check) -> bool {
        self.checks.begin(check, self.snapshot.load().version)
    }

    /// What answers decisions now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// How often the campaign is opened over how often the tenant's are, as last learned.
    pub fn campaign_level(&self) -> CampaignLevel {
        CampaignLevel::nearest(f64::from_bits(self.opened_over_all.load(Ordering::Acquire)))
    }

    /// The experiment as configured now.
    pub fn experiment(&self) -> Arc<Experiment> {
        self.snapshot.load().experiment.clone()
    }

    /// The sums, for reading or adding; adding marks the experiment for the next refresh.
    pub fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is believed of its mails before its own data: the tenant's rates and delays.
    pub fn beliefs(&self, expected: &ExpectedRate<'_>) -> Beliefs {
        let mut beliefs = beliefs(self.tenant, expected);
        beliefs.open.curve = self.delay(Objective::Open).curve;
        beliefs.click.curve = self.delay(Objective::Click).curve;
        beliefs.conversion.curve = self.delay(Objective::Conversion).curve;
        beliefs
    }

    /// The delay curve of a response, cut at the attribution window.
    pub fn delay(&self, response: Objective) -> LearnedDelay {
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        delays.of(response)
    }

    /// Puts later curves in place; they are used from the next refresh on.
    pub fn set_delays(&self, delays: Delays) {
        *self.delays.lock().unwrap_or_else(PoisonError::into_inner) = delays;
    }

    /// What the flow has shown of its drift.
    pub fn drift(&self) -> Drift {
        let drift = self.drift.lock().unwrap_or_else(PoisonError::into_inner);
        drift.clone()
    }

    /// Puts a later judgement of the drift in place, and weighs the half-lives by it from the next refresh on.
    pub fn set_drift(&self, drift: Drift) {
        let scores = *drift.scores();
        *self.drift.lock().unwrap_or_else(PoisonError::into_inner) = drift;
        self.add(|sums| sums.weigh(scores));
    }

    /// Adds changes to the sums.
    pub fn add(&self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.sums());
        self.dirty.store(true, Ordering::Release);
    }

    /// Recomputes the snapshot if something changed or time has passed; answers whether it did.
    pub fn refresh(&self, now: Timestamp, expected: &ExpectedRate<'_>) -> bool {
        let current = self.snapshot.load();
        let stale = now.as_millisecond() - current.as_of.as_millisecond() >= STALE_MS;
        let running = current.experiment.state == ExperimentState::Running;
        if !(self.dirty.swap(false, Ordering::AcqRel) || stale && running) {
            return false;
        }
        self.rebuild(current.experiment.clone(), now, expected);
        true
    }

    /// Rates of the kinds of response with enough trials: of the objective's own kind, and of others that are reported at all.
    fn response_rates(&self, now: Timestamp) -> Vec<(Objective, f64)> {
        let counted = self.experiment().settings.objective.counted();
        let mut sums = self.sums();
        [Objective::Click, Objective::Open, Objective::Conversion]
            .into_iter()
            .filter_map(|response| {
                let (trials, successes) = sums.overall(response, &self.delay(response).curve, now);
                let known = trials >= RATE_TRIALS_MIN && (response == counted || successes > 0.0);
                known.then(|| (response, successes / trials))
            })
            .collect()
    }

    /// Replaces the configuration and answers by it from now on.
    pub fn rebuild(
        &self,
        experiment: Arc<Experiment>,
        now: Timestamp,
        expected: &ExpectedRate<'_>,
    ) {
        // Decisions add to the sums meanwhile, so they are held for a copy only.
        let copied = self.sums().copied(now);
        let cells = copied.due(now);
        let beliefs = self.beliefs(expected);
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        self.snapshot.store(Arc::new(Snapshot::build(
            experiment, &cells, &beliefs, version, now,
        )));
    }
}

/// What is believed of a tenant's mails, with the published delays.
pub fn beliefs(tenant: TenantId, expected: &ExpectedRate<'_>) -> Beliefs {
    let belief = |response| Belief {
        prior: weak_prior(expected(tenant, response)),
        curve: default_curve(response),
    };
    Beliefs {
        open: belief(Objective::Open),
        click: belief(Objective::Click),
        conversion: belief(Objective::Conversion),
    }
}

/// A weak prior at the tenant's rate; never so weak that its shape falls below what the quadrature takes.
fn weak_prior(mean: f64) -> Prior {
    Prior {
        mean,
        weight: (0.25 / mean).max(10.0),
    }
}

// === impl Registry ===

impl Registry {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an experiment in service, unless it is.
    pub fn insert(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let experiment = live.experiment();
        live.set_delays(self.curves.of(live.tenant, &experiment));
        let mut index = self.write();
        if let Some(present) = index.by_uid.get(&experiment.uid) {
            return present.clone();
        }
        index
            .by_name
            .entry(live.tenant)
            .or_default()
            .insert(experiment.id.clone(), live.clone());
        index.by_uid.insert(experiment.uid, live.clone());
        live
    }

    /// Takes an experiment out of service.
    pub fn remove(&self, tenant: TenantId, experiment: &Experiment) {
        let mut index = self.write();
        if let Some(of_tenant) = index.by_name.get_mut(&tenant) {
            of_tenant.remove(&experiment.id);
        }
        index.by_uid.remove(&experiment.uid);
    }

    /// The experiment of this name.
    pub fn by_name(&self, tenant: TenantId, id: &Slug) -> Option<Arc<Live>> {
        self.read().by_name.get(&tenant)?.get(id).cloned()
    }

    /// The experiment of this number, if it is this tenant's.
    pub fn by_uid(&self, tenant: TenantId, uid: ExperimentUid) -> Option<Arc<Live>> {
        self.read()
            .by_uid
            .get(&uid)
            .filter(|live| live.tenant == tenant)
            .cloned()
    }

    /// How many experiments a tenant has.
    pub fn count(&self, tenant: TenantId) -> usize {
        self.read().by_name.get(&tenant).map_or(0, BTreeMap::len)
    }

    /// A tenant's experiments by name, after this one.
    pub fn after(&self, tenant: TenantId, after: Option<&Slug>) -> Vec<Arc<Live>> {
        let index = self.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of_tenant = index.by_name.get(&tenant).into_iter();
        let tail = of_tenant.flat_map(|of| of.range::<Slug, _>((from, Bound::Unbounded)));
        tail.map(|(_, live)| live.clone()).collect()
    }

    /// All experiments by number, so that sums over them come out alike every time.
    pub fn lives(&self) -> Vec<Arc<Live>> {
        self.read().by_uid.values().cloned().collect()
    }

    /// The rate that a tenant's experiments with this objective can be expected to have, as last learned.
    pub fn expected_rate(&self, tenant: TenantId, objective: Objective) -> f64 {
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = rates
            .by_objective
            .get(&(tenant, objective.counted()))
            .copied();
        learned.unwrap_or_else(|| published_rate(objective))
    }

    /// Learns the expected rates anew, if the last time is long enough ago: the mean over a tenant's experiments, with the published
    /// level as two more of them.
    pub fn learn_rates(&self, now: Timestamp) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = now.as_millisecond();
        let age_ms = rates.learned_at_ms.map(|at_ms| now_ms - at_ms);
        if age_ms.is_some_and(|age_ms| (0..RATES_INTERVAL_MS).contains(&age_ms)) {
            return;
        }
        let mut sums: HashMap<(TenantId, Objective), (f64, f64)> = HashMap::new();
        for live in self.lives() {
            for (response, rate) in live.response_rates(now) {
                let published = 2.0 * published_rate(response);
                let sum = sums
                    .entry((live.tenant, response))
                    .or_insert((published, 2.0));
                *sum = (sum.0 + rate.clamp(1e-4, 0.99), sum.1 + 1.0);
            }
        }
        self.learn_levels(now);
        let by_objective = sums.into_iter().map(|(of, (sum, count))| (of, sum / count));
        *rates = Rates {
            by_objective: by_objective.collect(),
            learned_at_ms: Some(now_ms),
        };
    }
}

impl Registry {
    /// Learns how often each experiment is opened over how often its tenant's are: `(S + kappa p) / (n + kappa) / p`, p the tenant's rate.
    fn learn_levels(&self, now: Timestamp) {
        let curve = default_curve(Objective::Open);
        let opened: Vec<(Arc<Live>, f64, f64)> = self
            .lives()
            .into_iter()
            .map(|live| {
                let (trials, opens) = live.sums().overall(Objective::Open, &curve, now);
                (live, trials, opens)
            })
            .collect();
        let mut tenants: HashMap<TenantId, (f64, f64)> = HashMap::new();
        for (live, trials, opens) in &opened {
            let sum = tenants.entry(live.tenant).or_default();
            *sum = (sum.0 + trials, sum.1 + opens);
        }
        for (live, trials, opens) in opened {
            let (all_trials, all_opens) = tenants.get(&live.tenant).copied().unwrap_or_default();
            let rate = all_opens / all_trials;
            let level = (opens + LEVEL_TRIALS * rate) / (trials + LEVEL_TRIALS) / rate;
            let level = if level.is_finite() { level } else { 1.0 };
            live.opened_over_all
                .store(level.to_bits(), Ordering::Release);
        }
    }
}

/// Rates before a tenant has experiments of its own: common levels of campaigns.
pub fn published_rate(objective: Objective) -> f64 {
    match objective.counted() {
        Objective::Open => 0.2,
        Objective::Conversion => 0.005,
        _ => 0.02,
    }
}
