//! What is kept of one person: zone, segments, consent, suppression, hours of activity and the ring of touches.
//!
//! Invariant: nothing here identifies the person; the record's key is a keyed hash. The ring alone gives stickiness, idempotency and frequency caps.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::active_hours::ActiveHours;
use crate::domain::activity::{ActivityProfile, OpenShares};
pub use crate::domain::basis::Basis;
use crate::domain::basis::Reason;
use crate::domain::cell::{CellId, Context, Lane, Track, Trial};
use crate::domain::civil::Zone;
use crate::domain::event::{EventKind, HumanWeight};
use crate::domain::experiment::{Experiment, FrequencyCap};
use crate::domain::name::{ExperimentUid, VariantIndex};
use crate::domain::snapshot::ChoiceLevel;
use crate::domain::timing::TouchTiming;

/// Most touches remembered per recipient.
pub const TOUCHES_MAX: usize = 32;
/// How long a touch is remembered after its send, milliseconds: the longest attribution window and frequency cap.
pub const TOUCH_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// What is kept of one person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipient {
    /// When the record was created, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last changed, milliseconds since 1970.
    pub updated_at_ms: i64,
    /// IANA time zone, if known.
    pub zone: Option<String>,
    /// Segments that the person belongs to.
    pub segments: Vec<String>,
    /// What the person consented to.
    pub consent: Consent,
    /// Why nothing may be sent, if nothing may.
    pub suppression: Option<Suppression>,
    /// Hours of activity.
    pub activity: ActivityProfile,
    /// Hours in which activity without a mail has counted.
    pub active_hours: ActiveHours,
    /// Decisions still remembered, oldest first.
    pub touches: Vec<Touch>,
    /// Touches decided up to then were forgotten to make room, milliseconds since 1970; 0 for none.
    pub forgotten_until_ms: i64,
    /// When the person was erased, milliseconds since 1970; 0 for never. Nothing decided up to then counts.
    pub erased_at_ms: i64,
    /// Opens by who did them, machines or the person.
    pub opens: OpenShares,
}

/// What a person consented to, separately for timing and content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Use of opens and activity to learn when to send; none said means the server's default.
    pub timing: Option<ConsentLevel>,
    /// Use of responses to learn which variant works; none said means the server's default.
    pub content: Option<ConsentLevel>,
    /// Where the consent comes from.
    pub source: String,
    /// When it was given or changed, milliseconds since 1970; 0 for never.
    pub given_at_ms: i64,
}

/// How far data of a person may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConsentLevel {
    /// Not at all.
    None,
    /// Only in sums over everyone.
    Aggregate,
    /// In sums over the person's segment.
    Segment,
    /// For the person's own profile.
    Individual,
}

/// Why nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suppression {
    /// The person unsubscribed.
    Unsubscribed,
    /// The person complained.
    Complained,
    /// The address bounced for good.
    Bounced,
    /// Set by the caller.
    Manual,
}

/// A decision as the recipient's record remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Touch {
    /// Fingerprint that ties the decision's token to this touch.
    pub decision: u64,
    /// The experiment.
    pub experiment: ExperimentUid,
    /// What was answered.
    pub answer: Answer,
    /// When it was decided, milliseconds since 1970.
    pub decided_at_ms: i64,
    /// When it was or will be sent, as far as events have told, milliseconds since 1970.
    pub send_at_ms: i64,
    /// When it was planned to be sent: the answer given, milliseconds since 1970.
    pub planned_at_ms: i64,
    /// Fingerprint of the occasion; 0 for none.
    pub occasion: u64,
    /// Fingerprint of the request id; 0 for none.
    pub request: u64,
    /// Bits of the [`EventKind`]s counted, and of those charted though too late to count.
    pub events: u32,
    /// Whether the trial is counted in the cell.
    pub trial_counted: bool,
    /// Whether the trial counts for opens.
    pub measurable: bool,
    /// Whether the waiting time counts in the person's hours.
    pub exposure_recorded: bool,
    /// Whether the waiting time counts in everybody's hours.
    pub everyone_recorded: bool,
    /// Local minute of the week of the send, 0 to 10,079, Monday 00:00 first.
    pub sent_local_minute: u16,
    /// The open that counts.
    pub open: Option<Response>,
    /// The click that counts.
    pub click: Option<Response>,
    /// Value of the conversion that counts.
    pub value: f64,
    /// Whether the reply that counts was negative.
    pub replied_negative: bool,
    /// Why it was answered so, for repeated answers.
    pub basis: Basis,
    /// How it was timed.
    pub timing: TouchTiming,
    /// When the conversion that counts happened, milliseconds since 1970; none before one, and of conversions reported before instants were kept.
    pub converted_at_ms: Option<i64>,
    /// When it first did harm other than bouncing, milliseconds since 1970; none before that, and of harm before instants were kept.
    pub harmed_at_ms: Option<i64>,
}

/// What a touch answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Send this variant.
    Send {
        /// The variant.
        variant: VariantIndex,
        /// Segment and daypart that it counts in.
        context: Context,
        /// Policy or holdout.
        lane: Lane,
        /// Probability with which it was chosen.
        propensity: f64,
    },
    /// Do not send; remembered only so that a retry gets the same answer.
    DoNotSend(DoNotSend),
}

/// Why not to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoNotSend {
    /// The frequency cap is reached.
    FrequencyCap,
    /// The person is suppressed.
    Suppressed,
    /// No instant before the deadline is allowed.
    NoAllowedTime,
    /// Every allowed hour before the deadline is full.
    CapacityFull,
}

/// An open or click that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// How likely a person did it.
    pub weight: HumanWeight,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Local hour of the week, 0 to 167, Monday 00 first.
    pub local_hour_of_week: u8,
}

// === impl Touch ===

impl Touch {
    /// Whether one of this kind has counted.
    pub fn has(&self, kind: EventKind) -> bool {
        self.events & kind.bit() != 0
    }

    /// Whether one of this kind is in the chart: counted, or too late to count.
    pub fn is_charted(&self, kind: EventKind) -> bool {
        self.events & (kind.bit() | kind.late_bit()) != 0
    }

    /// The cell and trial of a touch that sends, in one of the parallel half-lives.
    pub fn trial(&self, track: Track, half_life_hours: Option<f64>) -> Option<Trial> {
        let Answer::Send {
            variant,
            context,
            lane,
            ..
        } = self.answer
        else {
            return None;
        };
        let id = CellId {
            experiment: self.experiment,
            variant,
            context,
            lane,
            track,
        };
        Some(Trial {
            id,
            sent_at: Timestamp::from_millisecond(self.send_at_ms).ok()?,
            half_life_hours,
        })
    }

    /// A touch of which only the time of its mail matters, and whether there is one: what frequency caps look at.
    pub fn counted(send_at_ms: i64, sends: bool) -> Self {
        let answer = if sends {
            Answer::Send {
                variant: VariantIndex(0),
                context: Context::default(),
                lane: Lane::Policy,
                propensity: 1.0,
            }
        } else {
            Answer::DoNotSend(DoNotSend::Suppressed)
        };
        Self {
            decision: 0,
            experiment: ExperimentUid(0),
            answer,
            decided_at_ms: send_at_ms,
            send_at_ms,
            planned_at_ms: send_at_ms,
            occasion: 0,
            request: 0,
            events: 0,
            trial_counted: false,
            measurable: false,
            exposure_recorded: false,
            everyone_recorded: false,
            sent_local_minute: 0,
            open: None,
            click: None,
            value: 0.0,
            replied_negative: false,
            basis: Basis {
                reason: Reason::Policy,
                choice_level: ChoiceLevel::Default,
                time_level: None,
            },
            timing: TouchTiming::default(),
            converted_at_ms: None,
            harmed_at_ms: None,
        }
    }

    /// Whether it sends.
    pub fn sends(&self) -> bool {
        matches!(self.answer, Answer::Send { .. })
    }
}

// === impl Recipient ===

impl Recipient {
    /// A record of which nothing is known, created now.
    pub fn new(now: Timestamp) -> Self {
        let now = now.as_millisecond();
        Self {
            created_at_ms: now,
            updated_at_ms: now,
            ..Self::default()
        }
    }

    /// The touch of a decision.
    pub fn touch_mut(&mut self, decision: u64) -> Option<&mut Touch> {
        self.touches
            .iter_mut()
            .find(|touch| touch.decision == decision)
    }

    /// The touch that answered a request id.
    pub fn touch_of_request(&self, request: u64) -> Option<&Touch> {
        self.touches
            .iter()
            .find(|touch| request != 0 && touch.request == request)
    }

    /// The newest touch of this experiment and occasion whose attribution window is still open.
    pub fn sticky_touch(
        &self,
        experiment: &Experiment,
        occasion: u64,
        now: Timestamp,
    ) -> Option<&Touch> {
        let window = experiment.settings.attribution_window_ms;
        self.touches.iter().rev().find(|touch| {
            touch.sends()
                && touch.experiment == experiment.uid
                && touch.occasion == occasion
                && touch.send_at_ms.saturating_add(window) >= now.as_millisecond()
        })
    }

    /// Whether one more mail at this time would exceed the cap. Mails planned later within a period count too.
    pub fn is_capped(&self, cap: FrequencyCap, send_at_ms: i64) -> bool {
        let within =
            |touch: &&Touch| touch.sends() && (touch.send_at_ms - send_at_ms).abs() < cap.period_ms;
        self.touches.iter().filter(within).count() >= cap.sends_max as usize
    }

    /// Remembers a decision; forgets those past their time, and the oldest when there is no room.
    pub fn remember(&mut self, touch: Touch, now: Timestamp) {
        let limit = now.as_millisecond().saturating_sub(TOUCH_KEPT_MS);
        // A mail that left earlier than planned is remembered as long as its decision id may bring it back.
        let last_ms = |touch: &Touch| touch.send_at_ms.max(touch.planned_at_ms);
        self.touches.retain(|touch| last_ms(touch) >= limit);
        while self.touches.len() >= TOUCHES_MAX {
            let oldest = self.touches.remove(0);
            self.forgotten_until_ms = self.forgotten_until_ms.max(oldest.decided_at_ms);
        }
        let at = self
            .touches
            .partition_point(|other| other.decided_at_ms <= touch.decided_at_ms);
        self.touches.insert(at, touch);
    }

    /// Marks the record as changed now; a record that starts again after an erasure is a new one.
    pub fn mark_changed(&mut self, now: Timestamp) {
        self.updated_at_ms = now.as_millisecond();
        if self.erased_at_ms >= self.created_at_ms {
            self.created_at_ms = self
                .updated_at_ms
                .max(self.erased_at_ms + i64::from(self.erased_at_ms > 0));
        }
    }

    /// Whether there is anything but the bare fact of an erasure.
    pub fn exists(&self) -> bool {
        self.created_at_ms > self.erased_at_ms || self.erased_at_ms == 0
    }

    /// The zone to reckon in: the stored one if it is still a zone, else this default.
    pub fn zone_or(&self, default: &Zone) -> Zone {
        self.zone
            .as_deref()
            .and_then(|name| Zone::parse(name).ok())
            .unwrap_or_else(|| default.clone())
    }

    /// Stores a zone. Hours that were reckoned in another zone until now move by the difference, to the hour.
    pub fn set_zone(&mut self, zone: &Zone, until_now: &Zone, now: Timestamp) {
        let hour = |zone: &Zone| zone.local_hour(now).hour_of_week().index() as i32;
        let hours = (hour(zone) - hour(until_now) + 84).rem_euclid(168) - 84;
        self.zone = Some(zone.name().to_owned());
        if hours == 0 {
            return;
        }
        self.activity.rotate(hours);
        for touch in &mut self.touches {
            touch.sent_local_minute =
                (i32::from(touch.sent_local_minute) + hours * 60).rem_euclid(10_080) as u16;
            for response in [&mut touch.open, &mut touch.click].into_iter().flatten() {
                response.local_hour_of_week =
                    (i32::from(response.local_hour_of_week) + hours).rem_euclid(168) as u8;
            }
        }
    }

    /// Whether a decision made at this time can no longer be known: forgotten, or before an erasure.
    pub fn has_forgotten(&self, decided_at_ms: i64) -> bool {
        decided_at_ms <= self.forgotten_until_ms.max(self.erased_at_ms)
    }
}

#[cfg(test)]
pub(crate) mod tests;
