//! How many decisions are answered as for somebody unknown because a record cannot be read, and an alert when there are many.
//!
//! Invariant: counted by tenant since the last check, over all its experiments; a single damaged record raises nothing.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;

use crate::domain::alert::{Alert, AlertKind};
use crate::domain::name::TenantId;
use crate::domain::oversight::Signal;
use crate::store::{Batch, Outcome};

use super::{App, AppError, HOME};

/// Share of fallback answers above which people are alerted.
const SHARE_ALERTED: f64 = 0.01;
/// Answers below which a share says nothing.
const ANSWERS_MIN: u64 = 100;

/// Answers since the last check.
#[derive(Default)]
pub(super) struct Fallbacks {
    answers: AtomicU64,
    fallbacks: AtomicU64,
    holds: AtomicBool,
}

/// Answers between two checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    answers: u64,
    fallbacks: u64,
}

// === impl Fallbacks ===

impl Fallbacks {
    /// Counts an answer.
    pub fn count(&self, is_fallback: bool) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.fallbacks
            .fetch_add(u64::from(is_fallback), Ordering::Relaxed);
    }

    fn take(&self) -> Interval {
        Interval {
            answers: self.answers.swap(0, Ordering::Relaxed),
            fallbacks: self.fallbacks.swap(0, Ordering::Relaxed),
        }
    }

    /// Whether an alert is due: the share is high, and was not at the last check that could tell.
    fn begins(&self, interval: Interval) -> bool {
        match interval.signal() {
            Signal::Raised => !self.holds.swap(true, Ordering::AcqRel),
            Signal::Calm => {
                self.holds.store(false, Ordering::Release);
                false
            }
            Signal::Unclear => false,
        }
    }
}

// === impl Interval ===

impl Interval {
    fn share(self) -> f64 {
        self.fallbacks as f64 / self.answers.max(1) as f64
    }

    fn signal(self) -> Signal {
        if self.answers < ANSWERS_MIN {
            Signal::Unclear
        } else if self.share() > SHARE_ALERTED {
            Signal::Raised
        } else {
            Signal::Calm
        }
    }
}

// === impl App ===

impl App {
    /// Raises an alert for every tenant of whose answers since the last check many were fallbacks.
    pub(super) async fn check_fallbacks(&self) -> Result<(), AppError> {
        for (tenant, learned) in self.tenants.all() {
            let interval = learned.fallbacks.take();
            if learned.fallbacks.begins(interval) {
                self.alert_fallbacks(tenant, interval).await?;
            }
        }
        Ok(())
    }

    async fn alert_fallbacks(&self, tenant: TenantId, interval: Interval) -> Result<(), AppError> {
        let _turn = self.alerts.turn.lock().await;
        let alerts = vec![alert(interval, self.now())];
        let changes = self.alerts.changes(tenant, &alerts)?;
        if let Outcome::Committed(ticket) = self.engine.commit(HOME, Batch { changes }).await? {
            self.engine.durable(ticket).await?;
            self.alerts.publish(tenant, alerts);
        }
        Ok(())
    }
}

fn alert(interval: Interval, now: Timestamp) -> Alert {
    let Interval { answers, fallbacks } = interval;
    Alert {
        kind: AlertKind::FallbackShare,
        experiment: None,
        variant: None,
        text: format!(
            "{fallbacks} of {answers} decisions were answered as for somebody unknown, because records cannot be read; hermod inspect store names them"
        ),
        numbers: vec![
            ("decisions".to_owned(), answers as f64),
            ("fallbacks".to_owned(), fallbacks as f64),
        ],
        raised_at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_share_is_alerted_once_until_it_was_low_again() {
        let fallbacks = Fallbacks::default();
        let interval = |answers, fallbacks| Interval { answers, fallbacks };
        let begins: Vec<bool> = [
            (1_000, 10),
            (1_000, 11),
            (1_000, 500),
            (99, 0),
            (200, 9),
            (1_000, 0),
            (200, 9),
        ]
        .map(|(answers, of)| fallbacks.begins(interval(answers, of)))
        .to_vec();
        assert_eq!(begins, [false, true, false, false, false, false, true]);
    }

    #[test]
    fn answers_are_counted_from_check_to_check() {
        let fallbacks = Fallbacks::default();
        (0..10).for_each(|at| fallbacks.count(at == 3));
        let interval = fallbacks.take();
        assert_eq!((interval.answers, interval.fallbacks), (10, 1));
        assert_eq!(fallbacks.take().answers, 0);
    }
}
