//! Replaying: a logged decision is made again from what was kept of it, and compared bit for bit.
//!
//! Invariant: what cannot be read or made again counts as different; nothing is written.
use crate::app::{App, AppError, Kind, LoadReport};
use crate::domain::decision_log::{Comparison, Grounds, LoggedDecision, compare, compare_table};
use crate::domain::name::TenantId;
use crate::domain::send_time::SendTimeModel;
use crate::store::records::{self, key};
use crate::store::{Partition, StoreError};

use super::grounds::Shelf;
use super::{CODE, day_of};

/// Which decisions to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayTarget {
    /// Everything in the log.
    All,
    /// So many, chosen by hash: the same ones each time.
    Sample(usize),
}

/// A decision made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Which one.
    pub at: key::LoggedAt,
    /// Name of its experiment, where that could be read.
    pub experiment: String,
    /// Version of the program that decided.
    pub code: String,
    /// Version of this program.
    pub code_now: &'static str,
    /// Field by field.
    pub comparisons: Vec<Comparison>,
    /// Why it could not be made again; empty when it could.
    pub problem: String,
}

/// How many decisions came out alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Decisions replayed.
    pub replayed: u64,
    /// Of these, alike to the last bit.
    pub equal: u64,
    /// Of these, decided by another version of the program.
    pub other_code: u64,
    /// Entries that could not be read: where, and why.
    pub unreadable: Vec<String>,
}

// === impl Replayed ===

impl Replayed {
    /// Whether everything came out alike, to the last bit.
    pub fn is_equal(&self) -> bool {
        self.problem.is_empty() && self.comparisons.iter().all(|comparison| comparison.equal)
    }
}

// === impl ReplaySummary ===

impl ReplaySummary {
    /// Whether all came out alike and everything could be read.
    pub fn is_equal(&self) -> bool {
        self.replayed == self.equal && self.unreadable.is_empty()
    }

    fn count(&mut self, replayed: &Replayed) {
        self.replayed += 1;
        self.equal += u64::from(replayed.is_equal());
        self.other_code += u64::from(replayed.code != replayed.code_now);
    }
}

/// Whether a logged decision is of the tenant, if one is asked for.
fn is_of(tenant: Option<TenantId>, at: &key::LoggedAt) -> bool {
    tenant.is_none_or(|tenant| at.tenant == tenant)
}

impl App {
    /// Replays the decision with this id.
    ///
    /// Errors: no decision id of this tenant; not in the log, because it is past the retention or was erased.
    pub async fn replay(&self, tenant: TenantId, decision_id: &str) -> Result<Replayed, AppError> {
        let token = self.verified(tenant, decision_id)?;
        let at = key::LoggedAt {
            decided_at_ms: token.decided_at.as_millisecond(),
            tenant,
            decision: token.decision,
        };
        let partition = self.partition_of(token.recipient);
        let Some(stored) = self.engine.read(partition, &key::decision(at)).await? else {
            let message = "the decision is not in the log: it is past the retention, was erased, or the log was off";
            return Err(AppError::new(
                Kind::NotFound,
                "DECISION_NOT_LOGGED",
                message,
            ));
        };
        let logged: LoggedDecision = records::decode(&stored.value)?;
        Ok(self.replay_entry(at, &logged, &mut Shelf::default()).await)
    }

    /// Replays what is in the log of a tenant, or of all, calls `take` with each, and counts; for a store without a server.
    pub async fn replay_log(
        &self,
        tenant: Option<TenantId>,
        target: ReplayTarget,
        mut take: impl FnMut(&Replayed),
    ) -> Result<ReplaySummary, AppError> {
        let mut summary = ReplaySummary::default();
        let mut shelf = Shelf::default();
        let last = match target {
            ReplayTarget::All => None,
            ReplayTarget::Sample(size) => Some(self.last_of_sample(tenant, size).await?),
        };
        for partition in (0..self.engine.partitions()).map(Partition) {
            let mut after = None;
            loop {
                let rows = self.log_page(partition, key::DECISIONS, after).await?;
                after = rows.last().map(|(key, _)| key.clone());
                for (key, stored) in &rows {
                    let Some(at) = key::parse::logged(key).filter(|at| is_of(tenant, at)) else {
                        continue;
                    };
                    if last.is_some_and(|last| rank(at.decision) > last) {
                        continue;
                    }
                    match records::decode::<LoggedDecision>(&stored.value) {
                        Ok(logged) => {
                            let replayed = self.replay_entry(at, &logged, &mut shelf).await;
                            summary.count(&replayed);
                            take(&replayed);
                        }
                        Err(error) => summary.unreadable.push(format!(
                            "decision {:016x} of {} ms: {error}",
                            at.decision, at.decided_at_ms
                        )),
                    }
                }
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(summary)
    }

    /// The rank of the last decision that is in a sample of this size.
    async fn last_of_sample(&self, tenant: Option<TenantId>, size: usize) -> Result<u64, AppError> {
        let mut ranks = std::collections::BinaryHeap::new();
        for partition in (0..self.engine.partitions()).map(Partition) {
            let mut report = LoadReport::default();
            self.each(partition, key::DECISIONS, &mut report, |key, _| {
                if let Some(at) = key::parse::logged(key).filter(|at| is_of(tenant, at)) {
                    ranks.push(rank(at.decision));
                    if ranks.len() > size {
                        ranks.pop();
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(ranks.pop().unwrap_or(0))
    }

    async fn replay_entry(
        &self,
        at: key::LoggedAt,
        logged: &LoggedDecision,
        shelf: &mut Shelf,
    ) -> Replayed {
        let mut replayed = Replayed {
            at,
            experiment: String::new(),
            code: logged.code.clone(),
            code_now: CODE,
            comparisons: Vec::new(),
            problem: String::new(),
        };
        if let Err(problem) = self.compared(logged, shelf, &mut replayed).await {
            replayed.problem = problem;
        }
        replayed
    }

    async fn compared(
        &self,
        logged: &LoggedDecision,
        shelf: &mut Shelf,
        replayed: &mut Replayed,
    ) -> Result<(), String> {
        let inputs = &logged.inputs;
        let day = day_of(replayed.at.decided_at_ms);
        let text = |error: StoreError| error.to_string();
        let experiment = shelf.experiment(self, day, inputs.configured).await;
        let experiment = experiment.map_err(text)?;
        replayed.experiment = experiment.id.to_string();
        let mut grounds = Grounds {
            experiment,
            table: None,
            model: SendTimeModel::default(),
        };
        if let Some(id) = inputs.table {
            let both = shelf.table(self, day, id).await.map_err(text)?;
            replayed
                .comparisons
                .push(compare_table(&both.logged, both.remade.as_ref()));
            grounds.table = both.remade.clone();
        }
        if let Some(id) = inputs.model {
            grounds.model = shelf
                .model(self, day, id)
                .await
                .map_err(text)?
                .as_ref()
                .clone();
        }
        let draws = self.seed.draws(
            logged.experiment,
            logged.recipient,
            inputs.occasion,
            inputs.attempt,
        );
        replayed.comparisons.push(Comparison::of(
            "fingerprint",
            [&replayed.at.decision, &draws.fingerprint],
            |fingerprint| format!("{fingerprint:016x}"),
        ));
        let repeated = logged
            .repeat(&grounds, draws)
            .map_err(|error| error.to_string())?;
        replayed
            .comparisons
            .extend(compare(&logged.outcome, &repeated));
        Ok(())
    }
}

/// A decision's place in a sample: a hash of its fingerprint, the same each time.
fn rank(decision: u64) -> u64 {
    let hash = blake3::hash(&decision.to_le_bytes());
    hash.as_bytes()
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
