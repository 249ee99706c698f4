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
    postcard::from_bytes::<RecipientV1>(payload).map(Recipient::from)
}

/// Reads a recipient of format 2.
pub fn recipient_v2(payload: &[u8]) -> Result<Recipient, postcard::Error> {
    postcard::from_bytes::<RecipientV2>(payload).map(Recipient::from)
}

/// A recipient before opens were told apart by who did them, and touches remembered how they were timed.
#[derive(Deserialize)]
struct RecipientV1 {
    created_at_ms: i64,
    updated_at_ms: i64,
    zone: Option<String>,
    segments: Vec<String>,
    consent: Consent,
    suppression: Option<Suppression>,
    activity: ActivityProfile,
    active_hours: ActiveHours,
    touches: Vec<TouchV1>,
    forgotten_until_ms: i64,
    erased_at_ms: i64,
}

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

impl From<RecipientV1> for Recipient {
    fn from(old: RecipientV1) -> Self {
        let mut opens = OpenShares::default();
        let touches: Vec<Touch> = old.touches.into_iter().map(Touch::from).collect();
        // What a touch adds must be there before it can be taken back.
        for open in touches
            .iter()
            .filter(|touch| touch.exposure_recorded)
            .filter_map(|touch| touch.open)
        {
            if let Ok(at) = Timestamp::from_millisecond(open.at_ms) {
                opens.record(at, open.weight.get());
            }
        }
        Self {
            created_at_ms: old.created_at_ms,
            updated_at_ms: old.updated_at_ms,
            zone: old.zone,
            segments: old.segments,
            consent: old.consent,
            suppression: old.suppression,
            activity: old.activity,
            active_hours: old.active_hours,
            touches,
            forgotten_until_ms: old.forgotten_until_ms,
            erased_at_ms: old.erased_at_ms,
            opens,
        }
    }
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
        }
    }
}

/// A recipient before touches remembered when the conversion happened.
#[derive(Deserialize)]
struct RecipientV2 {
    created_at_ms: i64,
    updated_at_ms: i64,
    zone: Option<String>,
    segments: Vec<String>,
    consent: Consent,
    suppression: Option<Suppression>,
    activity: ActivityProfile,
    active_hours: ActiveHours,
    touches: Vec<TouchV2>,
    forgotten_until_ms: i64,
    erased_at_ms: i64,
    opens: OpenShares,
}

#[derive(Deserialize)]
struct TouchV2 {
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
    timing: TouchTiming,
}

impl From<RecipientV2> for Recipient {
    fn from(old: RecipientV2) -> Self {
        Self {
            created_at_ms: old.created_at_ms,
            updated_at_ms: old.updated_at_ms,
            zone: old.zone,
            segments: old.segments,
            consent: old.consent,
            suppression: old.suppression,
            activity: old.activity,
            active_hours: old.active_hours,
            touches: old.touches.into_iter().map(Touch::from).collect(),
            forgotten_until_ms: old.forgotten_until_ms,
            erased_at_ms: old.erased_at_ms,
            opens: old.opens,
        }
    }
}

impl From<TouchV2> for Touch {
    fn from(old: TouchV2) -> Self {
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
            timing: old.timing,
            converted_at_ms: None,
        }
    }
}
