//! One of many concurrent callers: it works on people of its own, keeps a model of what was acknowledged, and repeats what was not.
//!
//! Invariant: one operation at a time; what a fault cut off is the first thing done afterwards.

use std::collections::BTreeSet;

use hermod::grpc::wire::recipient_service_client::RecipientServiceClient;
use hermod::grpc::wire::{self, DecisionReason, EventKind, EventOutcome};
use prost_types::FieldMask;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::calls::{self, WAYS, Way};
use super::meter::{Meter, count};
use super::model::{ARENAS, Event, KINDS, Person, Question, SENT, Touch};

/// Most decisions about one person, fewer than the server remembers.
const OCCASIONS_MAX: usize = 6;
/// Most items of one call.
const ITEMS_MAX: usize = 16;

/// An event on its way.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    person: usize,
    touch: usize,
    kind: EventKind,
    event: Event,
}

/// What a caller is about.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Asks for decisions.
    Decide(Way, Vec<Question>),
    /// Reports events.
    Report(Way, Vec<Report>),
    /// Sets a person's segments.
    Update(usize, Vec<String>),
    /// Erases a person.
    Erase(usize),
}

/// The caller.
pub struct Caller {
    number: usize,
    rng: ChaCha8Rng,
    /// Its people.
    pub people: Vec<Person>,
    pending: Option<Operation>,
    /// Whether a fault cut the pending operation off, so that it may have been done.
    uncertain: bool,
    /// Decisions acknowledged since the last fault or settling.
    fresh: Vec<(usize, usize)>,
    /// Decisions to be asked for again.
    asked: Vec<(usize, usize)>,
}

// === impl Caller ===

impl Caller {
    /// The caller of this number, whose moves the seed decides.
    pub fn new(seed: u64, number: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number as u64 + 1);
        Self {
            number,
            rng,
            people: Vec::new(),
            pending: None,
            uncertain: false,
            fresh: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Goes on until the server fails; what was under way is kept.
    pub async fn load(&mut self, channels: &[Channel], meter: &Meter) {
        while !meter.is_down() {
            let operation = match self.pending.take() {
                Some(operation) => operation,
                None => self.next(),
            };
            self.attempt(operation, channels, meter).await;
            if self.pending.is_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// After a fault: repeats what was cut off, and claims the decisions that were answered. False when the server failed again.
    pub async fn settle(&mut self, channels: &[Channel], meter: &Meter) -> bool {
        while let Some(operation) = self.pending.take() {
            count(&meter.tally.retried);
            self.attempt(operation, channels, meter).await;
            if self.pending.is_some() && meter.is_down() {
                return false;
            }
            tokio::task::yield_now().await;
        }
        self.uncertain = false;
        self.claim(channels, meter).await.is_ok()
    }

    /// Reports every decision since the last fault as sent, by its token; then the same questions must get the same answers.
    async fn claim(&mut self, channels: &[Channel], meter: &Meter) -> Result<(), Status> {
        let fresh: Vec<(usize, usize)> = std::mem::take(&mut self.fresh);
        let unclaimed: Vec<(usize, usize)> = fresh
            .iter()
            .copied()
            .filter(|at| self.touch(*at).events.is_empty() && !self.people[at.0].erased)
            .collect();
        for at in &unclaimed {
            let remembered = match self.is_remembered(*at, channels).await {
                Ok(remembered) => remembered,
                Err(status) => {
                    meter.failed("GetRecipient", &status);
                    self.fresh = fresh;
                    return Err(status);
                }
            };
            count(if remembered {
                &meter.tally.remembered
            } else {
                &meter.tally.attributed
            });
        }
        let claims = unclaimed.iter().map(|(person, touch)| Report {
            person: *person,
            touch: *touch,
            kind: EventKind::Sent,
            event: SENT,
        });
        let claims: Vec<Report> = claims.collect();
        self.asked.extend(&unclaimed);
        if !claims.is_empty() {
            let operation = Operation::Report(Way::Batch, claims);
            self.attempt(operation, channels, meter).await;
        }
        if self.pending.is_some() {
            return Err(Status::unavailable("cut off"));
        }
        self.ask_again(channels, meter).await
    }

    async fn is_remembered(
        &mut self,
        at: (usize, usize),
        channels: &[Channel],
    ) -> Result<bool, Status> {
        let kept = match self.kept(at.0, channels).await {
            Ok(kept) => kept,
            Err(status) if status.code() == Code::NotFound => return Ok(false),
            Err(status) => return Err(status),
        };
        let touch = self.touch(at);
        Ok(kept.touches.iter().any(|kept| touch.is_kept_as(kept)))
    }

    async fn ask_again(&mut self, channels: &[Channel], meter: &Meter) -> Result<(), Status> {
        let asked: Vec<(usize, usize)> = std::mem::take(&mut self.asked);
        for part in asked.chunks(100) {
            let requests = part
                .iter()
                .map(|at| self.request(&self.touch(*at).question));
            let requests = requests.collect();
            let mut answers = Vec::new();
            let channel = self.channel(channels);
            let done = calls::decide(channel, Way::Batch, requests, |at, answer| {
                answers.push((at, answer))
            })
            .await;
            for (at, answer) in answers {
                let touch = self.touch(part[at]);
                if !answer.repeated_answer || answer.decision_id != touch.decision_id {
                    meter.violation(format!(
                        "asked again, {:?} was answered {answer:?} instead of {}",
                        touch.question, touch.decision_id
                    ));
                }
            }
            if let Err(status) = done {
                meter.failed("BatchDecide again", &status);
                self.asked = asked;
                return Err(status);
            }
        }
        Ok(())
    }

    /// One try; what was not acknowledged is pending afterwards.
    async fn attempt(&mut self, operation: Operation, channels: &[Channel], meter: &Meter) {
        let channel = self.channel(channels);
        self.pending = match operation {
            Operation::Decide(way, questions) => self.decide(way, questions, channel, meter).await,
            Operation::Report(way, reports) => self.report(way, reports, channel, meter).await,
            Operation::Update(person, segments) => {
                self.update(person, segments, channel, meter).await
            }
            Operation::Erase(person) => self.erase(person, channels, meter).await,
        };
        // A call that failed may have been carried out all the same.
        self.uncertain |= self.pending.is_some();
    }

    async fn decide(
        &mut self,
        way: Way,
        questions: Vec<Question>,
        channel: Channel,
        meter: &Meter,
    ) -> Option<Operation> {
        let requests = questions.iter().map(|question| self.request(question));
        let mut answers: Vec<Option<wire::Decision>> = vec![None; questions.len()];
        let done = calls::decide(channel, way, requests.collect(), |at, decision| {
            meter.acknowledged(&meter.tally.decisions);
            answers[at] = Some(decision);
        })
        .await;
        let mut rest = Vec::new();
        for (question, answer) in questions.into_iter().zip(answers) {
            match answer {
                Some(decision) => self.decided(question, decision, meter),
                None => rest.push(question),
            }
        }
        if let Err(status) = done {
            meter.failed("a decision", &status);
        }
        (!rest.is_empty()).then_some(Operation::Decide(way, rest))
    }

    fn decided(&mut self, question: Question, decision: wire::Decision, meter: &Meter) {
        let is_odd = !decision.send
            || decision.decision_id.is_empty()
            || (decision.repeated_answer && !self.uncertain);
        if is_odd {
            meter.violation(format!("{question:?} was answered {decision:?}"));
            return;
        }
        let number = question.person;
        let unremembered = decision.reason() == DecisionReason::Fallback;
        if unremembered {
            count(&meter.tally.unremembered);
        }
        let person = &mut self.people[number];
        person.exists |= !unremembered;
        person.touches.push(Touch {
            question,
            decision_id: decision.decision_id,
            variant: decision.variant,
            holdout: decision.holdout,
            decided_at: decision.decide_time.unwrap_or_default(),
            unremembered,
            lost: false,
            events: Default::default(),
        });
        self.fresh.push((number, person.touches.len() - 1));
    }

    async fn report(
        &mut self,
        way: Way,
        reports: Vec<Report>,
        channel: Channel,
        meter: &Meter,
    ) -> Option<Operation> {
        let wire = |report: &Report| {
            self.touch((report.person, report.touch))
                .wire(report.kind, &report.event)
        };
        let events = reports.iter().map(wire).collect();
        let mut answers: Vec<Option<wire::EventResult>> = vec![None; reports.len()];
        let done = calls::report(channel, way, events, |at, result| {
            meter.acknowledged(match result.outcome() {
                EventOutcome::Duplicate => &meter.tally.duplicates,
                _ => &meter.tally.events,
            });
            answers[at] = Some(result);
        })
        .await;
        let mut rest = Vec::new();
        for (report, answer) in reports.into_iter().zip(answers) {
            match answer {
                Some(result) => self.reported(report, &result, meter),
                None => rest.push(report),
            }
        }
        if let Err(status) = done {
            meter.failed("a report", &status);
        }
        (!rest.is_empty()).then_some(Operation::Report(way, rest))
    }

    fn reported(&mut self, report: Report, result: &wire::EventResult, meter: &Meter) {
        let uncertain = self.uncertain;
        let touch = &mut self.people[report.person].touches[report.touch];
        let known = touch.events.get(&i32::from(report.kind)).copied();
        let weighed = matches!(report.kind, EventKind::Opened | EventKind::Clicked);
        let fits = match (known, result.outcome()) {
            (None, EventOutcome::Counted) => true,
            (None, EventOutcome::Duplicate | EventOutcome::Upgraded) => uncertain,
            (Some(known), EventOutcome::Upgraded) => weighed && report.event.weight > known.weight,
            (Some(known), EventOutcome::Duplicate) => {
                uncertain || !weighed || report.event.weight <= known.weight
            }
            _ => false,
        };
        if !fits {
            meter.violation(format!(
                "{:?} of {} was answered {result:?}, known before: {known:?}",
                report, touch.decision_id
            ));
        }
        let kept = match known {
            Some(known) if !weighed || known.weight >= report.event.weight => known,
            _ => report.event,
        };
        touch.events.insert(report.kind.into(), kept);
        self.people[report.person].exists = true;
    }

    async fn update(
        &mut self,
        person: usize,
        segments: Vec<String>,
        channel: Channel,
        meter: &Meter,
    ) -> Option<Operation> {
        let request = wire::UpdateRecipientRequest {
            recipient_id: self.people[person].id.clone(),
            recipient: Some(wire::Recipient {
                segments: segments.clone(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["segments".into()],
            }),
        };
        let mut client = RecipientServiceClient::new(channel);
        match client.update_recipient(request).await {
            Ok(_) => {
                meter.acknowledged(&meter.tally.updates);
                self.people[person].segments = segments;
                self.people[person].exists = true;
                None
            }
            Err(status) => {
                meter.failed("UpdateRecipient", &status);
                Some(Operation::Update(person, segments))
            }
        }
    }

    /// Whether a fault cut the operation off that is made now, so that it may have been carried out before.
    pub fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// What the server keeps of a person.
    pub async fn kept(
        &mut self,
        person: usize,
        channels: &[Channel],
    ) -> Result<wire::Recipient, Status> {
        let request = wire::GetRecipientRequest {
            recipient_id: self.people[person].id.clone(),
        };
        let mut client = RecipientServiceClient::new(self.channel(channels));
        let answer = client.get_recipient(request).await?.into_inner();
        Ok(answer.recipient.unwrap_or_default())
    }

    fn next(&mut self) -> Operation {
        // What was acknowledged before the first fault is certain; so is everything new after the pending operation.
        self.uncertain = false;
        let dice = self.rng.random_range(0..100);
        let reports = match dice {
            45..92 => self.reports(),
            _ => Vec::new(),
        };
        match dice {
            _ if !reports.is_empty() => Operation::Report(self.way(), reports),
            92..96 => {
                let segments = vec![format!("s{}", self.rng.random_range(0..1_000))];
                let person = self.person(&BTreeSet::new());
                Operation::Update(person, segments)
            }
            96..98 if self.erasable().is_some() => Operation::Erase(self.erasable().unwrap_or(0)),
            _ => self.questions(),
        }
    }

    fn way(&mut self) -> Way {
        WAYS[self.rng.random_range(0..WAYS.len())]
    }

    fn questions(&mut self) -> Operation {
        let way = self.way();
        let items = match way {
            Way::Unary => 1,
            _ => self.rng.random_range(1..=ITEMS_MAX),
        };
        let mut taken = BTreeSet::new();
        let mut questions = Vec::new();
        for _ in 0..items {
            let number = self.person(&taken);
            taken.insert(number);
            let person = &mut self.people[number];
            person.occasions += 1;
            let occasion = format!("mail-{}", person.occasions);
            let with_id = self.rng.random_bool(0.5);
            questions.push(Question {
                person: number,
                arena: self.rng.random_range(0..ARENAS.len()),
                request_id: if with_id {
                    format!("call-{number}-{occasion}")
                } else {
                    String::new()
                },
                occasion,
            });
        }
        Operation::Decide(way, questions)
    }

    /// Somebody with room for one more decision, perhaps new.
    fn person(&mut self, taken: &BTreeSet<usize>) -> usize {
        let all = 0..self.people.len();
        let open = all.rev().take(64).filter(|number| {
            let person = &self.people[*number];
            let full = person.occasions >= OCCASIONS_MAX;
            !(full || person.erased || person.quiet || taken.contains(number))
        });
        let open: Vec<usize> = open.collect();
        if !open.is_empty() && self.rng.random_bool(0.8) {
            return open[self.rng.random_range(0..open.len())];
        }
        self.people.push(Person {
            id: format!("person-{}-{}", self.number, self.people.len()),
            ..Person::default()
        });
        self.people.len() - 1
    }

    /// Somebody to erase, of whom an acknowledged event says that there is a record: there being none afterwards is then due to the erasure.
    fn erasable(&self) -> Option<usize> {
        let mut all = (0..self.people.len()).rev();
        all.find(|number| {
            let person = &self.people[*number];
            let is_there = |touch: &Touch| !touch.unremembered || !touch.events.is_empty();
            let is_certain = person.touches.iter().any(|touch| !touch.events.is_empty());
            let is_erasable = person.touches.len() >= 2 && is_certain && !person.erased;
            is_erasable && person.touches.iter().all(is_there)
        })
    }

    /// Events of recent decisions, in any order, some of them twice or known already.
    fn reports(&mut self) -> Vec<Report> {
        let recent: Vec<(usize, usize)> = self.recent();
        if recent.is_empty() {
            return Vec::new();
        }
        let items = self.rng.random_range(1..=ITEMS_MAX);
        let mut reports: Vec<Report> = Vec::new();
        for _ in 0..items {
            let again = self.rng.random_bool(0.15) && !reports.is_empty();
            let report = if again {
                reports[self.rng.random_range(0..reports.len())]
            } else {
                let at = self.draw(recent.len());
                self.report_of(recent[at])
            };
            if report.kind == EventKind::Unsubscribed {
                self.people[report.person].quiet = true;
            }
            reports.push(report);
        }
        reports
    }

    fn report_of(&mut self, (person, touch): (usize, usize)) -> Report {
        // An unsubscription ends a person's mails: it is rare.
        let kinds = if self.rng.random_bool(0.05) { 7 } else { 6 };
        let kind = KINDS[self.rng.random_range(0..kinds)];
        let value = match kind {
            EventKind::Converted => f64::from(self.rng.random_range(0..400_u32)) / 4.0,
            _ => 0.0,
        };
        let weight = [64, 128, 192, 256][self.rng.random_range(0..4)];
        Report {
            person,
            touch,
            kind,
            event: Event {
                weight,
                value,
                minutes: self.rng.random_range(1..120),
            },
        }
    }

    fn recent(&self) -> Vec<(usize, usize)> {
        let people = self.people.iter().enumerate().rev().take(32);
        let kept = people.filter(|(_, person)| !person.erased);
        kept.flat_map(|(number, person)| {
            (0..person.touches.len()).map(move |touch| (number, touch))
        })
        .collect()
    }

    fn touch(&self, (person, touch): (usize, usize)) -> &Touch {
        &self.people[person].touches[touch]
    }

    /// A connection, drawn.
    pub fn channel(&mut self, channels: &[Channel]) -> Channel {
        channels[self.rng.random_range(0..channels.len())].clone()
    }

    /// A number below this, drawn.
    pub fn draw(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below.max(1))
    }

    fn request(&self, question: &Question) -> wire::DecideRequest {
        wire::DecideRequest {
            experiment: ARENAS[question.arena].name.into(),
            recipient_id: self.people[question.person].id.clone(),
            request_id: question.request_id.clone(),
            occasion: question.occasion.clone(),
            ..Default::default()
        }
    }
}
