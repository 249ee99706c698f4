//! The layout of a recipient's record: everything but the touches as usual, the hours of activity among it by a loop of our own, then the touches
//! packed by hand.
//!
//! Invariant: what is read is what was written, to the last bit. Touches are most of a record, and every decision reads and writes them all: hashes
//! stand as they are instead of as numbers of varying length, instants as distances, and what a touch does not have takes a bit.

use std::borrow::Cow;

use postcard::Error;
use serde::{Deserialize, Serialize};

use crate::domain::active_hours::ActiveHours;
use crate::domain::activity::{ActivityProfile, OpenShares};
use crate::domain::cell::{Context, Lane};
use crate::domain::event::HumanWeight;
use crate::domain::name::{ExperimentUid, VariantIndex};
use crate::domain::recipient::{
    Answer, Consent, DoNotSend, Recipient, Response, Suppression, Touch,
};

mod bytes;

use super::appending::appended;
use bytes::{Reader, Writer};

/// Least bytes of a touch; a count of more touches than there is room for is damage.
const TOUCH_BYTES_MIN: usize = 16;

/// Which of a touch's parts are there, and its yes and no.
mod bit {
    pub const SENDS: u64 = 1;
    pub const HOLDOUT: u64 = 1 << 1;
    pub const TRIAL_COUNTED: u64 = 1 << 2;
    pub const MEASURABLE: u64 = 1 << 3;
    pub const EXPOSURE_RECORDED: u64 = 1 << 4;
    pub const EVERYONE_RECORDED: u64 = 1 << 5;
    pub const REPLIED_NEGATIVE: u64 = 1 << 6;
    pub const OCCASION: u64 = 1 << 7;
    pub const REQUEST: u64 = 1 << 8;
    pub const MOVED: u64 = 1 << 9;
    pub const OPEN: u64 = 1 << 10;
    pub const CLICK: u64 = 1 << 11;
    pub const VALUE: u64 = 1 << 12;
    pub const CONVERTED: u64 = 1 << 13;
    pub const HARMED: u64 = 1 << 14;
}

/// What stands before the hours of activity: borrowed where it is written, owned where it is read, so that there is one layout.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    created_at_ms: i64,
    updated_at_ms: i64,
    zone: Option<Cow<'a, str>>,
    segments: Cow<'a, [String]>,
    consent: Cow<'a, Consent>,
    suppression: Option<Suppression>,
}

/// What stands between the hours of activity and the touches.
#[derive(Serialize, Deserialize)]
struct Tail {
    active_hours: ActiveHours,
    forgotten_until_ms: i64,
    erased_at_ms: i64,
    opens: OpenShares,
}

/// Appends a recipient.
pub fn write(recipient: &Recipient, to: Vec<u8>) -> Result<Vec<u8>, Error> {
    let Recipient {
        created_at_ms,
        updated_at_ms,
        zone,
        segments,
        consent,
        suppression,
        activity,
        active_hours,
        touches,
        forgotten_until_ms,
        erased_at_ms,
        opens,
    } = recipient;
    let head = Head {
        created_at_ms: *created_at_ms,
        updated_at_ms: *updated_at_ms,
        zone: zone.as_deref().map(Cow::Borrowed),
        segments: Cow::Borrowed(segments),
        consent: Cow::Borrowed(consent),
        suppression: *suppression,
    };
    let tail = Tail {
        active_hours: active_hours.clone(),
        forgotten_until_ms: *forgotten_until_ms,
        erased_at_ms: *erased_at_ms,
        opens: *opens,
    };
    let mut writer = Writer(appended(&head, to)?);
    writer.numbers(&activity.numbers());
    let mut writer = Writer(appended(&tail, writer.0)?);
    writer.number(touches.len() as u64);
    let mut before_ms = *created_at_ms;
    for touch in touches {
        write_touch(touch, before_ms, &mut writer)?;
        before_ms = touch.decided_at_ms;
    }
    Ok(writer.0)
}

/// Reads what [`write`] appended.
pub fn read(payload: &[u8]) -> Result<Recipient, Error> {
    let mut reader = Reader(payload);
    let mut recipient = read_head(&mut reader)?;
    let count = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
    if count > reader.0.len() / TOUCH_BYTES_MIN {
        return Err(Error::DeserializeUnexpectedEnd);
    }
    recipient.touches.reserve_exact(count + 1);
    let mut before_ms = recipient.created_at_ms;
    for _ in 0..count {
        let touch = read_touch(before_ms, &mut reader)?;
        before_ms = touch.decided_at_ms;
        recipient.touches.push(touch);
    }
    if !reader.0.is_empty() {
        return Err(Error::DeserializeBadEncoding);
    }
    Ok(recipient)
}

/// Reads all but the touches, which most of the time goes into.
pub fn read_without_touches(payload: &[u8]) -> Result<Recipient, Error> {
    read_head(&mut Reader(payload))
}

/// What stands before the touches. The hours of activity are 94 numbers, mostly small, which a decoder of any type takes one by one.
fn read_head(from: &mut Reader<'_>) -> Result<Recipient, Error> {
    let head: Head<'_> = from.small()?;
    let activity = ActivityProfile::from_numbers(&from.numbers()?);
    let tail: Tail = from.small()?;
    Ok(Recipient {
        created_at_ms: head.created_at_ms,
        updated_at_ms: head.updated_at_ms,
        zone: head.zone.map(Cow::into_owned),
        segments: head.segments.into_owned(),
        consent: head.consent.into_owned(),
        suppression: head.suppression,
        activity,
        active_hours: tail.active_hours,
        touches: Vec::new(),
        forgotten_until_ms: tail.forgotten_until_ms,
        erased_at_ms: tail.erased_at_ms,
        opens: tail.opens,
    })
}

fn flags(touch: &Touch) -> u64 {
    let has = [
        (touch.sends(), bit::SENDS),
        (touch.trial_counted, bit::TRIAL_COUNTED),
        (touch.measurable, bit::MEASURABLE),
        (touch.exposure_recorded, bit::EXPOSURE_RECORDED),
        (touch.everyone_recorded, bit::EVERYONE_RECORDED),
        (touch.replied_negative, bit::REPLIED_NEGATIVE),
        (touch.occasion != 0, bit::OCCASION),
        (touch.request != 0, bit::REQUEST),
        (touch.planned_at_ms != touch.send_at_ms, bit::MOVED),
        (touch.open.is_some(), bit::OPEN),
        (touch.click.is_some(), bit::CLICK),
        (touch.value.to_bits() != 0, bit::VALUE),
        (touch.converted_at_ms.is_some(), bit::CONVERTED),
        (touch.harmed_at_ms.is_some(), bit::HARMED),
    ];
    let held = matches!(
        touch.answer,
        Answer::Send {
            lane: Lane::Holdout,
            ..
        }
    );
    let of = |(has, bit): (bool, u64)| u64::from(has) * bit;
    has.into_iter()
        .fold(of((held, bit::HOLDOUT)), |flags, next| flags | of(next))
}

fn write_touch(touch: &Touch, before_ms: i64, to: &mut Writer) -> Result<(), Error> {
    // Named one by one, so that a new field has to be given a place here. Those that are a flag alone are in `flags`.
    let Touch {
        decision,
        experiment,
        answer,
        decided_at_ms,
        send_at_ms,
        planned_at_ms,
        occasion,
        request,
        events,
        trial_counted: _,
        measurable: _,
        exposure_recorded: _,
        everyone_recorded: _,
        sent_local_minute,
        open,
        click,
        value,
        replied_negative: _,
        basis,
        timing,
        converted_at_ms,
        harmed_at_ms,
    } = touch;
    let flags = flags(touch);
    to.number(flags);
    to.hash(*decision);
    to.number(experiment.0);
    write_answer(answer, to)?;
    to.distance(*decided_at_ms, before_ms);
    to.distance(*send_at_ms, *decided_at_ms);
    if flags & bit::MOVED != 0 {
        to.distance(*planned_at_ms, *send_at_ms);
    }
    for hash in [*occasion, *request].into_iter().filter(|hash| *hash != 0) {
        to.hash(hash);
    }
    to.number((*events).into());
    to.number((*sent_local_minute).into());
    for response in [open, click].into_iter().flatten() {
        to.small(&response.weight)?;
        to.distance(response.at_ms, *send_at_ms);
        to.0.push(response.local_hour_of_week);
    }
    if flags & bit::VALUE != 0 {
        to.hash(value.to_bits());
    }
    for at_ms in [converted_at_ms, harmed_at_ms].into_iter().flatten() {
        to.distance(*at_ms, *send_at_ms);
    }
    to.small(&(basis, timing))
}

fn write_answer(answer: &Answer, to: &mut Writer) -> Result<(), Error> {
    match answer {
        Answer::Send {
            variant,
            context,
            lane: _,
            propensity,
        } => {
            to.number(variant.0.into());
            to.0.extend_from_slice(&[context.segment, context.daypart]);
            to.hash(propensity.to_bits());
            Ok(())
        }
        Answer::DoNotSend(reason) => to.small(reason),
    }
}

fn read_touch(before_ms: i64, from: &mut Reader<'_>) -> Result<Touch, Error> {
    let flags = from.number()?;
    let has = |bit: u64| flags & bit != 0;
    let decision = from.hash()?;
    let experiment = ExperimentUid(from.number()?);
    let answer = if has(bit::SENDS) {
        read_send(has(bit::HOLDOUT), from)?
    } else {
        Answer::DoNotSend(from.small::<DoNotSend>()?)
    };
    let decided_at_ms = from.distance(before_ms)?;
    let send_at_ms = from.distance(decided_at_ms)?;
    let planned_at_ms = match has(bit::MOVED) {
        true => from.distance(send_at_ms)?,
        false => send_at_ms,
    };
    let occasion = if has(bit::OCCASION) { from.hash()? } else { 0 };
    let request = if has(bit::REQUEST) { from.hash()? } else { 0 };
    let events = from.number_of()?;
    let sent_local_minute = from.number_of()?;
    let open = response(has(bit::OPEN), send_at_ms, from)?;
    let click = response(has(bit::CLICK), send_at_ms, from)?;
    let value = f64::from_bits(if has(bit::VALUE) { from.hash()? } else { 0 });
    let mut instant = |bit| has(bit).then(|| from.distance(send_at_ms)).transpose();
    let converted_at_ms = instant(bit::CONVERTED)?;
    let harmed_at_ms = instant(bit::HARMED)?;
    let (basis, timing) = from.small()?;
    Ok(Touch {
        decision,
        experiment,
        answer,
        decided_at_ms,
        send_at_ms,
        planned_at_ms,
        occasion,
        request,
        events,
        trial_counted: has(bit::TRIAL_COUNTED),
        measurable: has(bit::MEASURABLE),
        exposure_recorded: has(bit::EXPOSURE_RECORDED),
        everyone_recorded: has(bit::EVERYONE_RECORDED),
        sent_local_minute,
        open,
        click,
        value,
        replied_negative: has(bit::REPLIED_NEGATIVE),
        basis,
        timing,
        converted_at_ms,
        harmed_at_ms,
    })
}

fn read_send(is_held: bool, from: &mut Reader<'_>) -> Result<Answer, Error> {
    let variant = VariantIndex(from.number_of()?);
    let [segment, daypart] = from.take::<2>()?;
    Ok(Answer::Send {
        variant,
        context: Context { segment, daypart },
        lane: if is_held { Lane::Holdout } else { Lane::Policy },
        propensity: f64::from_bits(from.hash()?),
    })
}

fn response(
    is_there: bool,
    send_at_ms: i64,
    from: &mut Reader<'_>,
) -> Result<Option<Response>, Error> {
    if !is_there {
        return Ok(None);
    }
    let weight: HumanWeight = from.small()?;
    let at_ms = from.distance(send_at_ms)?;
    let [local_hour_of_week] = from.take::<1>()?;
    Ok(Some(Response {
        weight,
        at_ms,
        local_hour_of_week,
    }))
}

#[cfg(test)]
mod tests;
