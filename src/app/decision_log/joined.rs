//! Reading the log with its outcomes: each decision, what became of it, and the table it was drawn from.
//!
//! Invariant: decisions come in the order of time within a partition; which of them count is left to the callers.
use std::sync::Arc;

use crate::app::{App, AppError};
use crate::domain::decision_log::{LoggedDecision, LoggedOutcome, LoggedTable};
use crate::domain::experiment::Experiment;
use crate::domain::name::{Slug, TenantId};
use crate::store::Partition;
use crate::store::records::{self, key};

use super::day_of;
use super::grounds::Shelf;

/// A decision with what became of it.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Which one.
    pub at: key::LoggedAt,
    /// As it was made.
    pub decision: LoggedDecision,
    /// The experiment as it was configured then.
    pub experiment: Arc<Experiment>,
    /// The table it was drawn from; none for an answer not to send.
    pub table: Option<LoggedTable>,
    /// What events told; none as long as there was no event.
    pub outcome: Option<LoggedOutcome>,
}

impl App {
    /// Calls `take` with every logged decision of an experiment; answers what could not be read.
    pub async fn each_logged(
        &self,
        tenant: TenantId,
        experiment: &Slug,
        mut take: impl FnMut(Joined),
    ) -> Result<Vec<String>, AppError> {
        let uid = self.experiment(tenant, experiment)?.uid;
        let (mut shelf, mut unreadable) = (Shelf::default(), Vec::new());
        for partition in (0..self.engine.partitions()).map(Partition) {
            let mut after = None;
            loop {
                let rows = self.log_page(partition, key::DECISIONS, after).await?;
                after = rows.last().map(|(key, _)| key.clone());
                if after.is_none() {
                    break;
                }
                for (key, stored) in &rows {
                    let Some(at) = key::parse::logged(key).filter(|at| at.tenant == tenant) else {
                        continue;
                    };
                    let decision = match records::decode::<LoggedDecision>(&stored.value) {
                        Ok(decision) if decision.experiment == uid => decision,
                        Ok(_) => continue,
                        Err(error) => {
                            unreadable.push(error.to_string());
                            continue;
                        }
                    };
                    match self.joined(partition, at, decision, &mut shelf).await {
                        Ok(joined) => take(joined),
                        Err(error) => unreadable.push(error.to_string()),
                    }
                }
            }
        }
        Ok(unreadable)
    }

    async fn joined(
        &self,
        partition: Partition,
        at: key::LoggedAt,
        decision: LoggedDecision,
        shelf: &mut Shelf,
    ) -> Result<Joined, AppError> {
        let day = day_of(at.decided_at_ms);
        let experiment = shelf
            .experiment(self, day, decision.inputs.configured)
            .await?;
        let table = match decision.inputs.table {
            Some(id) => Some(shelf.table(self, day, id).await?.logged.clone()),
            None => None,
        };
        let stored = self.engine.read(partition, &key::outcome(at)).await?;
        let outcome = match stored {
            Some(stored) => Some(records::decode::<LoggedOutcome>(&stored.value)?),
            None => None,
        };
        Ok(Joined {
            at,
            decision,
            experiment,
            table,
            outcome,
        })
    }
}
