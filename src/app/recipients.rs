//! What is kept of a person: reading it with its reasons, changing it, and taking it out again.
//!
//! Invariant: an erasure takes out of the sums exactly what the remembered touches put in, and leaves only its own time and a suppression.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::civil::Zone;
use crate::domain::contribution::Change as TouchChange;
use crate::domain::decide::Allowed;
use crate::domain::event::EventKind;
use crate::domain::experiment::Experiment;
use crate::domain::name::{ExperimentUid, TenantId, VariantIndex};
use crate::domain::recipient::{Answer, Consent, ConsentLevel, Recipient, Suppression};
use crate::domain::send_time::{Portrait, SendTimeModel, ZoneGuess};

use super::decisions::{ZoneSource, timing_segments};
use super::writes::{Effects, TRIES_MAX, or_new};
use super::zones::Whose;
use super::{App, AppError, Kind};

/// A recipient with what is needed to read the record.
#[derive(Clone, Debug)]
pub struct RecipientView {
    /// The record.
    pub recipient: Recipient,
    /// Consent with defaults filled in.
    pub allowed: Allowed,
    /// Hours of activity as the model sees them, on the clocks of `zone`.
    pub portrait: Portrait,
    /// The zone that is reckoned in.
    pub zone: Zone,
    /// Where it came from.
    pub zone_source: ZoneSource,
    /// Where the person may live, the likeliest first; empty where the zone is known.
    pub likely_zones: Vec<ZoneGuess>,
    /// The experiments of the touches.
    pub experiments: BTreeMap<ExperimentUid, Arc<Experiment>>,
    /// When this was read.
    pub as_of: Timestamp,
}

/// Changes to a record; none leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct RecipientChange {
    /// The zone; `Some(None)` makes it unknown.
    pub zone: Option<Option<Zone>>,
    /// All segments.
    pub segments: Option<Vec<String>>,
    /// Consent to timing.
    pub timing: Option<Option<ConsentLevel>>,
    /// Consent to content.
    pub content: Option<Option<ConsentLevel>>,
    /// Where the consent comes from.
    pub source: Option<String>,
    /// When it was given.
    pub given_at: Option<Timestamp>,
    /// Suppression.
    pub suppression: Option<Option<Suppression>>,
}

/// What an erasure took out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErasureReceipt {
    /// Whether there was a record.
    pub existed: bool,
    /// Touches removed.
    pub touches: usize,
    /// Amounts taken out of cells.
    pub amounts: Vec<ErasedAmount>,
    /// Observations taken out of the profile.
    pub observations: f64,
    /// Decisions taken out of the decision log.
    pub logged_decisions: usize,
    /// When.
    pub erased_at: Timestamp,
}

/// What was taken out of one variant's cells.
#[derive(Clone, Debug, PartialEq)]
pub struct ErasedAmount {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the variant.
    pub variant: String,
    /// Trials.
    pub trials: f64,
    /// Weighted opens.
    pub opens: f64,
    /// Weighted clicks.
    pub clicks: f64,
    /// Conversions.
    pub conversions: f64,
}

// === impl App ===

impl App {
    /// Everything that is kept of a recipient, with the reasons.
    pub async fn recipient(
        &self,
        tenant: TenantId,
        recipient_id: &str,
    ) -> Result<RecipientView, AppError> {
        let loaded = self
            .read_recipient(self.address(tenant, recipient_id))
            .await?;
        let recipient = loaded.recipient.filter(|known| known.exists());
        let recipient = recipient.ok_or_else(|| {
            AppError::new(
                Kind::NotFound,
                "RECIPIENT_NOT_FOUND",
                "nothing is kept of this recipient; the first decision or update creates a record",
            )
        })?;
        Ok(self.view(tenant, *recipient))
    }

    fn view(&self, tenant: TenantId, recipient: Recipient) -> RecipientView {
        let as_of = self.now();
        let model: Arc<SendTimeModel> = self.tenants.of(tenant).model.load_full();
        let allowed = self.allowed(&recipient.consent);
        let whose = Whose {
            tenant,
            recipient: &recipient,
            allowed,
            model: &model,
            at: as_of,
        };
        let reckoned = self.reckoned(None, whose);
        let likely_zones = match reckoned.source {
            ZoneSource::Request | ZoneSource::Recipient => Vec::new(),
            ZoneSource::Inferred | ZoneSource::Default => self.guesses(whose),
        };
        let moved = reckoned.moved(&recipient);
        let activity = &moved.as_ref().unwrap_or(&recipient).activity;
        let profile = (allowed.timing == ConsentLevel::Individual).then_some(activity);
        let portrait = model.portrait(profile, timing_segments(allowed, &recipient), as_of);
        let known = |uid| {
            self.registry
                .by_uid(tenant, uid)
                .map(|live| (uid, live.experiment()))
        };
        let experiments = recipient
            .touches
            .iter()
            .filter_map(|touch| known(touch.experiment))
            .collect();
        RecipientView {
            allowed,
            portrait,
            zone: reckoned.zone,
            zone_source: reckoned.source,
            likely_zones,
            experiments,
            as_of,
            recipient,
        }
    }

    /// Changes a record, creating it when there is none; durable when answered.
    pub async fn update_recipient(
        &self,
        tenant: TenantId,
        recipient_id: &str,
        change: &RecipientChange,
    ) -> Result<RecipientView, AppError> {
        let address = self.address(tenant, recipient_id);
        for _ in 0..TRIES_MAX {
            let now = self.now();
            let loaded = self.read_recipient(address).await?;
            self.refuse_beyond_room(tenant, &loaded)?;
            let mut recipient = or_new(loaded.recipient, now);
            let before = self.allowed(&recipient.consent);
            self.apply(&mut recipient, change, now);
            let mut effects = Effects::default();
            let after = self.allowed(&recipient.consent);
            let is_lowered = after.content < before.content || after.timing < before.timing;
            let is_known = loaded.version != 0 || after.content == ConsentLevel::None;
            if is_lowered && is_known {
                // What was logged may rest on what may no longer be used.
                self.erase_log(address, &mut effects).await?;
            }
            self.enforce_consent(tenant, &mut recipient, &mut effects, now);
            recipient.mark_changed(now);
            if let Some(ticket) = self
                .commit(address, &recipient, loaded.version, effects)
                .await?
            {
                self.engine.durable(ticket).await?;
                return Ok(self.view(tenant, *recipient));
            }
        }
        Err(AppError::contended())
    }

    fn apply(&self, recipient: &mut Recipient, change: &RecipientChange, now: Timestamp) {
        match &change.zone {
            Some(Some(zone)) => {
                let until_now = recipient.zone_or(&self.settings.default_zone);
                recipient.set_zone(zone, &until_now, now);
            }
            Some(None) => recipient.zone = None,
            None => {}
        }
        if let Some(segments) = &change.segments {
            recipient.segments.clone_from(segments);
        }
        let Consent {
            timing,
            content,
            source,
            given_at_ms,
        } = &mut recipient.consent;
        *timing = change.timing.unwrap_or(*timing);
        *content = change.content.unwrap_or(*content);
        if let Some(new) = &change.source {
            source.clone_from(new);
        }
        if change.timing.is_some() || change.content.is_some() || change.given_at.is_some() {
            *given_at_ms = change.given_at.unwrap_or(now).as_millisecond();
        }
        if let Some(suppression) = change.suppression {
            recipient.suppression = suppression;
        }
    }

    /// What consent does not cover is taken out at once: hours of activity below individual, segments where neither timing nor content may
    /// use them, touches below aggregate.
    fn enforce_consent(
        &self,
        tenant: TenantId,
        recipient: &mut Recipient,
        effects: &mut Effects,
        now: Timestamp,
    ) {
        let allowed = self.allowed(&recipient.consent);
        if allowed.content.max(allowed.timing) < ConsentLevel::Segment {
            recipient.segments.clear();
        }
        if allowed.content == ConsentLevel::None {
            self.take_out_touches(tenant, recipient, effects, now);
        }
        self.cut_touches(tenant, recipient, effects, now);
        if allowed.timing < ConsentLevel::Individual {
            recipient.activity = Default::default();
            recipient.active_hours = Default::default();
            recipient.opens = Default::default();
        }
    }

    /// Takes out of the touches, and of the sums, what consent does not cover: the segment, waiting hours, hours of answers.
    fn cut_touches(
        &self,
        tenant: TenantId,
        recipient: &mut Recipient,
        effects: &mut Effects,
        now: Timestamp,
    ) {
        for before in std::mem::take(&mut recipient.touches) {
            let after = self.within_consent(recipient, before.clone());
            if after != before {
                let change = TouchChange {
                    before: Some(&before),
                    after: Some(&after),
                };
                let live = self.registry.by_uid(tenant, before.experiment);
                let experiment = live.map(|live| live.experiment());
                effects.of_touch(change, experiment.as_deref(), now);
                change.apply_to(&mut recipient.activity, &mut recipient.opens);
            }
            recipient.touches.push(after);
        }
    }

    /// Takes all touches out of the record and what they added out of the sums; answers the amounts.
    fn take_out_touches(
        &self,
        tenant: TenantId,
        recipient: &mut Recipient,
        effects: &mut Effects,
        now: Timestamp,
    ) -> Vec<ErasedAmount> {
        let mut amounts: BTreeMap<(ExperimentUid, VariantIndex), ErasedAmount> = BTreeMap::new();
        for touch in std::mem::take(&mut recipient.touches) {
            recipient.forgotten_until_ms = recipient.forgotten_until_ms.max(touch.decided_at_ms);
            let Answer::Send { variant, .. } = touch.answer else {
                continue;
            };
            let Some(live) = self.registry.by_uid(tenant, touch.experiment) else {
                continue;
            };
            let experiment = live.experiment();
            let change = TouchChange {
                before: Some(&touch),
                after: None,
            };
            effects.of_touch(change, Some(&experiment), now);
            change.apply_to(&mut recipient.activity, &mut recipient.opens);
            let amount = amounts
                .entry((touch.experiment, variant))
                .or_insert_with(|| ErasedAmount {
                    experiment: experiment.id.to_string(),
                    variant: experiment
                        .variant(variant)
                        .map(|v| v.id.to_string())
                        .unwrap_or_default(),
                    trials: 0.0,
                    opens: 0.0,
                    clicks: 0.0,
                    conversions: 0.0,
                });
            amount.trials += f64::from(u8::from(touch.trial_counted));
            amount.opens += touch.open.map_or(0.0, |open| open.weight.get());
            amount.clicks += touch.click.map_or(0.0, |click| click.weight.get());
            amount.conversions += f64::from(u8::from(touch.has(EventKind::Converted)));
        }
        amounts.into_values().collect()
    }

    /// Forgets a recipient; durable when answered.
    pub async fn erase_recipient(
        &self,
        tenant: TenantId,
        recipient_id: &str,
    ) -> Result<ErasureReceipt, AppError> {
        let address = self.address(tenant, recipient_id);
        for _ in 0..TRIES_MAX {
            let now = self.now();
            let loaded = self.read_recipient(address).await?;
            let mut effects = Effects::default();
            let logged_decisions = self.erase_log(address, &mut effects).await?;
            let existed = loaded
                .recipient
                .as_ref()
                .is_some_and(|known| known.exists());
            let mut recipient = loaded.recipient.unwrap_or_default();
            let erased = tombstone(&recipient, now);
            let touches = recipient.touches.len();
            let observations = recipient.activity.effective_observations(now);
            let amounts = self.take_out_touches(tenant, &mut recipient, &mut effects, now);
            if let Some(ticket) = self
                .commit(address, &erased, loaded.version, effects)
                .await?
            {
                self.engine.durable(ticket).await?;
                return Ok(ErasureReceipt {
                    existed,
                    touches,
                    amounts,
                    observations,
                    logged_decisions,
                    erased_at: now,
                });
            }
        }
        Err(AppError::contended())
    }
}

/// What is left of an erased person: the time, so that no later event brings back what was decided before, even where a crash or a clock set
/// back hides a decision; and a suppression, as who unsubscribed must not be mailed again because of having been forgotten.
fn tombstone(recipient: &Recipient, now: Timestamp) -> Recipient {
    let decided = recipient.touches.iter().map(|touch| touch.decided_at_ms);
    let last = decided
        .chain([recipient.erased_at_ms, now.as_millisecond()])
        .max();
    Recipient {
        erased_at_ms: last.unwrap_or_default(),
        suppression: recipient.suppression,
        ..Recipient::default()
    }
}
