//! One world of `unknown-zone` under one rule, through the use cases.
//!
//! Invariant: people open by their own clocks, whatever hermod believes; only what a server would be told is reported.
use jiff::Timestamp;

use crate::app::{Constraints, DecideRequest, EventReport};
use crate::domain::civil::Zone;
use crate::domain::event::EventKind;
use crate::domain::experiment::{ExperimentKind, Objective, Settings};
use crate::domain::name::{Slug, TenantId};
use crate::domain::send_window::QuietHours;
use crate::lab::LabError;
use crate::lab::campaign::{answered, campaign_settings, report, start_campaign};
use crate::lab::rig::{Rig, after_hours, ready, start};
use crate::lab::streams::{Stream, StreamName};

use super::super::send_time::world::{Person, World};
use super::{BANDS, CHECKPOINTS, Rule, Spread};

/// Virtual time before the people of unknown zone are mailed, hours.
const ACQUAINTED_HOURS: f64 = 36.0 * 24.0;
/// Mails to each person of known zone, and the local hours at which those of a round leave.
const ACQUAINTED_MAILS: usize = 20;
const USUAL_HOURS: [f64; 6] = [8.0, 10.0, 12.0, 15.0, 18.0, 20.0];
/// No mail at night, by the person's clock.
const NIGHT: QuietHours = QuietHours {
    start_minute: 22 * 60,
    end_minute: 7 * 60,
};
/// A zone is said to be sure from this probability on.
const SURE: f64 = 0.95;

/// What was answered about where people live.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub people: f64,
    pub right: f64,
    pub sure: f64,
    pub sure_right: f64,
}

/// What one rule did in one world.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// By number of opens.
    pub asked: [Asked; CHECKPOINTS.len()],
    /// Mails and expected opens by band.
    sums: [(f64, f64); BANDS.len()],
    nights: f64,
}

/// A person with a zone.
struct Resident<'a> {
    person: &'a Person,
    zone: Zone,
    /// Hours that the person's clock is ahead of universal time.
    ahead_hours: f64,
    opens: u32,
}

struct Game<'a> {
    rig: Rig,
    rule: Rule,
    experiment: Slug,
    others: Vec<Resident<'a>>,
    people: Vec<Resident<'a>>,
    /// Opens on their way: when, of whom of the people of unknown zone, and the event.
    coming: Vec<(i64, Option<usize>, EventReport)>,
    maintain_from_hours: f64,
    played: Played,
}

// === impl Played ===

impl Played {
    /// Bands with mails.
    pub fn bands(&self) -> usize {
        self.sums.iter().filter(|(mails, _)| *mails > 0.0).count()
    }

    /// Expected opens per mail of a band.
    pub fn open_share(&self, band: usize) -> f64 {
        let (mails, opens) = self.sums[band];
        opens / mails.max(1.0)
    }

    /// Share of the mails that left at night.
    pub fn night_share(&self) -> f64 {
        self.nights / self.sums.iter().map(|(mails, _)| mails).sum::<f64>()
    }
}

/// Plays a world.
pub fn play(
    world: &World,
    spread: Spread,
    rule: Rule,
    seed: u64,
    mails: usize,
) -> Result<Played, LabError> {
    let mut stream = Stream::new(StreamName {
        seed,
        world: "unknown zone",
        purpose: "zones",
    });
    let others = residents(&world.others, spread, &mut stream)?;
    let people = residents(&world.people, spread, &mut stream)?;
    let rig = Rig::new(stream.bits())?;
    let settings = Settings {
        exploration_share: 0.05,
        kind: ExperimentKind::Flow,
        ..campaign_settings(Objective::Open, 0)
    };
    let experiment = start_campaign(&rig, 1, settings)?;
    let mut game = Game {
        rig,
        rule,
        experiment,
        others,
        people,
        coming: Vec::new(),
        maintain_from_hours: 0.0,
        played: Played::default(),
    };
    for round in 0..ACQUAINTED_MAILS {
        game.acquaint(round, &world.luck_of_others(round))?;
    }
    game.maintain_from_hours = 0.0;
    for round in 0..mails {
        game.round(round, &world.luck(round))?;
    }
    Ok(game.played)
}

fn residents<'a>(
    people: &'a [Person],
    spread: Spread,
    stream: &mut Stream,
) -> Result<Vec<Resident<'a>>, LabError> {
    let settle = |person| {
        let mut left = stream.unit();
        let zones = spread.zones();
        let drawn = zones.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        let (name, _) = drawn
            .or(zones.first())
            .ok_or(LabError::Defect("no zones"))?;
        let zone = Zone::parse(name).map_err(|_| LabError::Defect("no zone of this name"))?;
        Ok(Resident {
            person,
            ahead_hours: f64::from(zone.offset_seconds(start())) / 3_600.0,
            zone,
            opens: 0,
        })
    };
    people.iter().map(settle).collect()
}

fn hours_since_start(at: Timestamp) -> f64 {
    (at.as_millisecond() - start().as_millisecond()) as f64 / 3_600_000.0
}

// === impl Resident ===

impl Resident<'_> {
    fn local_hour(&self, at: Timestamp) -> f64 {
        (hours_since_start(at) + self.ahead_hours).rem_euclid(24.0)
    }

    /// The universal hours since the start at which it is so late on the person's clock, within a day from `begin_hours` on.
    fn instant_of(&self, begin_hours: f64, local_hour: f64) -> Timestamp {
        let ahead = (local_hour - self.ahead_hours).rem_euclid(24.0);
        after_hours(start(), begin_hours + ahead)
    }
}

// === impl Game ===

impl Game<'_> {
    /// Mails the people of known zone at one of the usual hours of their own clocks.
    fn acquaint(&mut self, round: usize, lucks: &[f64]) -> Result<(), LabError> {
        let begin_hours = 24.0 * (round as f64 * 7.0 / 5.0).floor();
        self.look(begin_hours)?;
        let hour = USUAL_HOURS[round % USUAL_HOURS.len()];
        for (number, luck) in lucks.iter().enumerate() {
            let Some(other) = self.others.get(number) else {
                continue;
            };
            let request = DecideRequest {
                recipient_id: format!("other-{number}"),
                zone: Some(other.zone.clone()),
                send_at: Some(other.instant_of(begin_hours, hour)),
                ..self.request(round, begin_hours)
            };
            let (_, opened) = self.mail(&request, other, *luck)?;
            self.coming
                .extend(opened.map(|(at, event)| (at, None, event)));
        }
        Ok(())
    }

    /// Mails the people of unknown zone within a day.
    fn round(&mut self, round: usize, lucks: &[f64]) -> Result<(), LabError> {
        let begin_hours = ACQUAINTED_HOURS + 24.0 * round as f64;
        self.look(begin_hours)?;
        let band = BANDS.iter().position(|last| round < *last).unwrap_or(0);
        for (number, luck) in lucks.iter().enumerate() {
            self.ask(number)?;
            let person = &self.people[number];
            let request = DecideRequest {
                recipient_id: number.to_string(),
                zone: match self.rule {
                    Rule::Inferred => None,
                    Rule::Default => Some(Zone::utc()),
                    Rule::Told => Some(person.zone.clone()),
                },
                ..self.request(round, begin_hours)
            };
            let (send_at, opened) = self.mail(&request, person, *luck)?;
            let local_hour = person.local_hour(send_at);
            let (mails, opens) = &mut self.played.sums[band];
            *mails += 1.0;
            *opens += person.person.open_probability(local_hour);
            self.played.nights += f64::from(u8::from(!(7.0..22.0).contains(&local_hour)));
            self.coming
                .extend(opened.map(|(at, event)| (at, Some(number), event)));
        }
        Ok(())
    }

    /// Where the person is said to live, when the opens have come to one of the numbers at which that is asked.
    fn ask(&mut self, number: usize) -> Result<(), LabError> {
        let (opens, ahead_hours) = (self.people[number].opens, self.people[number].ahead_hours);
        let Some(at) = CHECKPOINTS.iter().position(|point| *point == opens) else {
            return Ok(());
        };
        // Asked once for each number: the next mail of the same number of opens is not asked again.
        self.people[number].opens = opens | ASKED;
        let told = ready(self.rig.app.update_recipient(
            TenantId::DEFAULT,
            &number.to_string(),
            &crate::app::RecipientChange::default(),
        ))??;
        let Some(first) = told.likely_zones.first() else {
            return Ok(());
        };
        let is_right = (f64::from(first.ahead_minutes) / 60.0 - ahead_hours).abs() < 0.1;
        let right = f64::from(u8::from(is_right));
        let sure = f64::from(u8::from(first.probability >= SURE));
        let asked = &mut self.played.asked[at];
        asked.people += 1.0;
        asked.right += right;
        asked.sure += sure;
        asked.sure_right += sure * right;
        Ok(())
    }

    /// Decides on a mail; answers when it leaves, and when it is opened with the event, if it is.
    fn mail(
        &self,
        request: &DecideRequest,
        resident: &Resident<'_>,
        luck: f64,
    ) -> Result<(Timestamp, Option<(i64, EventReport)>), LabError> {
        let decided = ready(self.rig.app.decide(request))??;
        let answer = decided
            .answer
            .map_err(|_| LabError::Defect("hermod would not send"))?;
        let local_hour = resident.local_hour(answer.send_at);
        let age = resident.person.opened_after(local_hour, luck);
        let opened = age.map(|age| {
            let at = after_hours(answer.send_at, age);
            let event = answered(decided.decision_id, EventKind::Opened, at);
            (at.as_millisecond(), event)
        });
        Ok((answer.send_at, opened))
    }

    /// Takes what has happened until then, and does what is due.
    fn look(&mut self, hours: f64) -> Result<(), LabError> {
        let now = after_hours(start(), hours);
        self.rig.set(now);
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.coming)
            .into_iter()
            .partition(|(at_ms, _, _)| *at_ms <= now.as_millisecond());
        self.coming = later;
        due.sort_by_key(|(at_ms, _, _)| *at_ms);
        for (_, number, _) in &due {
            if let Some(person) = number.and_then(|number| self.people.get_mut(number)) {
                person.opens = (person.opens & !ASKED) + 1;
            }
        }
        report(
            &self.rig,
            due.into_iter().map(|(_, _, event)| event).collect(),
        )?;
        self.rig.app.refresh();
        if hours >= self.maintain_from_hours {
            self.maintain_from_hours = hours + 168.0;
            self.rig.maintain()?;
            self.rig.app.refresh();
        }
        Ok(())
    }

    fn request(&self, round: usize, begin_hours: f64) -> DecideRequest {
        DecideRequest {
            tenant: TenantId::DEFAULT,
            experiment: self.experiment.clone(),
            recipient_id: String::new(),
            request_id: String::new(),
            occasion: format!("mail-{round}"),
            segment: None,
            zone: None,
            constraints: Constraints {
                earliest_at: Some(after_hours(start(), begin_hours)),
                deadline_at: Some(after_hours(start(), begin_hours + 24.0 - 1.0 / 3_600.0)),
                quiet: vec![NIGHT],
                ..Constraints::default()
            },
            send_at: None,
            eligible: Vec::new(),
            platform: None,
            validate_only: false,
            full: false,
        }
    }
}

/// Marks a number of opens at which it was asked already.
const ASKED: u32 = 1 << 31;
