//! hermod on the engine in memory, at a clock that the laboratory moves.
//!
//! Invariant: nothing waits and nothing survives. One rig is one world; rigs share nothing, so they can run side by side.
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use jiff::{SignedDuration, Timestamp};

use crate::app::{
    App, AppKeys, AppSettings, Clock, DecisionLogSettings, LimitSettings, RetentionSettings,
    VirtualClock,
};
use crate::domain::civil::Zone;
use crate::domain::draws::Seed;
use crate::domain::name::TenantId;
use crate::domain::recipient::ConsentLevel;
use crate::domain::token::{TokenKey, TokenKeys};
use crate::store::MemoryEngine;
use crate::store::records::MergeRecords;

use super::LabError;

/// Monday 2024-01-01 00:00 UTC: where virtual time begins.
const START_SECOND: i64 = 1_704_067_200;

/// hermod with its clock.
pub struct Rig {
    /// The use cases.
    pub app: App,
    clock: Arc<VirtualClock>,
}

/// The instant at which virtual time begins, a Monday midnight in universal time.
pub fn start() -> Timestamp {
    Timestamp::from_second(START_SECOND).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// An instant so many hours after another; stays put where time ends.
pub fn after_hours(from: Timestamp, hours: f64) -> Timestamp {
    from.checked_add(SignedDuration::from_millis((hours * 3_600_000.0) as i64))
        .unwrap_or(from)
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs a use case, which waits for nobody on the engine in memory; at most it lets others have their turn.
pub fn ready<F: Future>(future: F) -> Result<F::Output, LabError> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return Ok(output),
            Poll::Pending if woken.0.swap(false, Ordering::AcqRel) => {}
            Poll::Pending => return Err(LabError::Waited),
        }
    }
}

// === impl Rig ===

impl Rig {
    /// An empty hermod at the start of virtual time; the seed fixes all of its draws.
    pub fn new(seed: u64) -> Result<Self, LabError> {
        Self::open(seed, false)
    }

    /// The same with a decision log, which costs time and memory.
    pub fn with_decision_log(seed: u64) -> Result<Self, LabError> {
        Self::open(seed, true)
    }

    fn open(seed: u64, log: bool) -> Result<Self, LabError> {
        let clock = Arc::new(VirtualClock::at(start()));
        let engine = Arc::new(MemoryEngine::new(1, Arc::new(MergeRecords)));
        let Seed(secret) = Seed::from_number(seed);
        let keys = AppKeys {
            recipient: secret,
            tokens: TokenKeys::new(TokenKey { id: 1, secret }, Vec::new()),
        };
        let settings = AppSettings {
            default_zone: Zone::utc(),
            default_consent: ConsentLevel::Individual,
            default_holdout_share: 0.0,
            default_floor: 0.02,
            default_exploration_share: 0.0,
            decision_log: DecisionLogSettings {
                enabled: log,
                ..DecisionLogSettings::default()
            },
            limits: LimitSettings::default(),
            retention: RetentionSettings::default(),
        };
        let opened = App::open(engine, clock.clone(), keys, Seed(secret), settings);
        let (app, _) = ready(opened)??;
        Ok(Self { app, clock })
    }

    /// The number of a tenant, given out when it is first named; requests that carry it act for that tenant.
    pub fn tenant(&self, name: &str) -> Result<TenantId, LabError> {
        Ok(ready(self.app.tenant(name))??)
    }

    /// Moves the clock, also backwards.
    pub fn set(&self, at: Timestamp) {
        self.clock.set(at);
    }

    /// Does what is due from time to time, as a server does every few seconds; a step that fails is an error here.
    pub fn maintain(&self) -> Result<(), LabError> {
        match ready(self.app.maintain())?.failed.into_iter().next() {
            Some((_, error)) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Moves the clock on.
    pub fn advance_hours(&self, hours: f64) {
        self.clock.set(after_hours(self.clock.now(), hours));
    }
}

#[cfg(test)]
mod learning_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_only_when_told() {
        let rig = Rig::new(1).unwrap();
        assert_eq!(rig.app.now(), start());
        rig.advance_hours(36.0);
        assert_eq!(rig.app.now().as_second() - START_SECOND, 36 * 3_600);
    }

    #[test]
    fn maintenance_runs_every_step_in_virtual_time() {
        let rig = Rig::new(1).unwrap();
        let report = ready(rig.app.maintain()).unwrap();
        assert_eq!(report.done, crate::app::MaintenanceStep::ALL);
        assert!(report.failed.is_empty());
        rig.maintain().unwrap();
    }

    #[test]
    fn tenants_are_numbered_as_they_are_named() {
        let rig = Rig::new(1).unwrap();
        let numbers = ["default", "acme", "globex", "acme"].map(|name| rig.tenant(name).unwrap());
        assert_eq!(numbers, [1, 2, 3, 2].map(TenantId));
    }

    #[test]
    fn waiting_is_an_error_and_not_a_hang() {
        assert!(matches!(
            ready(std::future::pending::<()>()),
            Err(LabError::Waited)
        ));
    }
}
