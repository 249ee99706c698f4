//! Counts of everything a tenant has, and of the store.
use crate::domain::alert::Severity;
use crate::domain::cell::Lane;
use crate::domain::experiment::ExperimentState;
use crate::domain::name::{TenantId, VariantIndex};
use crate::domain::timeline::HourCounts;
use crate::store::EngineStatistics;

use super::{ALERTS_KEPT, AlertsRequest, App};

/// Counts of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The states of the tenant's experiments.
    pub states: Vec<ExperimentState>,
    /// Decisions and events over all of them.
    pub counts: HourCounts,
    /// Alerts kept.
    pub alerts: usize,
    /// Those of them that are critical.
    pub alerts_critical: usize,
    /// Records in the store, about; 0 where the store has other tenants, whose traffic would show.
    pub store_records: u64,
    /// Bytes of the store on disk; 0 where the store has other tenants.
    pub store_bytes: u64,
}

// === impl Statistics ===

impl Statistics {
    /// Experiments in a state.
    pub fn in_state(&self, state: ExperimentState) -> usize {
        self.states.iter().filter(|of| **of == state).count()
    }
}

// === impl App ===

impl App {
    /// Counts of everything a tenant has, and of the store.
    pub fn statistics(&self, tenant: TenantId) -> Statistics {
        let mut counts = HourCounts::default();
        let mut states = Vec::new();
        for live in self.registry.after(tenant, None) {
            let experiment = live.experiment();
            states.push(experiment.state);
            let sums = live.sums();
            for variant in (0..).map(VariantIndex).take(experiment.variants.len()) {
                for lane in [Lane::Policy, Lane::Holdout] {
                    counts.merge(&sums.counts(variant, lane));
                }
            }
        }
        let alerts = |severity_min| {
            let request = AlertsRequest {
                tenant,
                before: None,
                experiment: None,
                severity_min,
                since: None,
                size: ALERTS_KEPT as usize,
            };
            self.alerts(&request).0.len()
        };
        let engine = match self.tenants().len() {
            0 | 1 => self.engine_statistics(),
            _ => EngineStatistics::default(),
        };
        Statistics {
            states,
            counts,
            alerts: alerts(Severity::Notice),
            alerts_critical: alerts(Severity::Critical),
            store_records: engine.keys,
            store_bytes: engine.stored_bytes,
        }
    }
}
