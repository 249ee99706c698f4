//! Writing: the entry of a decision, and before it whatever it names that was not yet written today.
//!
//! Invariant: an entry never names what was not committed before.
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::app::writes::{Address, Effects};
use crate::app::{App, AppError, HOME};
use crate::domain::content_id::{ContentId, LazyId};
use crate::domain::decide::{Choice, Question, Verdict};
use crate::domain::decision_log::{
    Inputs, LoggedDecision, LoggedOutcome, LoggedTable, LoggedVerdict, NamedGrounds, Place,
    PlatformSend,
};
use crate::domain::name::TenantId;
use crate::domain::recipient::{Recipient, Touch};
use crate::domain::send_time::SendTimeModel;
use crate::store::records::{self, Record, key};
use crate::store::{Batch, Change};

use super::{CODE, day_of};

/// A decision that is about to be committed.
pub struct Entry<'a> {
    /// Whose it is.
    pub address: Address,
    /// The record it was made of.
    pub recipient: &'a Recipient,
    /// What was asked.
    pub question: &'a Question<'a>,
    /// Which of the recipient's answers it is.
    pub place: Place,
    /// What came out.
    pub verdict: &'a Verdict,
    /// What the platform sends instead.
    pub platform: Option<PlatformSend>,
}

impl App {
    /// Adds the entry of a decision to what is committed with its touch; first commits what the entry names.
    pub(in crate::app) async fn log_decision(
        &self,
        entry: &Entry<'_>,
        effects: &mut Effects,
    ) -> Result<(), AppError> {
        if !self.settings.decision_log.enabled {
            return Ok(());
        }
        let (question, now_ms) = (entry.question, entry.question.now.as_millisecond());
        let choice = match entry.verdict {
            Verdict::Send(choice) => Some(choice.as_ref()),
            _ => None,
        };
        let (tenant, day) = (entry.address.tenant, day_of(now_ms));
        let bytes_max = self.settings.limits.decision_log_bytes_per_day_max;
        let learned = self.tenants.of(tenant);
        if !learned.log_budget().has_room(day, bytes_max) {
            metrics::counter!("hermod_decision_log_skipped_total").increment(1);
            return Ok(());
        }
        let ids = self.named(tenant, question, choice, day).await?;
        let logged = LoggedDecision {
            recipient: entry.address.recipient,
            code: CODE.to_owned(),
            experiment: question.snapshot.experiment.uid,
            snapshot_version: question.snapshot.version,
            inputs: Inputs::of(entry.recipient, question, choice, entry.place, ids),
            outcome: LoggedVerdict::of(entry.verdict),
            platform: entry.platform,
        };
        let value = records::encode(&logged)?;
        learned.log_budget().add(value.len());
        self.log.entries.fetch_add(1, Ordering::Relaxed);
        self.log
            .bytes
            .fetch_add(value.len() as u64, Ordering::Relaxed);
        let at = key::LoggedAt {
            decided_at_ms: now_ms,
            tenant,
            decision: question.draws.fingerprint,
        };
        effects.log.push(Change::Put {
            key: key::decision(at),
            value,
            expected: None,
        });
        Ok(())
    }

    /// Adds what became of a touch to what is committed with it.
    pub(in crate::app) fn log_outcome(
        &self,
        address: Address,
        touch: &Touch,
        effects: &mut Effects,
    ) -> Result<(), AppError> {
        let settings = self.settings.decision_log;
        let expired_until_ms = self
            .now()
            .as_millisecond()
            .saturating_sub(settings.retention_ms);
        if !settings.enabled || touch.decided_at_ms < expired_until_ms {
            return Ok(());
        }
        let at = key::LoggedAt {
            decided_at_ms: touch.decided_at_ms,
            tenant: address.tenant,
            decision: touch.decision,
        };
        effects.log.push(Change::Put {
            key: key::outcome(at),
            value: records::encode(&LoggedOutcome::of(touch, address.recipient))?,
            expected: None,
        });
        Ok(())
    }

    /// The names of what a decision rests on, all of it written.
    async fn named(
        &self,
        tenant: TenantId,
        question: &Question<'_>,
        choice: Option<&Choice>,
        day: i32,
    ) -> Result<NamedGrounds, AppError> {
        let snapshot = question.snapshot;
        let experiment = snapshot.experiment.as_ref();
        let configured = self
            .name(tenant, &snapshot.log_id, day, || {
                records::encode(experiment)
            })
            .await?;
        // The table in the choice may be one of an eligible subset, which is made again from the whole one.
        let table = match choice.and_then(|choice| snapshot.table(choice.context)) {
            Some(table) => Some(
                self.name(tenant, &table.log_id, day, || {
                    records::encode(&LoggedTable::of(table))
                })
                .await?,
            ),
            None => None,
        };
        let model = match choice.and_then(|choice| choice.prediction.as_ref()) {
            Some(_) => Some(self.name_model(tenant, question.model, day).await?),
            None => None,
        };
        Ok(NamedGrounds {
            configured,
            table,
            model,
        })
    }

    async fn name(
        &self,
        tenant: TenantId,
        lazy: &LazyId,
        day: i32,
        encode: impl Fn() -> Result<Vec<u8>, crate::store::StoreError>,
    ) -> Result<ContentId, AppError> {
        if let Some(id) = lazy.get().filter(|id| self.log.has(day, *id)) {
            return Ok(id);
        }
        let value = encode()?;
        let id = ContentId::of(&value);
        lazy.keep(id);
        self.write_ground(tenant, day, id, value).await?;
        Ok(id)
    }

    async fn name_model(
        &self,
        tenant: TenantId,
        model: &SendTimeModel,
        day: i32,
    ) -> Result<ContentId, AppError> {
        let learned = self.tenants.of(tenant);
        let known = {
            let cached = learned.logged_model.lock();
            let cached = cached.unwrap_or_else(PoisonError::into_inner);
            let same = cached
                .as_ref()
                .filter(|(of, _)| std::ptr::eq(of.as_ref(), model));
            same.map(|(_, id)| *id)
        };
        if let Some(id) = known.filter(|id| self.log.has(day, *id)) {
            return Ok(id);
        }
        let value = records::encode(model)?;
        let id = ContentId::of(&value);
        self.write_ground(tenant, day, id, value).await?;
        let current: Arc<SendTimeModel> = learned.model.load_full();
        if std::ptr::eq(current.as_ref(), model) {
            let cached = learned.logged_model.lock();
            *cached.unwrap_or_else(PoisonError::into_inner) = Some((current, id));
        }
        Ok(id)
    }

    /// Commits a thing under its name and day, unless it is known to be there.
    async fn write_ground(
        &self,
        tenant: TenantId,
        day: i32,
        id: ContentId,
        value: Vec<u8>,
    ) -> Result<(), AppError> {
        if self.log.has(day, id) {
            return Ok(());
        }
        self.tenants.of(tenant).log_budget().add(value.len());
        self.log
            .bytes
            .fetch_add(value.len() as u64, Ordering::Relaxed);
        let put = Change::Put {
            key: key::ground(day, id),
            value,
            expected: None,
        };
        self.engine
            .commit(HOME, Batch { changes: vec![put] })
            .await?;
        tracing::trace!(kind = LoggedTable::NAME, %id, "kept for the decisions of today");
        self.log.keep(day, id);
        Ok(())
    }
}
