//! All callers and the administrator together: at work, settling after a fault, and compared with the server.
//!
//! Invariant: they stop only when the meter says that the server goes down, so that nobody knows beforehand what will be cut off.

use std::sync::Arc;

use futures_util::future::join_all;
use tonic::transport::Channel;

use super::admin::Admin;
use super::caller::Caller;
use super::campaign::Plan;
use super::meter::Meter;
use super::verify;

/// Everybody.
pub struct Company {
    /// Counts for all of them.
    pub meter: Arc<Meter>,
    callers: Vec<Caller>,
    admin: Admin,
}

// === impl Company ===

impl Company {
    /// As many as the plan wants.
    pub fn new(plan: &Plan) -> Self {
        Self {
            meter: Arc::default(),
            callers: (0..plan.callers)
                .map(|number| Caller::new(plan.seed, number))
                .collect(),
            admin: Admin::default(),
        }
    }

    /// All repeat what was cut off. False when the server went down meanwhile.
    ///
    /// # Errors
    /// When it failed though nobody took it down.
    pub async fn settle(&mut self, channels: &[Channel]) -> Result<bool, String> {
        let (callers, meter) = (&mut self.callers, &*self.meter);
        let settling = callers
            .iter_mut()
            .map(|caller| caller.settle(channels, meter));
        let mut settled = join_all(settling).await.iter().all(|settled| *settled);
        if settled && let Err(status) = self.admin.settle(&channels[0], meter).await {
            meter.failed("looking at an experiment", &status);
            settled = false;
        }
        match settled || meter.is_down() {
            true => Ok(settled),
            false => Err(format!("not settled: {:?}", meter.violations())),
        }
    }

    /// All at work, until the meter says that the server goes down.
    pub async fn work(&mut self, channels: &[Channel]) {
        let (callers, meter) = (&mut self.callers, &*self.meter);
        let calls = callers
            .iter_mut()
            .map(|caller| caller.load(channels, meter));
        tokio::join!(join_all(calls), self.admin.load(&channels[0], meter));
    }

    /// All at work for so many acknowledgements and refusals; what is under way then is finished.
    pub async fn work_for(&mut self, channels: &[Channel], acknowledgements: u64) {
        self.meter.begin(acknowledgements);
        let meter = Arc::clone(&self.meter);
        let until = async {
            meter.fault_due().await;
            meter.taking_down();
        };
        tokio::join!(self.work(channels), until);
    }

    /// Compares sums, events and people with the model: all of them, or some of each caller's.
    ///
    /// # Errors
    /// A call that failed; differences are violations.
    pub async fn compare(
        &mut self,
        channels: &[Channel],
        some: Option<usize>,
    ) -> Result<(), String> {
        let meter = &*self.meter;
        let text = |status: tonic::Status| format!("comparing: {status}");
        let first = &channels[0];
        verify::totals(&self.callers, first, meter)
            .await
            .map_err(text)?;
        for caller in &mut self.callers {
            verify::events(caller, some, channels, meter)
                .await
                .map_err(text)?;
            verify::people(caller, some.map(|_| 1), channels, meter)
                .await
                .map_err(text)?;
        }
        // Repeating everything has changed nothing.
        verify::totals(&self.callers, first, meter)
            .await
            .map_err(text)
    }
}
