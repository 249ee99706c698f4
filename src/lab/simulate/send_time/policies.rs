//! Who chooses the hour: hermod through its use cases, and what it is compared with.
//!
//! Invariant: all policies mail the same people in the same rounds with the same luck; a policy learns only from what it sent.
use jiff::Timestamp;

use crate::app::{Constraints, DecideRequest, EventReport, PredictRequest};
use crate::domain::civil::Zone;
use crate::domain::event::EventKind;
use crate::domain::experiment::{ExperimentKind, Objective, Settings};
use crate::domain::name::{Slug, TenantId};
use crate::domain::send_time::Goal;
use crate::lab::LabError;
use crate::lab::campaign::{answered, campaign_settings, report, start_campaign};
use crate::lab::rig::{Rig, after_hours, ready, start};

use super::world::{Person, World};

/// Local hours since the beginning of a person's mails, and what became of them.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Hour of day of the send.
    pub hour: f64,
}

/// Virtual time in which the others are mailed before anything is measured, hours.
pub const ACQUAINTED_HOURS: f64 = 36.0 * 24.0;
/// Mails to each of the others, and the hours of day at which all of a round leave: those that people choose.
const ACQUAINTED_MAILS: usize = 20;
const USUAL_HOURS: [f64; 6] = [8.0, 10.0, 12.0, 15.0, 18.0, 20.0];

/// hermod in a world of its own.
pub struct Hermod<'a> {
    rig: Rig,
    world: &'a World,
    experiment: Slug,
    /// Opens on their way: when, and of which decision.
    coming: Vec<(i64, EventReport)>,
    /// Maintenance is due once a week of virtual time.
    maintain_from_hours: f64,
}

/// The most frequent hour of each person's own opens, however the mails were sent.
pub struct OwnHour {
    opens: Vec<[u32; 24]>,
    otherwise: f64,
}

/// The settings of the flow that mails everybody.
fn flow(exploration_share: f64) -> Settings {
    Settings {
        exploration_share,
        kind: ExperimentKind::Flow,
        ..campaign_settings(Objective::Open, 0)
    }
}

fn instant_ms(hours: f64) -> i64 {
    after_hours(start(), hours).as_millisecond()
}

// === impl OwnHour ===

impl OwnHour {
    /// Knows nobody yet, and sends at everybody's best hour until it does.
    pub fn new(world: &World) -> Self {
        Self {
            opens: vec![[0; 24]; world.people.len()],
            otherwise: world.best_start as f64 / 2.0,
        }
    }

    /// The hour for a person.
    pub fn hour(&self, person: usize) -> f64 {
        let opens = self.opens.get(person).copied().unwrap_or_default();
        let most = opens.iter().copied().max().unwrap_or(0);
        let hour = opens.iter().position(|count| *count == most && most > 0);
        hour.map_or(self.otherwise, |hour| hour as f64)
    }

    /// Counts an open at an hour of day.
    pub fn opened(&mut self, person: usize, hour: f64) {
        let bin = hour.rem_euclid(24.0) as usize % 24;
        if let Some(opens) = self.opens.get_mut(person) {
            opens[bin] += 1;
        }
    }
}

// === impl Hermod ===

impl<'a> Hermod<'a> {
    /// A fresh hermod that explores this share of the mails.
    pub fn new(world: &'a World, exploration_share: f64, seed: u64) -> Result<Self, LabError> {
        let rig = Rig::new(seed)?;
        let experiment = start_campaign(&rig, 1, flow(exploration_share))?;
        let mut hermod = Self {
            rig,
            world,
            experiment,
            coming: Vec::new(),
            maintain_from_hours: 0.0,
        };
        for round in 0..ACQUAINTED_MAILS {
            hermod.acquaint(round)?;
        }
        Ok(hermod)
    }

    /// Mails the others, all at one of the usual hours.
    fn acquaint(&mut self, round: usize) -> Result<(), LabError> {
        let begin_hours = 24.0 * (round as f64 * 7.0 / 5.0).floor();
        self.look(begin_hours)?;
        let hour = USUAL_HOURS[round % USUAL_HOURS.len()];
        for (number, luck) in self.world.luck_of_others(round).into_iter().enumerate() {
            let request = DecideRequest {
                recipient_id: format!("other-{number}"),
                ..self.request(number, round, begin_hours, Some(hour))
            };
            self.mail(&request, &self.world.others[number], luck)?;
        }
        Ok(())
    }

    /// Takes what has happened until then, and does what is due.
    fn look(&mut self, hours: f64) -> Result<(), LabError> {
        self.rig.set(after_hours(start(), hours));
        self.report_until(hours)?;
        self.rig.app.refresh();
        if hours >= self.maintain_from_hours {
            self.maintain_from_hours = hours + 168.0;
            self.rig.maintain()?;
            self.rig.app.refresh();
        }
        Ok(())
    }

    /// Decides on a mail and plays what becomes of it.
    fn mail(
        &mut self,
        request: &DecideRequest,
        person: &Person,
        luck: f64,
    ) -> Result<Sent, LabError> {
        let decided = ready(self.rig.app.decide(request))??;
        let answer = decided
            .answer
            .map_err(|_| LabError::Defect("hermod would not send"))?;
        let hour = hours_since_start(answer.send_at).rem_euclid(24.0);
        if let Some(age) = person.opened_after(hour, luck) {
            let at = after_hours(answer.send_at, age);
            let event = answered(decided.decision_id, EventKind::Opened, at);
            self.coming.push((at.as_millisecond(), event));
        }
        Ok(Sent { hour })
    }

    /// Mails everybody within the 24 hours from `begin_hours` on: hermod chooses when, or all leave at one hour of day.
    pub fn round(
        &mut self,
        round: usize,
        begin_hours: f64,
        fixed_hour: Option<f64>,
    ) -> Result<Vec<Sent>, LabError> {
        self.look(begin_hours)?;
        let mut sent = Vec::with_capacity(self.world.people.len());
        for (number, luck) in self.world.luck(round).into_iter().enumerate() {
            let request = self.request(number, round, begin_hours, fixed_hour);
            sent.push(self.mail(&request, &self.world.people[number], luck)?);
        }
        Ok(sent)
    }

    fn request(
        &self,
        person: usize,
        round: usize,
        begin_hours: f64,
        fixed_hour: Option<f64>,
    ) -> DecideRequest {
        DecideRequest {
            tenant: TenantId::DEFAULT,
            experiment: self.experiment.clone(),
            recipient_id: person.to_string(),
            request_id: String::new(),
            occasion: format!("mail-{round}"),
            segment: None,
            zone: Some(Zone::utc()),
            constraints: day(begin_hours),
            send_at: fixed_hour.map(|hour| after_hours(start(), begin_hours + hour)),
            eligible: Vec::new(),
            platform: None,
            validate_only: false,
            full: false,
        }
    }

    /// Reports the opens that have happened by then, in the order in which they did.
    fn report_until(&mut self, hours: f64) -> Result<(), LabError> {
        let now_ms = instant_ms(hours);
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.coming)
            .into_iter()
            .partition(|(at_ms, _)| *at_ms <= now_ms);
        self.coming = later;
        due.sort_by_key(|(at_ms, _)| *at_ms);
        report(&self.rig, due.into_iter().map(|(_, event)| event).collect())
    }

    /// What it would recommend to everybody within the 24 hours from then on.
    pub fn recommended(&mut self, begin_hours: f64) -> Result<Vec<f64>, LabError> {
        self.maintain_from_hours = 0.0;
        self.look(begin_hours)?;
        (0..self.world.people.len())
            .map(|number| {
                let request = PredictRequest {
                    tenant: TenantId::DEFAULT,
                    recipient_id: number.to_string(),
                    experiment: None,
                    zone: Some(Zone::utc()),
                    constraints: day(begin_hours),
                    goal: Goal::OpenProbability,
                    full: false,
                };
                let predicted = ready(self.rig.app.predict_send_time(&request))??;
                let (at, _) = predicted
                    .answer
                    .map_err(|_| LabError::Defect("a day without limits allows no time"))?;
                Ok(hours_since_start(at).rem_euclid(24.0))
            })
            .collect()
    }
}

fn hours_since_start(at: Timestamp) -> f64 {
    (at.as_millisecond() - start().as_millisecond()) as f64 / 3_600_000.0
}

/// The whole day from then on.
fn day(begin_hours: f64) -> Constraints {
    Constraints {
        earliest_at: Some(after_hours(start(), begin_hours)),
        deadline_at: Some(after_hours(start(), begin_hours + 24.0 - 1.0 / 3_600.0)),
        ..Constraints::default()
    }
}
