//! hermod's part of the protocol: it learns everybody from some people's activity, then meets newcomers.
//!
//! Invariant: what it knows of everybody comes from the learning people alone, since nothing is refreshed once newcomers come.
use jiff::Timestamp;

use crate::app::{Activity, Constraints, EventReport, PredictRequest, ReportOutcome};
use crate::domain::civil::Zone;
use crate::domain::event::HumanWeight;
use crate::domain::name::TenantId;
use crate::domain::send_time::Goal;
use crate::lab::LabError;
use crate::lab::rig::{Rig, ready, start};

use super::data::Person;

/// hermod, knowing some people, and the hour at which newcomers begin.
pub struct Acquainted {
    rig: Rig,
    begin_hour: i64,
}

/// What is recommended to a newcomer.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// The hour of day within the 24 hours after the last known event.
    pub next_day: usize,
    /// The hours of day on each of the following days, Monday first.
    pub by_weekday: [usize; 7],
}

fn instant(hour: i64) -> Timestamp {
    Timestamp::from_second(start().as_second() + hour * 3_600).unwrap_or(Timestamp::MAX)
}

// === impl Acquainted ===

impl Acquainted {
    /// Reports all events of these people in the order of virtual time, refreshing after every week that had any.
    ///
    /// Everybody's last event falls in the same week: a tenant knows people of all ages, and forgets all their pasts alike.
    pub fn with(people: &[&Person], seed: u64) -> Result<Self, LabError> {
        let rig = Rig::new(seed)?;
        let week = |person: &Person| {
            person
                .hours
                .iter()
                .max()
                .map_or(0, |hour| hour.div_euclid(168))
        };
        let last_week = people.iter().map(|person| week(person)).max().unwrap_or(0);
        let mut events: Vec<(i64, &str)> = Vec::new();
        for person in people {
            let shift = (last_week - week(person)) * 168;
            events.extend(
                person
                    .hours
                    .iter()
                    .map(|hour| (hour + shift, person.id.as_str())),
            );
        }
        events.sort_unstable();
        for week in events.chunk_by(|one, other| one.0.div_euclid(168) == other.0.div_euclid(168)) {
            let Some((hour, _)) = week.first() else {
                continue;
            };
            rig.set(instant((hour.div_euclid(168) + 1) * 168));
            report(&rig, week)?;
            rig.app.refresh();
        }
        rig.maintain()?;
        rig.app.refresh();
        Ok(Self {
            rig,
            begin_hour: (last_week + 1) * 168,
        })
    }

    /// What is recommended to a newcomer after each of these numbers of events, ascending.
    pub fn recommend(&self, newcomer: &Person, after: &[usize]) -> Result<Vec<Advice>, LabError> {
        let name = format!("newcomer-{}", newcomer.id);
        let mut known = 0;
        let mut recommended = Vec::with_capacity(after.len());
        for count in after {
            let new = newcomer.hours.get(known..*count).unwrap_or_default();
            let events: Vec<(i64, &str)> = new
                .iter()
                .map(|hour| (hour + self.begin_hour, name.as_str()))
                .collect();
            let history = newcomer.hours.get(..*count).unwrap_or_default();
            let last = history.iter().max().copied().unwrap_or(0) + self.begin_hour;
            self.rig.set(instant(last));
            report(&self.rig, &events)?;
            known = (*count).max(known);
            recommended.push(self.advice(&name, last)?);
        }
        Ok(recommended)
    }

    fn advice(&self, name: &str, last_hour: i64) -> Result<Advice, LabError> {
        let next_day = self.hour_of_day(name, last_hour)?;
        let mut by_weekday = [next_day; 7];
        for day in 1..=7 {
            let date = last_hour.div_euclid(24) + day;
            by_weekday[date.rem_euclid(7) as usize] = self.hour_of_day(name, date * 24)?;
        }
        Ok(Advice {
            next_day,
            by_weekday,
        })
    }

    /// The hour recommended within the 24 hours from an hour on.
    fn hour_of_day(&self, name: &str, from_hour: i64) -> Result<usize, LabError> {
        let end = instant(from_hour + 24).as_second() - 1;
        let request = PredictRequest {
            tenant: TenantId::DEFAULT,
            recipient_id: name.to_owned(),
            experiment: None,
            zone: None,
            constraints: Constraints {
                earliest_at: Some(instant(from_hour)),
                deadline_at: Timestamp::from_second(end).ok(),
                ..Constraints::default()
            },
            goal: Goal::Activity,
            full: false,
        };
        let predicted = ready(self.rig.app.predict_send_time(&request))??;
        let (send_at, _) = predicted
            .answer
            .map_err(|_| LabError::Defect("a day without limits allows no time"))?;
        Ok(usize::from(Zone::utc().local_hour(send_at).hour))
    }
}

/// Reports activity at these hours by these people; an hour that was reported before counts no more.
fn report(rig: &Rig, events: &[(i64, &str)]) -> Result<(), LabError> {
    let reports = events.iter().map(|(hour, person)| {
        Ok(EventReport::Active(Activity {
            recipient_id: (*person).to_owned(),
            at: instant(*hour),
            weight: HumanWeight::CERTAIN,
        }))
    });
    for result in ready(rig.app.report(TenantId::DEFAULT, reports.collect()))?? {
        if result? == ReportOutcome::NotAllowed {
            return Err(LabError::Defect("activity was not allowed to count"));
        }
    }
    Ok(())
}
