//! Reading a recipient and committing its change together with what the change adds to sums: one atomic batch.
//!
//! Invariant: the sums in memory get a change only after the store took it.
use jiff::Timestamp;

use crate::domain::arrivals::Arrivals;
use crate::domain::cell::{CellDelta, HOUR_MS};
use crate::domain::contribution::Change as TouchChange;
use crate::domain::decide::Choice;
use crate::domain::event::{DecisionEvent, EventKind};
use crate::domain::experiment::Experiment;
use crate::domain::half_life::Tracks;
use crate::domain::hour_activity::HourDelta;
use crate::domain::name::{ExperimentUid, RecipientKey, TenantId, VariantIndex};
use crate::domain::recipient::{Answer, Recipient, Touch};
use crate::domain::send_plan::PlannedSends;
use crate::domain::send_time::Individuality;
use crate::domain::shadow::ShadowTally;
use crate::domain::timeline::HourCounts;
use crate::store::records::key::TimelineSlot;
use crate::store::records::{self, RecipientCount, key};
use crate::store::{Batch, Change, Outcome, StoreError, Ticket, Version};

use super::{App, AppError};

/// How often a change is tried again when somebody else changed the same recipient in between.
pub(super) const TRIES_MAX: usize = 16;

/// Changes of the store that a decision or an event mostly comes to; more are made room for.
const USUAL_CHANGES: usize = 12;

/// What a change of one recipient adds to sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    pub cells: Vec<CellDelta>,
    pub counts: Vec<(TimelineSlot, HourCounts)>,
    pub hours: Vec<HourDelta>,
    pub individuality: Option<Individuality>,
    pub arrivals: Vec<(ExperimentUid, Arrivals)>,
    /// A place taken in the sender's capacity: the experiment and the hour since 1970. The sums in memory have it already.
    pub place: Option<(ExperimentUid, i64)>,
    /// Changes of the decision log.
    pub log: Vec<Change>,
    /// Parts of tallies of shadow mode.
    pub shadow: Vec<(ExperimentUid, VariantIndex, ShadowTally)>,
}

/// A recipient as read; in a box, since it is handed on a good deal and is large.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// The record, or none.
    pub recipient: Option<Box<Recipient>>,
    /// What to expect when it is written back.
    pub version: Version,
}

/// Whose record is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub tenant: TenantId,
    pub recipient: RecipientKey,
}

/// The record as read, or that of somebody who has none yet.
pub(super) fn or_new(recipient: Option<Box<Recipient>>, now: Timestamp) -> Box<Recipient> {
    recipient.unwrap_or_else(|| Box::new(Recipient::new(now)))
}

// === impl Effects ===

impl Effects {
    /// Adds what a changed touch adds; the profile of the recipient must be changed along with it by the caller.
    pub fn of_touch(
        &mut self,
        change: TouchChange<'_>,
        experiment: Option<&Experiment>,
        now: Timestamp,
    ) {
        let tracks = experiment.map_or(Tracks::campaign(), Experiment::tracks);
        self.cells.extend(change.cells(tracks, now));
        self.hours.extend(change.everyone());
        if let Some(experiment) = experiment {
            let arrivals = change.arrivals(experiment.half_life_hours(), now);
            let of_experiment = arrivals.map(|part| (experiment.uid, part));
            self.arrivals.extend(of_experiment);
            self.tally(change, experiment);
        }
    }

    /// What a changed touch of shadow mode adds to the tallies.
    fn tally(&mut self, change: TouchChange<'_>, experiment: &Experiment) {
        let of = |touch: Option<&Touch>| ShadowTally::of(touch?, &experiment.settings);
        let before = of(change.before).map(|(variant, tally)| (variant, tally.negated()));
        for (variant, tally) in [before, of(change.after)].into_iter().flatten() {
            self.shadow.push((experiment.uid, variant, tally));
        }
    }

    /// Counts a recorded decision in its hour.
    pub fn count_decision(&mut self, touch: &Touch) {
        if let Some(slot) = slot(touch, touch.decided_at_ms) {
            self.counts.push((
                slot,
                HourCounts {
                    decided: 1,
                    ..HourCounts::default()
                },
            ));
        }
    }

    /// Counts an event in its hour `times` times: 0 when one of its kind was charted before, and only what it brings is new.
    pub fn count_event(&mut self, touch: &Touch, event: &DecisionEvent, times: i64) {
        if let Some(slot) = slot(touch, event.at.as_millisecond()) {
            let mut counts = HourCounts::default();
            counts.count(event.kind, times);
            if event.kind == EventKind::Converted {
                counts.value = touch.value;
            }
            counts.replied_negative =
                i64::from(event.kind == EventKind::Replied && touch.replied_negative);
            self.counts.push((slot, counts));
        }
        self.confirm(touch, event.kind, times);
    }

    /// The first sent or delivered event of a decision confirms it in the hour of the decision, so that all of one hour compare.
    fn confirm(&mut self, touch: &Touch, kind: EventKind, times: i64) {
        let other = match kind {
            EventKind::Sent => EventKind::Delivered,
            EventKind::Delivered => EventKind::Sent,
            _ => return,
        };
        if let Some(slot) = slot(touch, touch.decided_at_ms).filter(|_| !touch.is_charted(other)) {
            let counts = HourCounts {
                confirmed: times,
                ..HourCounts::default()
            };
            self.counts.push((slot, counts));
        }
    }
}

fn slot(touch: &Touch, at_ms: i64) -> Option<TimelineSlot> {
    let Answer::Send { variant, lane, .. } = touch.answer else {
        return None;
    };
    let hour = i32::try_from(at_ms.div_euclid(HOUR_MS)).ok()?;
    Some(TimelineSlot {
        experiment: touch.experiment,
        variant,
        lane,
        hour,
    })
}

// === impl App ===

impl App {
    pub(super) fn address(&self, tenant: TenantId, recipient_id: &str) -> Address {
        Address {
            tenant,
            recipient: self.recipient_key(tenant, recipient_id),
        }
    }

    pub(super) async fn read_recipient(&self, address: Address) -> Result<Loaded, StoreError> {
        self.read_by(address, records::decode).await
    }

    /// The record as far as a prediction looks at it; not to be written back.
    pub(super) async fn read_profile(&self, address: Address) -> Result<Loaded, StoreError> {
        self.read_by(address, records::decode_profile).await
    }

    async fn read_by(
        &self,
        address: Address,
        decode: fn(&[u8]) -> Result<Recipient, StoreError>,
    ) -> Result<Loaded, StoreError> {
        let key = key::recipient(address.tenant, address.recipient);
        match self
            .engine
            .read(self.partition_of(address.recipient), &key)
            .await?
        {
            None => Ok(Loaded {
                recipient: None,
                version: 0,
            }),
            Some(stored) => Ok(Loaded {
                recipient: Some(Box::new(decode(&stored.value)?)),
                version: stored.version,
            }),
        }
    }

    /// Writes the record back with its effects, which are gone with it where they are not taken. `None` when somebody else changed the record in between.
    pub(super) async fn commit(
        &self,
        address: Address,
        recipient: &Recipient,
        version: Version,
        mut effects: Effects,
    ) -> Result<Option<Ticket>, AppError> {
        let put = Change::Put {
            key: key::recipient(address.tenant, address.recipient),
            value: records::encode(recipient)?,
            expected: Some(version),
        };
        let mut changes = Vec::with_capacity(USUAL_CHANGES);
        changes.push(put);
        if version == 0 {
            changes.push(Change::Merge {
                key: key::recipient_count(address.tenant),
                operand: records::encode(&RecipientCount(1))?,
            });
        }
        self.push_merges(&mut changes, address.tenant, &effects)?;
        changes.append(&mut effects.log);
        match self
            .engine
            .commit(self.partition_of(address.recipient), Batch { changes })
            .await?
        {
            Outcome::Conflict { .. } => Ok(None),
            Outcome::Committed(ticket) => {
                if version == 0 {
                    self.tenants.of(address.tenant).add_recipients(1);
                }
                self.add_to_sums(address.tenant, &effects);
                Ok(Some(ticket))
            }
        }
    }

    /// Commits changes of the decision log alone: an answer not to send leaves no other trace.
    pub(super) async fn commit_log(
        &self,
        address: Address,
        effects: Effects,
    ) -> Result<(), AppError> {
        if effects.log.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            changes: effects.log,
        };
        self.engine
            .commit(self.partition_of(address.recipient), batch)
            .await?;
        Ok(())
    }

    /// Counts a recorded choice of the policy for the check of shares.
    pub(super) fn count_choice(&self, tenant: TenantId, choice: &Choice, of: &Experiment) {
        if let Some(live) = self.registry.by_uid(tenant, of.uid) {
            live.sums().add_decision(&choice.table, choice.variant);
        }
    }

    fn push_merges(
        &self,
        changes: &mut Vec<Change>,
        tenant: TenantId,
        effects: &Effects,
    ) -> Result<(), AppError> {
        for delta in &effects.cells {
            let key = match delta.planned_until_ms {
                Some(until_ms) => key::planned(tenant, until_ms, delta.id),
                None => key::cell(tenant, delta.id),
            };
            changes.push(Change::Merge {
                key,
                operand: records::encode(&delta.cell)?,
            });
        }
        for (slot, counts) in &effects.counts {
            changes.push(Change::Merge {
                key: key::timeline(tenant, *slot),
                operand: records::encode(counts)?,
            });
        }
        for delta in &effects.hours {
            let key = key::hour(tenant, delta.day, delta.hour.index() as u8);
            changes.push(Change::Merge {
                key,
                operand: records::encode(&delta.part)?,
            });
        }
        if let Some(part) = &effects.individuality {
            changes.push(Change::Merge {
                key: key::individuality(tenant),
                operand: records::encode(part)?,
            });
        }
        for (experiment, part) in &effects.arrivals {
            changes.push(Change::Merge {
                key: key::arrivals(tenant, *experiment),
                operand: records::encode(part)?,
            });
        }
        if let Some((experiment, hour)) = effects.place {
            changes.push(Change::Merge {
                key: key::send_plan(tenant, experiment, hour),
                operand: records::encode(&PlannedSends(1))?,
            });
        }
        for (experiment, variant, tally) in &effects.shadow {
            changes.push(Change::Merge {
                key: key::shadow(tenant, *experiment, *variant),
                operand: records::encode(tally)?,
            });
        }
        Ok(())
    }

    fn add_to_sums(&self, tenant: TenantId, effects: &Effects) {
        for delta in &effects.cells {
            if let Some(live) = self.registry.by_uid(tenant, delta.id.experiment) {
                live.add(|sums| sums.add_cell(delta));
            }
        }
        for (slot, counts) in &effects.counts {
            if let Some(live) = self.registry.by_uid(tenant, slot.experiment) {
                live.add(|sums| sums.add_counts(slot, counts));
            }
        }
        for (experiment, part) in &effects.arrivals {
            if let Some(live) = self.registry.by_uid(tenant, *experiment) {
                live.add(|sums| sums.add_arrivals(part));
            }
        }
        if !effects.hours.is_empty() || effects.individuality.is_some() {
            let learned = self.tenants.of(tenant);
            effects
                .hours
                .iter()
                .for_each(|delta| learned.hours.add(delta));
            if let Some(part) = &effects.individuality {
                learned.hours.add_individuality(part);
            }
        }
        for (experiment, variant, tally) in &effects.shadow {
            if let Some(live) = self.registry.by_uid(tenant, *experiment) {
                live.sums().add_shadow(*variant, tally);
            }
        }
    }
}
