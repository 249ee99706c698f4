//! What an event does to its recipient's record: which outcome it has, and how the touch changes.
//!
//! Invariant: the first of a kind counts once per decision, whatever the order and number of reports; for opens and clicks the most
//! human one counts. What the change adds to sums is left to `contribution`.
use jiff::Timestamp;

use crate::domain::cell::{HOUR_MS, Lane};
use crate::domain::civil::Zone;
use crate::domain::decide::Reason;
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use crate::domain::experiment::TrialOn;
use crate::domain::recipient::{
    Answer, Basis, Recipient, Response, Suppression, TOUCH_KEPT_MS, Touch,
};
use crate::domain::snapshot::ChoiceLevel;
use crate::domain::timing::TouchTiming;
use crate::domain::token::DecisionToken;

/// An event may be this much before its decision: clocks differ.
const CLOCK_SKEW_MS: i64 = HOUR_MS;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// Counted.
    Counted,
    /// One of its kind had counted.
    Duplicate,
    /// One of its kind had counted with a lower human probability, and was replaced.
    Upgraded,
    /// After the attribution window, or after its touch was forgotten.
    TooLate,
    /// The recipient was erased after the decision.
    Erased,
    /// Before its decision.
    BeforeDecision,
}

/// The rules of an experiment that matter for its events.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// When trials begin to count.
    pub trial_on: TrialOn,
    /// How long after the send a success counts, milliseconds.
    pub attribution_window_ms: i64,
    /// The recipient's zone.
    pub zone: &'a Zone,
    /// Now.
    pub now: Timestamp,
}

/// The touch of a decision as its token remembers it, should the record have lost it.
pub fn touch_from_token(token: &DecisionToken, zone: &Zone) -> Touch {
    let teaches = token.exposure_recorded && token.lane == Lane::Policy;
    Touch {
        decision: token.decision,
        experiment: token.experiment,
        answer: Answer::Send {
            variant: token.variant,
            context: token.context,
            lane: token.lane,
            propensity: token.propensity,
        },
        decided_at_ms: token.decided_at.as_millisecond(),
        send_at_ms: token.send_at.as_millisecond(),
        planned_at_ms: token.send_at.as_millisecond(),
        occasion: token.occasion,
        request: 0,
        events: 0,
        trial_counted: token.trial_on_decision,
        measurable: token.measurable,
        exposure_recorded: teaches,
        everyone_recorded: teaches,
        sent_local_minute: local_minute_of_week(zone, token.send_at),
        open: None,
        click: None,
        value: 0.0,
        replied_negative: false,
        basis: Basis {
            reason: Reason::Policy,
            choice_level: ChoiceLevel::Everyone,
            time_level: None,
        },
        timing: TouchTiming::default(),
        converted_at_ms: None,
        harmed_at_ms: None,
    }
}

/// The local minute of the week of an instant, 0 to 10,079.
pub fn local_minute_of_week(zone: &Zone, at: Timestamp) -> u16 {
    let local = zone.local_time(at);
    local.hour.hour_of_week().index() as u16 * 60 + u16::from(local.minute)
}

/// Whether a decision's touch is there, must be made again from its token, or is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchState {
    /// In the record.
    Present,
    /// Not in the record, though nothing says it was forgotten: its commit was lost.
    Lost,
    /// Forgotten or past its time.
    Forgotten,
    /// Before an erasure.
    Erased,
}

/// Looks for the touch of a token.
pub fn touch_state(recipient: &Recipient, token: &DecisionToken, now: Timestamp) -> TouchState {
    let decided_at_ms = token.decided_at.as_millisecond();
    let is_erased = recipient.erased_at_ms >= decided_at_ms;
    // A decision made anew after an erasure has the same fingerprint as the one that was erased, but not its time.
    let is_present = |touch: &Touch| {
        touch.decision == token.decision && (!is_erased || touch.decided_at_ms == decided_at_ms)
    };
    if recipient.touches.iter().any(is_present) {
        TouchState::Present
    } else if is_erased {
        TouchState::Erased
    } else if recipient.has_forgotten(decided_at_ms)
        || token.send_at.as_millisecond().saturating_add(TOUCH_KEPT_MS) < now.as_millisecond()
    {
        TouchState::Forgotten
    } else {
        TouchState::Lost
    }
}

/// Applies an event to the touch it belongs to.
pub fn apply(touch: &mut Touch, event: &DecisionEvent, rules: &Rules<'_>) -> EventOutcome {
    let at_ms = event.at.as_millisecond();
    if at_ms < touch.decided_at_ms - CLOCK_SKEW_MS {
        return EventOutcome::BeforeDecision;
    }
    let too_late = at_ms > touch.send_at_ms.saturating_add(rules.attribution_window_ms);
    if too_late
        && !matches!(
            event.kind,
            EventKind::Unsubscribed | EventKind::Complained | EventKind::Bounced
        )
    {
        return EventOutcome::TooLate;
    }
    let outcome = match event.kind {
        EventKind::Opened => respond(touch, event, rules, |touch| &mut touch.open),
        EventKind::Clicked => respond(touch, event, rules, |touch| &mut touch.click),
        _ if touch.has(event.kind) => EventOutcome::Duplicate,
        _ => EventOutcome::Counted,
    };
    if outcome == EventOutcome::Counted {
        touch.events |= event.kind.bit();
        count(touch, event);
    }
    confirm(touch, event, rules, outcome);
    outcome
}

/// Opens and clicks: the most human one counts, the earlier of equals.
fn respond(
    touch: &mut Touch,
    event: &DecisionEvent,
    rules: &Rules<'_>,
    slot: fn(&mut Touch) -> &mut Option<Response>,
) -> EventOutcome {
    let local_hour_of_week = rules.zone.local_hour(event.at).hour_of_week().index() as u8;
    let new = Response {
        weight: event.weight,
        at_ms: event.at.as_millisecond(),
        local_hour_of_week,
    };
    let slot = slot(touch);
    match *slot {
        None => {
            *slot = Some(new);
            EventOutcome::Counted
        }
        Some(old) if (new.weight, -new.at_ms) > (old.weight, -old.at_ms) => {
            *slot = Some(new);
            if new.weight > old.weight {
                EventOutcome::Upgraded
            } else {
                EventOutcome::Duplicate
            }
        }
        Some(_) => EventOutcome::Duplicate,
    }
}

fn count(touch: &mut Touch, event: &DecisionEvent) {
    match event.kind {
        EventKind::Converted => {
            touch.value = event.value;
            touch.converted_at_ms = Some(event.at.as_millisecond());
        }
        EventKind::Replied => touch.replied_negative = event.sentiment == Sentiment::Negative,
        _ => {}
    }
    if does_harm(event) {
        let at_ms = event.at.as_millisecond();
        let earlier_ms = touch
            .harmed_at_ms
            .map_or(at_ms, |earlier| earlier.min(at_ms));
        touch.harmed_at_ms = Some(earlier_ms);
    }
}

/// Whether an event is harm that people do: they take their time with it, mail servers do not.
fn does_harm(event: &DecisionEvent) -> bool {
    match event.kind {
        EventKind::Complained | EventKind::Unsubscribed => true,
        EventKind::Replied => event.sentiment == Sentiment::Negative,
        _ => false,
    }
}

/// A sent event says when the mail left; any other event before the planned time says that it left by then.
fn confirm(touch: &mut Touch, event: &DecisionEvent, rules: &Rules<'_>, outcome: EventOutcome) {
    let at_ms = event.at.as_millisecond();
    let is_sent = event.kind == EventKind::Sent && outcome == EventOutcome::Counted;
    let left_earlier = at_ms < touch.send_at_ms && !touch.has(EventKind::Sent);
    if is_sent || left_earlier {
        touch.send_at_ms = at_ms;
        touch.sent_local_minute = local_minute_of_week(rules.zone, event.at);
    }
    touch.trial_counted |= rules.trial_on == TrialOn::Decision || outcome == EventOutcome::Counted;
}

/// Puts a later verdict in the place of the one that counts. `None` when there is no such open or click.
pub fn reclassify(touch: &mut Touch, kind: EventKind, weight: HumanWeight) -> Option<EventOutcome> {
    let slot = match kind {
        EventKind::Opened => &mut touch.open,
        EventKind::Clicked => &mut touch.click,
        _ => return None,
    };
    let response = slot.as_mut()?;
    if response.weight == weight {
        return Some(EventOutcome::Duplicate);
    }
    response.weight = weight;
    Some(EventOutcome::Counted)
}

/// What an event says about sending to this person at all.
pub fn suppression(event: &DecisionEvent) -> Option<Suppression> {
    match event.kind {
        EventKind::Unsubscribed => Some(Suppression::Unsubscribed),
        EventKind::Complained => Some(Suppression::Complained),
        EventKind::Bounced if event.permanent => Some(Suppression::Bounced),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
