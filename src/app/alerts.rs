//! The book of alerts: the last thousand of each tenant, durable, in the order in which they were raised.
//!
//! Invariant: an alert is in the store before anybody sees it, and numbers ascend. One alert is raised at a time, so whoever reads on
//! from a number misses none.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::domain::alert::{Alert, Severity};
use crate::domain::name::{Slug, TenantId};
use crate::store::records::{self, key};
use crate::store::{Change, StoreError};

use super::App;

/// Alerts kept of one tenant.
pub const ALERTS_KEPT: u64 = 1_000;

/// An alert with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// Its number, from 1.
    pub number: u64,
    /// The alert.
    pub alert: Alert,
}

/// Asks for alerts, newest first.
#[derive(Clone, Debug)]
pub struct AlertsRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// Only those with a lower number.
    pub before: Option<u64>,
    /// Only those of this experiment.
    pub experiment: Option<Slug>,
    /// Only those at least this urgent.
    pub severity_min: Severity,
    /// Only those raised at this instant or later.
    pub since: Option<Timestamp>,
    /// Most items.
    pub size: usize,
}

/// The book of all tenants.
#[derive(Default)]
pub(super) struct AlertBook {
    /// Held while an alert is made, stored and published.
    pub turn: tokio::sync::Mutex<()>,
    kept: Mutex<BTreeMap<TenantId, VecDeque<Arc<Numbered>>>>,
    raised: tokio::sync::watch::Sender<u64>,
}

// === impl AlertBook ===

impl AlertBook {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<TenantId, VecDeque<Arc<Numbered>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes that store alerts of a tenant under the next numbers, each in the place of the one that is no longer kept.
    pub fn changes(&self, tenant: TenantId, alerts: &[Alert]) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::with_capacity(2 * alerts.len());
        for (number, alert) in (self.last(tenant) + 1..).zip(alerts) {
            changes.push(Change::Put {
                key: key::alert(tenant, number),
                value: records::encode(alert)?,
                expected: None,
            });
            if let Some(old) = number.checked_sub(ALERTS_KEPT).filter(|old| *old > 0) {
                changes.push(Change::Delete {
                    key: key::alert(tenant, old),
                    expected: None,
                });
            }
        }
        Ok(changes)
    }

    /// Shows alerts that were stored by [`Self::changes`].
    pub fn publish(&self, tenant: TenantId, alerts: Vec<Alert>) {
        if alerts.is_empty() {
            return;
        }
        for alert in alerts {
            let (kind, severity) = (alert.kind.as_str(), alert.kind.severity());
            metrics::counter!("hermod_alerts_total", "kind" => kind, "severity" => severity.as_str())
                .increment(1);
            let experiment = alert.experiment.as_ref().map_or("", Slug::as_str);
            if severity > Severity::Notice {
                tracing::warn!(kind, experiment, "{}", alert.text);
            } else {
                tracing::info!(kind, experiment, "{}", alert.text);
            }
            let number = self.last(tenant) + 1;
            self.keep(tenant, number, alert);
        }
        self.raised.send_modify(|count| *count += 1);
    }

    /// Keeps an alert that is in the store.
    pub fn keep(&self, tenant: TenantId, number: u64, alert: Alert) {
        let mut kept = self.kept();
        let of_tenant = kept.entry(tenant).or_default();
        of_tenant.push_back(Arc::new(Numbered { number, alert }));
        while of_tenant.len() as u64 > ALERTS_KEPT {
            of_tenant.pop_front();
        }
    }

    fn last(&self, tenant: TenantId) -> u64 {
        let kept = self.kept();
        let last = kept.get(&tenant).and_then(VecDeque::back);
        last.map_or(0, |last| last.number)
    }
}

// === impl AlertsRequest ===

impl AlertsRequest {
    /// Whether an alert is asked for, its number aside.
    pub fn takes(&self, alert: &Alert) -> bool {
        alert.kind.severity() >= self.severity_min
            && self.since.is_none_or(|since| alert.raised_at >= since)
            && (self.experiment.is_none() || self.experiment == alert.experiment)
    }
}

// === impl App ===

impl App {
    /// Alerts, newest first, and whether there are more.
    pub fn alerts(&self, request: &AlertsRequest) -> (Vec<Arc<Numbered>>, bool) {
        let kept = self.alerts.kept();
        let mut found = kept
            .get(&request.tenant)
            .into_iter()
            .flatten()
            .rev()
            .filter(|numbered| request.before.is_none_or(|before| numbered.number < before))
            .filter(|numbered| request.takes(&numbered.alert));
        let page = found.by_ref().take(request.size.max(1)).cloned().collect();
        (page, found.next().is_some())
    }

    /// Alerts with higher numbers, oldest first.
    pub fn alerts_after(&self, tenant: TenantId, number: u64) -> Vec<Arc<Numbered>> {
        let kept = self.alerts.kept();
        let newer = kept.get(&tenant).into_iter().flatten();
        newer
            .filter(|numbered| numbered.number > number)
            .cloned()
            .collect()
    }

    /// The number of the newest alert; 0 when there never was one.
    pub fn last_alert(&self, tenant: TenantId) -> u64 {
        self.alerts.last(tenant)
    }

    /// Changes whenever alerts are raised.
    pub fn watch_alerts(&self) -> tokio::sync::watch::Receiver<u64> {
        self.alerts.raised.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::AlertKind;

    fn alert(text: &str) -> Alert {
        Alert {
            kind: AlertKind::SampleRatio,
            experiment: None,
            variant: None,
            text: text.to_owned(),
            numbers: Vec::new(),
            raised_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_oldest_alert_makes_room_for_the_newest() {
        let (book, tenant) = (AlertBook::default(), TenantId::DEFAULT);
        for number in 1..=ALERTS_KEPT {
            assert_eq!(book.changes(tenant, &[alert("a")]).unwrap().len(), 1);
            book.publish(tenant, vec![alert("a")]);
            assert_eq!(book.last(tenant), number);
        }
        let changes = book.changes(tenant, &[alert("b"), alert("c")]).unwrap();
        let deleted: Vec<&[u8]> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Delete { key, .. } => Some(key.as_slice()),
                _ => None,
            })
            .collect();
        assert_eq!(deleted, [key::alert(tenant, 1), key::alert(tenant, 2)]);
        book.publish(tenant, vec![alert("b"), alert("c")]);
        let kept = book.kept();
        let of_tenant = kept.get(&tenant).unwrap();
        assert_eq!(of_tenant.len() as u64, ALERTS_KEPT);
        assert_eq!(of_tenant.front().map(|first| first.number), Some(3));
    }
}
