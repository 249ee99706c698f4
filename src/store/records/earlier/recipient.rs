//! Recipients as earlier versions of this program wrote them.
//!
//! Invariant: a layout here never changes again; fields that came later get the value that keeps the old behaviour.
use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::active_hours::ActiveHours;
use crate::domain::activity::{ActivityProfile, OpenShares};
use crate::domain::name::ExperimentUid;
use crate::domain::recipient::{Answer, Basis, Consent, Recipient, Response, Suppression, Touch};
use crate::domain::timing::TouchTiming;

/// Reads a recipient of format 1.
pub fn recipient_v1(payload: &[u8]) -> Result<Recipient, postcard::Error> {
    postcard::from_bytes::<RecipientV1<TouchV1>>(payload).map(Recipient::from)
}

/// Reads a recipient of format 2.
pub fn recipient_v2(payload: &[u8]) -> Result<Recipient, postcard::Error> {
    postcard::from_bytes::<RecipientV2<TouchV2>>(payload).map(Recipient::from)
}

/// Reads a recipient of format 3.
pub fn recipient_v3(payload: &[u8]) -> Result<Recipient, postcard::Error> {
    postcard::from_bytes::<RecipientV2<TouchV3>>(payload).map(Recipient::from)
}

/// Reads a recipient of format 4.
pub fn recipient_v4(payload: &[u8]) -> Result<Recipient, postcard::Error> {
    postcard::from_bytes::<RecipientV2<TouchV4>>(payload).map(Recipient::from)
}

/// A recipient before opens were told apart by who did them, with the touches of its time.
///
/// Fields stand one behind the other in this encoding, so a later layout begins with an earlier one as it is.
#[derive(Deserialize)]
struct RecipientV1<T> {
    created_at_ms: i64,
    updated_at_ms: i64,
    zone: Option<String>,
    segments: Vec<String>,
    consent: Consent,
    suppression: Option<Suppression>,
    activity: ActivityProfile,
    active_hours: ActiveHours,
    touches: Vec<T>,
    forgotten_until_ms: i64,
    erased_at_ms: i64,
}

/// A touch before it remembered how it was timed.
#[derive(Deserialize)]
struct TouchV1 {
    decision: u64,
    experiment: ExperimentUid,
    answer: Answer,
    decided_at_ms: i64,
    send_at_ms: i64,
    planned_at_ms: i64,
    occasion: u64,
    request: u64,
    events: u32,
    trial_counted: bool,
    measurable: bool,
    exposure_recorded: bool,
    everyone_recorded: bool,
    sent_local_minute: u16,
    open: Option<Response>,
    click: Option<Response>,
    value: f64,
    replied_negative: bool,
    basis: Basis,
}

/// A recipient before touches remembered when the harm was done, with the touches of its time.
#[derive(Deserialize)]
struct RecipientV2<T> {
    first: RecipientV1<T>,
    opens: OpenShares,
}

/// A touch before it remembered when the conversion happened.
#[derive(Deserialize)]
struct TouchV2 {
    first: TouchV1,
    timing: TouchTiming,
}

/// A touch before it remembered when the harm was done.
#[derive(Deserialize)]
struct TouchV3 {
    first: TouchV2,
    converted_at_ms: Option<i64>,
}

/// A touch before it was packed by hand.
#[derive(Deserialize)]
struct TouchV4 {
    first: TouchV3,
    harmed_at_ms: Option<i64>,
}

impl<T> RecipientV1<T>
where
    Touch: From<T>,
{
    fn with(self, opens: impl FnOnce(&[Touch]) -> OpenShares) -> Recipient {
        let touches: Vec<Touch> = self.touches.into_iter().map(Touch::from).collect();
        Recipient {
            created_at_ms: self.created_at_ms,
            updated_at_ms: self.updated_at_ms,
            zone: self.zone,
            segments: self.segments,
            consent: self.consent,
            suppression: self.suppression,
            activity: self.activity,
            active_hours: self.active_hours,
            opens: opens(&touches),
            touches,
            forgotten_until_ms: self.forgotten_until_ms,
            erased_at_ms: self.erased_at_ms,
        }
    }
}

impl From<RecipientV1<TouchV1>> for Recipient {
    fn from(old: RecipientV1<TouchV1>) -> Self {
        old.with(opens_of)
    }
}

impl<T> From<RecipientV2<T>> for Recipient
where
    Touch: From<T>,
{
    fn from(old: RecipientV2<T>) -> Self {
        let opens = old.opens;
        old.first.with(|_| opens)
    }
}

/// What the touches add to the shares of opens: it must be there before it can be taken back.
fn opens_of(touches: &[Touch]) -> OpenShares {
    let mut opens = OpenShares::default();
    let recorded = touches.iter().filter(|touch| touch.exposure_recorded);
    for open in recorded.filter_map(|touch| touch.open) {
        if let Ok(at) = Timestamp::from_millisecond(open.at_ms) {
            opens.record(at, open.weight.get());
        }
    }
    opens
}

impl From<TouchV1> for Touch {
    fn from(old: TouchV1) -> Self {
        Self {
            decision: old.decision,
            experiment: old.experiment,
            answer: old.answer,
            decided_at_ms: old.decided_at_ms,
            send_at_ms: old.send_at_ms,
            planned_at_ms: old.planned_at_ms,
            occasion: old.occasion,
            request: old.request,
            events: old.events,
            trial_counted: old.trial_counted,
            measurable: old.measurable,
            exposure_recorded: old.exposure_recorded,
            everyone_recorded: old.everyone_recorded,
            sent_local_minute: old.sent_local_minute,
            open: old.open,
            click: old.click,
            value: old.value,
            replied_negative: old.replied_negative,
            basis: old.basis,
            timing: TouchTiming::default(),
            converted_at_ms: None,
            harmed_at_ms: None,
        }
    }
}

impl From<TouchV2> for Touch {
    fn from(old: TouchV2) -> Self {
        Self {
            timing: old.timing,
            ..Self::from(old.first)
        }
    }
}

impl From<TouchV3> for Touch {
    fn from(old: TouchV3) -> Self {
        Self {
            converted_at_ms: old.converted_at_ms,
            ..Self::from(old.first)
        }
    }
}

impl From<TouchV4> for Touch {
    fn from(old: TouchV4) -> Self {
        Self {
            harmed_at_ms: old.harmed_at_ms,
            ..Self::from(old.first)
        }
    }
}
