//! What must be true: every touch a caller was told of, with the events that were acknowledged, and the totals that follow.
//!
//! Invariant: it repeats none of the server's arithmetic but sums; weights are whole 256ths, amounts whole quarters, so sums are exact.

use std::collections::BTreeMap;

use hermod::grpc::wire::{self, EventKind, Objective, TrialOn};
use prost_types::Timestamp;

/// The kinds that callers report.
pub const KINDS: [EventKind; 7] = [
    EventKind::Sent,
    EventKind::Delivered,
    EventKind::Opened,
    EventKind::Clicked,
    EventKind::Converted,
    EventKind::Replied,
    EventKind::Unsubscribed,
];

/// An experiment that decisions are made in.
#[derive(Clone, Copy, Debug)]
pub struct Arena {
    /// Resource name.
    pub name: &'static str,
    /// What counts as a success.
    pub objective: Objective,
    /// When trials begin to count.
    pub trial_on: TrialOn,
    /// Share of the holdout.
    pub holdout_share: f64,
}

/// The experiments of every campaign.
pub const ARENAS: [Arena; 3] = [
    Arena {
        name: "experiments/autumn",
        objective: Objective::Click,
        trial_on: TrialOn::Decision,
        holdout_share: 0.0,
    },
    Arena {
        name: "experiments/winter",
        objective: Objective::Open,
        trial_on: TrialOn::Sent,
        holdout_share: 0.2,
    },
    Arena {
        name: "experiments/spring",
        objective: Objective::Conversion,
        trial_on: TrialOn::Decision,
        holdout_share: 0.1,
    },
];

/// One question for a decision; the same again after a fault.
#[derive(Clone, Debug)]
pub struct Question {
    /// Number of the person.
    pub person: usize,
    /// Number of the arena.
    pub arena: usize,
    /// Names the mail.
    pub occasion: String,
    /// Names the call, or empty.
    pub request_id: String,
}

/// An event that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Human probability in 256ths.
    pub weight: u16,
    /// Amount of a conversion.
    pub value: f64,
    /// Minutes after the decision.
    pub minutes: i64,
}

/// A decision that was acknowledged.
#[derive(Clone, Debug)]
pub struct Touch {
    /// What was asked.
    pub question: Question,
    /// Its token.
    pub decision_id: String,
    /// The variant.
    pub variant: String,
    /// Whether it went to the holdout.
    pub holdout: bool,
    /// When it was made.
    pub decided_at: Timestamp,
    /// Whether the answer said that nothing could be written.
    pub unremembered: bool,
    /// Whether a fault took it and its recipient was erased before an event made it again: then it never counted.
    pub lost: bool,
    /// Acknowledged events by kind.
    pub events: BTreeMap<i32, Event>,
}

/// A recipient.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Its id.
    pub id: String,
    /// Decisions made about it.
    pub touches: Vec<Touch>,
    /// Segments as last acknowledged.
    pub segments: Vec<String>,
    /// Occasions used.
    pub occasions: usize,
    /// Erased, acknowledged.
    pub erased: bool,
    /// Unsubscribed, acknowledged or maybe.
    pub quiet: bool,
    /// Whether a record must exist.
    pub exists: bool,
}

/// Sums of one variant on one side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Decisions.
    pub decided: f64,
    /// Events by kind.
    pub events: BTreeMap<i32, f64>,
    /// Amount of conversions.
    pub value: f64,
    /// Trials.
    pub trials: f64,
    /// Weighted successes.
    pub successes: f64,
}

/// The event that claims a decision by its token.
pub const SENT: Event = Event {
    weight: 256,
    value: 0.0,
    minutes: 1,
};

/// All sums, by arena, side and variant.
pub type Sums = BTreeMap<(usize, bool, String), Totals>;

// === impl Touch ===

impl Touch {
    /// An event of this touch as it goes over the wire.
    pub fn wire(&self, kind: EventKind, event: &Event) -> wire::Event {
        let at = Timestamp {
            seconds: self.decided_at.seconds + event.minutes * 60,
            nanos: self.decided_at.nanos,
        };
        wire::Event {
            kind: kind.into(),
            event_time: Some(at),
            decision_id: self.decision_id.clone(),
            human_probability: Some(f64::from(event.weight) / 256.0),
            value: event.value,
            ..Default::default()
        }
    }

    /// Whether a kept touch is of this decision.
    pub fn is_kept_as(&self, kept: &wire::Touch) -> bool {
        let kept_at = kept.decide_time.unwrap_or_default();
        kept.experiment == ARENAS[self.question.arena].name
            && milliseconds(&kept_at) == milliseconds(&self.decided_at)
    }

    fn add(&self, erased: bool, totals: &mut Totals) {
        if self.lost {
            return;
        }
        totals.decided += 1.0;
        for (kind, event) in &self.events {
            *totals.events.entry(*kind).or_default() += 1.0;
            totals.value += event.value;
        }
        if erased {
            return;
        }
        let arena = &ARENAS[self.question.arena];
        let counts = arena.trial_on == TrialOn::Decision || !self.events.is_empty();
        totals.trials += f64::from(u8::from(counts));
        let weight = |kind: EventKind| {
            let event = self.events.get(&i32::from(kind));
            event.map_or(0.0, |event| f64::from(event.weight) / 256.0)
        };
        totals.successes += match arena.objective {
            Objective::Click => weight(EventKind::Clicked),
            Objective::Open => weight(EventKind::Opened),
            _ => f64::from(u8::from(
                self.events.contains_key(&i32::from(EventKind::Converted)),
            )),
        };
    }
}

/// What is kept of an instant.
fn milliseconds(at: &Timestamp) -> i64 {
    at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000
}

/// Marks the touches that are not among the kept ones. A record is written as a whole and in order, so only the last may be missing, and
/// none of which an event was acknowledged.
///
/// # Errors
/// What should have been kept and is not, or is kept though nobody was told of it.
pub fn mark_lost(touches: &mut [Touch], kept: &[wire::Touch]) -> Result<(), String> {
    let mut unmatched: Vec<&wire::Touch> = kept.iter().collect();
    for touch in touches.iter_mut() {
        let found = unmatched.iter().position(|kept| touch.is_kept_as(kept));
        touch.lost = found.is_none();
        if let Some(found) = found {
            unmatched.swap_remove(found);
        }
    }
    let is_wrong = |pair: &[Touch]| pair[0].lost && !pair[1].lost;
    let had_events = |touch: &Touch| touch.lost && !touch.events.is_empty();
    if unmatched.is_empty() && !touches.iter().any(had_events) && !touches.windows(2).any(is_wrong)
    {
        return Ok(());
    }
    Err(format!("kept is {kept:?}, acknowledged was {touches:?}"))
}

/// Adds the people of one caller to the sums.
pub fn add_people(people: &[Person], sums: &mut Sums) {
    for person in people {
        for touch in &person.touches {
            let key = (touch.question.arena, touch.holdout, touch.variant.clone());
            touch.add(person.erased, sums.entry(key).or_default());
        }
    }
}
