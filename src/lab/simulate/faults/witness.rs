//! What callers were told, and whether later answers hold to it.
//!
//! Invariant: only promises are checked. An answer may be forgotten by a crash until its commit is flushed, an acknowledged event never; an
//! erasure or a change of consent that is under way makes both open until it has ended.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::app::{AppError, EventResult, Kind, ReportOutcome};
use crate::domain::decide::Reason;

use super::call::{Call, Came, Held, PAUSED, PEOPLE, Send, Told};

/// An answer is given again for as long: less than the attribution window, which begins when the mail leaves.
const HELD_HOURS: i64 = 7 * 24;
/// Violations kept of one history.
const VIOLATIONS_MAX: usize = 5;

/// A call on its way: what was true when it was sent.
#[derive(Debug)]
pub struct Sent {
    /// The call.
    pub call: Call,
    /// The number of events acknowledged then.
    acknowledged: usize,
    /// The number of decisions held then.
    held: usize,
    /// The time by the clock then.
    now: Timestamp,
    /// By person: how often data had begun or ended to be taken out.
    epochs: [u64; PEOPLE],
}

/// An answer that has to be given again.
#[derive(Clone, Debug)]
struct Answered {
    held: Held,
    epoch: u64,
    /// Commits on the disk when it was given.
    commits: usize,
}

/// An event that has been acknowledged.
#[derive(Clone, Debug)]
struct Acknowledged {
    told: Told,
    epoch: u64,
}

/// What is remembered of one history.
#[derive(Debug, Default)]
pub struct Witness {
    /// Decisions that callers hold.
    pub held: Vec<Held>,
    /// Events reported so far.
    pub told: Vec<Told>,
    /// Broken promises.
    pub violations: Vec<String>,
    /// Calls answered.
    pub answered: u64,
    /// Calls refused.
    pub refused: u64,
    /// Decisions of people who were erased later.
    pub erased: Vec<Held>,
    epochs: [u64; PEOPLE],
    /// By person: calls under way that take data out, before or after which nobody can tell the others to be.
    under_way: [u32; PEOPLE],
    /// By send, and whether a request id was given: the same request gets its own answer again, whatever the send was answered since.
    answers: BTreeMap<(Send, bool), Answered>,
    /// Events on which a verdict was sent, which may have changed their weight.
    judged: BTreeSet<(String, u32)>,
    /// In the order of acknowledgement: decision, kind, and whether it was new.
    acknowledged: Vec<((String, u32), bool, u64)>,
    events: BTreeMap<(String, u32), Acknowledged>,
}

// === impl Answered ===

impl Answered {
    /// Whether it is the answer to the same question then: not beyond the attribution window, and not of a variant that may be paused.
    fn must_hold(&self, at: Timestamp) -> bool {
        let age = at.duration_since(self.held.decided_at).as_hours();
        !self.held.may_pause && age < HELD_HOURS
    }
}

// === impl Witness ===

impl Witness {
    /// Notes a broken promise.
    pub fn violated(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(what);
        }
    }

    /// A call is sent.
    pub fn sent(&mut self, call: Call, now: Timestamp) -> Sent {
        if let Some(person) = call.takes_out() {
            self.epochs[person] += 1;
            self.under_way[person] += 1;
        }
        if let Call::Report(told) = &call {
            self.told.extend(told.iter().cloned());
        }
        if let Call::Reclassify { told, .. } = &call {
            self.judged.insert(key(told));
        }
        Sent {
            call,
            acknowledged: self.acknowledged.len(),
            held: self.held.len(),
            now,
            epochs: self.epochs,
        }
    }

    /// A call was cut off by a crash: it may have been done or not.
    pub fn cut_off(&mut self, sent: &Sent) {
        self.taken_out(sent);
    }

    fn taken_out(&mut self, sent: &Sent) {
        if let Some(person) = sent.call.takes_out() {
            self.epochs[person] += 1;
            self.under_way[person] -= 1;
        }
    }

    /// Whether nothing was taken out of the person's record since the call was sent.
    fn is_settled(&self, sent: &Sent, person: usize) -> bool {
        self.under_way[person] == 0 && sent.epochs[person] == self.epochs[person]
    }

    /// So many commits are left after a crash.
    pub fn crashed(&mut self, commits: usize) {
        self.answers.retain(|_, answer| answer.commits <= commits);
    }

    /// A call has ended, with so many commits on the disk.
    pub fn ended(&mut self, sent: &Sent, outcome: Result<Came, AppError>, commits: usize) {
        self.taken_out(sent);
        match outcome {
            Err(error) => self.refused(sent, &error),
            Ok(came) => {
                self.answered += 1;
                match (&sent.call, came) {
                    (Call::Decide { send, .. }, Came::Decided(decided)) => {
                        let chosen = decided.answer.as_ref().ok().map(|answer| answer.variant);
                        let paused = decided.experiment.variant_index(PAUSED);
                        let held = Held {
                            id: decided.decision_id,
                            send: *send,
                            decided_at: decided.decided_at,
                            may_pause: chosen.is_none() || chosen == paused,
                        };
                        let reason = decided.answer.as_ref().ok().map(|a| a.basis.reason);
                        if reason == Some(Reason::Fallback) {
                            // Nothing could be written, and the answer says so: its token is good, but it may not be given again.
                            self.hold(held);
                        } else {
                            self.decided(sent, held, commits);
                        }
                    }
                    (Call::Report(told), Came::Reported(results)) => {
                        self.reported(sent, told, &results);
                    }
                    (Call::Erase(person), _) => {
                        let known = self.held.iter().take(sent.held);
                        // A decision from after, by a clock that was set back since, may have been lost in a crash: then nobody knows of it.
                        let is_meant =
                            |held: &&Held| held.send.0 == *person && held.decided_at <= sent.now;
                        self.erased.extend(known.filter(is_meant).cloned());
                    }
                    _ => {}
                }
            }
        }
    }

    fn refused(&mut self, sent: &Sent, error: &AppError) {
        self.refused += 1;
        if error.kind == Kind::Internal {
            self.violated(format!("{:?} ended in a defect: {error}", sent.call));
        }
    }

    fn decided(&mut self, sent: &Sent, held: Held, commits: usize) {
        let person = held.send.0;
        let epoch = self.epochs[person];
        if held.id.is_empty() || !self.is_settled(sent, person) {
            return;
        }
        let place = (held.send, has_request(sent));
        let before = self.answers.get(&place).cloned();
        let before = before.filter(|before| before.epoch == epoch);
        if let Some(before) = &before
            && before.held.id != held.id
            && before.must_hold(held.decided_at)
        {
            self.violated(format!(
                "{:?} was answered with {} and then with {}",
                held.send, before.held.id, held.id
            ));
        }
        let answer = Answered {
            held: held.clone(),
            epoch,
            commits,
        };
        if before.is_none_or(|before| before.held.id != held.id) {
            self.answers.insert(place, answer);
        }
        self.hold(held);
    }

    fn hold(&mut self, held: Held) {
        if !held.id.is_empty() && !self.held.contains(&held) {
            self.held.push(held);
        }
    }

    fn reported(&mut self, sent: &Sent, told: &[Told], results: &[EventResult]) {
        if told.len() != results.len() {
            self.violated(format!(
                "{} events got {} results",
                told.len(),
                results.len()
            ));
        }
        let earlier = self.acknowledged[..sent.acknowledged].to_vec();
        for (told, result) in told.iter().zip(results) {
            let person = told.held.send.0;
            let epoch = self.epochs[person];
            let outcome = match result {
                Ok(outcome) if self.is_settled(sent, person) => *outcome,
                _ => continue,
            };
            let is_new = outcome == ReportOutcome::Counted;
            let key = key(told);
            if is_new {
                self.counted(&key, epoch, &earlier);
            }
            if matches!(
                outcome,
                ReportOutcome::Counted | ReportOutcome::Duplicate | ReportOutcome::Upgraded
            ) {
                self.acknowledged.push((key.clone(), is_new, epoch));
                let event = Acknowledged {
                    told: told.clone(),
                    epoch,
                };
                self.events.insert(key, event);
            }
        }
    }

    /// An event counted: nobody may have been told before that one of its kind had, and no other call that it was the first.
    fn counted(&mut self, key: &(String, u32), epoch: u64, earlier: &[((String, u32), bool, u64)]) {
        let same = |(of, _, at): &&((String, u32), bool, u64)| of == key && *at == epoch;
        if earlier.iter().any(|known| same(&known)) {
            self.violated(format!("an acknowledged event was lost: {key:?}"));
        } else if self
            .acknowledged
            .iter()
            .filter(same)
            .any(|(_, new, _)| *new)
        {
            self.violated(format!("an event was counted twice: {key:?}"));
        }
    }

    /// What has to be known still: the events, and whether a verdict may have changed them.
    pub fn promised(&self) -> Vec<(Told, bool)> {
        let holds = |event: &&Acknowledged| event.epoch == self.epochs[event.told.held.send.0];
        let events = self.events.values().filter(holds);
        events
            .map(|event| (event.told.clone(), self.judged.contains(&key(&event.told))))
            .collect()
    }
}

fn has_request(sent: &Sent) -> bool {
    matches!(
        sent.call,
        Call::Decide {
            with_request: true,
            ..
        }
    )
}

fn key(told: &Told) -> (String, u32) {
    (told.held.id.clone(), told.event.kind.bit())
}
