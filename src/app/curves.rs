//! Delay curves in service: one for each tenant, kind of response, and campaigns or flows, learned anew from time to time.
//!
//! Invariant: every experiment has a curve for each response, cut at its own attribution window; before delays are seen it is the published one.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::cell::HOUR_MS;
use crate::domain::delay::learning::{DelayEvidence, DelayPrior, LearnedDelay, learn};
use crate::domain::experiment::{Experiment, ExperimentKind, Objective};
use crate::domain::name::TenantId;
use crate::domain::snapshot::default_curve;

use super::registry::{Live, Registry, published_rate};

/// Curves are learned anew at most this often, and at least so much less often with many experiments.
const INTERVAL_MS: i64 = 1_000;
const INTERVAL_MS_PER_EXPERIMENT: i64 = 10;
const INTERVAL_MS_MAX: i64 = 60_000;
/// Half-life of what an experiment without one of its own counts for, hours: 60 days.
const HALF_LIFE_HOURS: f64 = 60.0 * 24.0;
/// Most experiments that one curve is learned from; those with the most delays.
const EXPERIMENTS_MAX: usize = 1_000;
/// A high rate over the published one.
const HIGH_RATE: f64 = 5.0;
/// No high rate is higher.
const HIGH_RATE_MAX: f64 = 0.5;

/// The responses whose delays are kept.
const RESPONSES: [Objective; 3] = [Objective::Open, Objective::Click, Objective::Conversion];

/// What shares a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Group {
    tenant: TenantId,
    response: Objective,
    is_flow: bool,
}

/// All curves as last learned.
#[derive(Default)]
pub struct Curves {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    learned: HashMap<Group, LearnedDelay>,
    /// Cutting takes its time, and most experiments of a tenant have the same window.
    cut: HashMap<(Group, i64), LearnedDelay>,
    learned_at_ms: HashMap<TenantId, i64>,
}

/// The curves of one experiment, each cut at its window.
#[derive(Clone, Copy, Debug)]
pub struct Delays([LearnedDelay; RESPONSES.len()]);

// === impl Delays ===

impl Delays {
    /// The published curves, not yet cut.
    pub fn published() -> Self {
        Self(RESPONSES.map(|response| LearnedDelay {
            curve: default_curve(response),
            delays: 0.0,
        }))
    }

    /// The curve of a response.
    pub fn of(&self, response: Objective) -> LearnedDelay {
        let Self([open, click, conversion]) = *self;
        match response.counted() {
            Objective::Open => open,
            Objective::Conversion => conversion,
            _ => click,
        }
    }
}

// === impl Group ===

impl Group {
    fn of(tenant: TenantId, experiment: &Experiment, response: Objective) -> Self {
        Self {
            tenant,
            response,
            is_flow: experiment.settings.kind == ExperimentKind::Flow,
        }
    }

    fn prior(&self) -> DelayPrior {
        DelayPrior {
            published: default_curve(self.response),
            high_rate: (HIGH_RATE * published_rate(self.response)).min(HIGH_RATE_MAX),
        }
    }
}

// === impl State ===

impl State {
    /// The curve of a group, cut at a window.
    fn cut(&mut self, group: Group, window_ms: i64) -> LearnedDelay {
        let whole = self
            .learned
            .get(&group)
            .copied()
            .unwrap_or_else(|| LearnedDelay {
                curve: default_curve(group.response),
                delays: 0.0,
            });
        *self
            .cut
            .entry((group, window_ms))
            .or_insert_with(|| LearnedDelay {
                curve: whole.curve.within(window_ms as f64 / HOUR_MS as f64),
                delays: whole.delays,
            })
    }

    fn of(&mut self, tenant: TenantId, experiment: &Experiment) -> Delays {
        let window_ms = experiment.settings.attribution_window_ms;
        Delays(
            RESPONSES.map(|response| self.cut(Group::of(tenant, experiment, response), window_ms)),
        )
    }

    /// Whether curves of a tenant are due to be learned; then they count as learned now.
    fn begin(&mut self, tenant: TenantId, now: Timestamp, experiments: usize) -> bool {
        let now_ms = now.as_millisecond();
        let interval_ms =
            (INTERVAL_MS_PER_EXPERIMENT * experiments as i64).clamp(INTERVAL_MS, INTERVAL_MS_MAX);
        let age_ms = self.learned_at_ms.get(&tenant).map(|at_ms| now_ms - at_ms);
        if age_ms.is_some_and(|age_ms| (0..interval_ms).contains(&age_ms)) {
            return false;
        }
        self.learned_at_ms.insert(tenant, now_ms);
        true
    }
}

// === impl Curves ===

impl Curves {
    /// The curves of an experiment as last learned.
    pub fn of(&self, tenant: TenantId, experiment: &Experiment) -> Delays {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.of(tenant, experiment)
    }
}

// === impl Registry ===

impl Registry {
    /// Learns all curves anew, if the last time is long enough ago, and gives every experiment its own.
    pub fn learn_delays(&self, now: Timestamp) {
        let mut by_tenant: HashMap<TenantId, Vec<Arc<Live>>> = HashMap::new();
        for live in self.lives() {
            by_tenant.entry(live.tenant).or_default().push(live);
        }
        for (tenant, lives) in by_tenant {
            self.learn_delays_of(tenant, &lives, now);
        }
    }

    /// The same for one tenant: how often, and from what, is nobody else's matter.
    fn learn_delays_of(&self, tenant: TenantId, lives: &[Arc<Live>], now: Timestamp) {
        let mut state = self
            .curves
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !state.begin(tenant, now, lives.len()) {
            return;
        }
        let mut groups: HashMap<Group, Vec<DelayEvidence>> = HashMap::new();
        for live in lives {
            let experiment = live.experiment();
            for (response, evidence) in evidence(live, &experiment, now) {
                let group = Group::of(live.tenant, &experiment, response);
                groups.entry(group).or_default().push(evidence);
            }
        }
        state.cut.retain(|(group, _), _| group.tenant != tenant);
        state
            .learned
            .retain(|group, _| group.tenant != tenant || groups.contains_key(group));
        for (group, mut evidence) in groups {
            let delays = |evidence: &DelayEvidence| evidence.arrived.iter().sum::<f64>();
            evidence.sort_by(|one, other| delays(other).total_cmp(&delays(one)));
            evidence.truncate(EXPERIMENTS_MAX);
            let learned = learn(&group.prior(), &evidence);
            state.learned.insert(group, learned);
        }
        for live in lives {
            live.set_delays(state.of(live.tenant, &live.experiment()));
        }
    }
}

/// What an experiment shows of its delays, by response; nothing where there was no success.
fn evidence(
    live: &Live,
    experiment: &Experiment,
    now: Timestamp,
) -> Vec<(Objective, DelayEvidence)> {
    let sums = live.sums();
    let changed_at_ms = sums.arrivals_as_of_ms();
    let importance = match experiment.settings.kind {
        ExperimentKind::Flow => 1.0,
        ExperimentKind::Campaign => {
            let age_hours = (now.as_millisecond() - changed_at_ms).max(0) as f64 / HOUR_MS as f64;
            (-age_hours / HALF_LIFE_HOURS).exp2()
        }
    };
    let of = |response| {
        let evidence = sums.delay_evidence(response, now)?;
        Some((
            response,
            DelayEvidence {
                window_hours: experiment.settings.attribution_window_ms as f64 / HOUR_MS as f64,
                importance,
                ..evidence
            },
        ))
    };
    RESPONSES.into_iter().filter_map(of).collect()
}
