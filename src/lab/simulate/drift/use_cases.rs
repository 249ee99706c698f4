//! The same flow through the use cases, mail by mail: checks that the domain's functions alone go the same way.
//!
//! Invariant: answers are reported at the first look after they came, and maintenance runs at every look.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::domain::event::EventKind;
use crate::lab::LabError;
use crate::lab::campaign::{answered, decide, report, request_now, start_campaign};
use crate::lab::rig::{Rig, after_hours, start};

use super::world::{Delay, World};

/// People who get the mails, in turn.
const RECIPIENTS: u64 = 20_000;

/// Successes lost by hermod's use cases in this world.
pub fn lost(world: &World<'_>) -> Result<f64, LabError> {
    let options = world.options;
    let (mut luck, mut delays) = (world.stream("mails"), world.stream("delays"));
    let delay = Delay::of(options)?;
    let rig = Rig::new(world.stream("rig").bits())?;
    let flow = start_campaign(&rig, options.arms, World::settings())?;
    let mut request = request_now(&flow, 0, start());
    let mut tokens: BTreeMap<u64, String> = BTreeMap::new();
    let mut coming: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
    let microseconds = |hours: f64| (hours * 3.6e9) as u64;
    let (mut lost, mut number) = (0.0, 0_u64);
    for look in 0..u64::from(options.days * options.looks_per_day) {
        let now_hours = look as f64 * options.step_hours();
        rig.set(after_hours(start(), now_hours));
        let mut events = Vec::new();
        while let Some(Reverse((at, of))) = coming.peek().copied() {
            if at > microseconds(now_hours) {
                break;
            }
            coming.pop();
            if let Some(token) = tokens.remove(&of) {
                let at = after_hours(start(), at as f64 / 3.6e9);
                events.push(answered(token, EventKind::Opened, at));
            }
        }
        report(&rig, events)?;
        rig.maintain()?;
        rig.app.refresh();
        let rates = world.rates_at(look)?;
        let best = rates.iter().copied().fold(0.0, f64::max);
        let mails = options.sends_per_look();
        for mail in 0..mails {
            let sent_hours = now_hours + options.step_hours() * (mail as f64 + 0.5) / mails as f64;
            let sent_at = after_hours(start(), sent_hours);
            rig.set(sent_at);
            request.recipient_id = (number % RECIPIENTS).to_string();
            request.occasion = number.to_string();
            request.send_at = Some(sent_at);
            let (arm, token) = decide(&rig, &request)?;
            let rate = rates.get(arm).copied().unwrap_or(0.0);
            lost += best - rate;
            if luck.unit() < rate {
                let at = sent_hours + delay.hours(&mut delays);
                coming.push(Reverse((microseconds(at), number)));
                tokens.insert(number, token);
            }
            number += 1;
        }
    }
    Ok(lost)
}
