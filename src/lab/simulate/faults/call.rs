//! The calls of a history: how they are drawn, and how they are made.
//!
//! Invariant: a call is fixed once it is drawn; making it changes nothing but what the use cases change.
use jiff::{SignedDuration, Timestamp};

use crate::app::{
    Activity, App, AppError, Constraints, DecideRequest, Decided, EventReport, EventResult,
    RecipientChange, Reclassification,
};
use crate::domain::civil::Zone;
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use crate::domain::experiment::VariantState;
use crate::domain::name::{Slug, TenantId};
use crate::domain::recipient::ConsentLevel;
use crate::lab::streams::Stream;

/// People of a history: few, so that calls meet.
pub const PEOPLE: usize = 5;
/// Sends of each experiment to a person.
const OCCASIONS: usize = 3;
/// Zones whose clocks change on different days, and one whose clock never does.
const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "UTC"];

/// The variant that is paused and resumed.
pub const PAUSED: &str = "b";

/// Names one send: a person, an experiment, an occasion.
pub type Send = (usize, usize, usize);

/// A decision that a caller holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub send: Send,
    /// When it was made.
    pub decided_at: Timestamp,
    /// Whether it names the variant that is paused at times, which is then answered anew.
    pub may_pause: bool,
}

/// An event that is reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The decision.
    pub held: Held,
    /// What happened, when, and how surely a person did it.
    pub event: DecisionEvent,
}

/// One call.
#[derive(Clone, Debug)]
pub enum Call {
    /// A decision.
    Decide {
        /// What about.
        send: Send,
        /// Whether it carries a request id.
        with_request: bool,
    },
    /// Some events at once.
    Report(Vec<Told>),
    /// A later verdict.
    Reclassify {
        /// The event.
        told: Told,
        /// The verdict.
        weight: HumanWeight,
    },
    /// A person was active elsewhere.
    Active {
        /// Who.
        person: usize,
        /// When.
        at: Timestamp,
    },
    /// A person is forgotten.
    Erase(usize),
    /// A person consents.
    Consent {
        /// Who.
        person: usize,
        /// To what, for timing and content alike.
        level: ConsentLevel,
    },
    /// A variant is paused or resumed.
    Move {
        /// Of which experiment.
        experiment: usize,
        /// Whether it is paused.
        is_paused: bool,
    },
    /// The work of the background.
    Maintain,
}

/// What a call came to.
#[derive(Debug)]
pub enum Came {
    /// A decision.
    Decided(Box<Decided>),
    /// One result per event.
    Reported(Vec<EventResult>),
    /// Nothing to remember.
    Done,
}

/// The experiments of a history.
pub fn experiment_name(experiment: usize) -> String {
    format!("flow-{experiment}")
}

/// The id of a person.
pub fn person_id(person: usize) -> String {
    format!("person-{person}")
}

/// What a draw may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Decisions that callers hold.
    pub held: &'a [Held],
    /// Events reported so far, to be told again.
    pub told: &'a [Told],
    /// Experiments.
    pub experiments: usize,
    /// Now.
    pub now: Timestamp,
}

// === impl Call ===

impl Call {
    /// The next call.
    pub fn draw(scene: Scene<'_>, luck: &mut Stream) -> Self {
        let person = luck.below(PEOPLE);
        let decide = |luck: &mut Stream| Self::Decide {
            send: (person, luck.below(scene.experiments), luck.below(OCCASIONS)),
            with_request: luck.below(3) == 0,
        };
        match luck.below(100) {
            0..35 => decide(luck),
            35..75 if !scene.held.is_empty() => {
                let events = 1 + luck.below(4);
                Self::Report((0..events).map(|_| report(scene, luck)).collect())
            }
            75..81 if !scene.held.is_empty() => Self::Reclassify {
                told: report(scene, luck),
                weight: weight(luck),
            },
            81..86 => Self::Active {
                person,
                at: earlier(scene.now, luck.below(120)),
            },
            86..89 => Self::Erase(person),
            89..92 => Self::Consent {
                person,
                level: LEVELS[luck.below(LEVELS.len())],
            },
            92..95 => Self::Move {
                experiment: luck.below(scene.experiments),
                is_paused: luck.below(2) == 0,
            },
            95..100 => Self::Maintain,
            _ => decide(luck),
        }
    }

    /// Makes the call.
    pub async fn make(self, app: &App) -> Result<Came, AppError> {
        let tenant = TenantId::DEFAULT;
        match self {
            Self::Decide { send, with_request } => {
                let decided = app.decide(&question(send, with_request)?).await?;
                Ok(Came::Decided(Box::new(decided)))
            }
            Self::Report(told) => {
                let reports = told.into_iter().map(|told| Ok(reported(told))).collect();
                Ok(Came::Reported(app.report(tenant, reports).await?))
            }
            Self::Reclassify { told, weight } => {
                let verdict = Reclassification {
                    token: told.held.id,
                    kind: told.event.kind,
                    weight,
                };
                app.reclassify(tenant, vec![Ok(verdict)]).await?;
                Ok(Came::Done)
            }
            Self::Active { person, at } => {
                let activity = Activity {
                    recipient_id: person_id(person),
                    at,
                    weight: HumanWeight::CERTAIN,
                };
                app.report(tenant, vec![Ok(EventReport::Active(activity))])
                    .await?;
                Ok(Came::Done)
            }
            other => other.manage(app).await,
        }
    }

    /// Makes a call that is no decision and no event.
    async fn manage(self, app: &App) -> Result<Came, AppError> {
        let tenant = TenantId::DEFAULT;
        match self {
            Self::Decide { .. }
            | Self::Report(_)
            | Self::Reclassify { .. }
            | Self::Active { .. } => {}
            Self::Erase(person) => {
                app.erase_recipient(tenant, &person_id(person)).await?;
            }
            Self::Consent { person, level } => {
                let change = RecipientChange {
                    timing: Some(Some(level)),
                    content: Some(Some(level)),
                    ..RecipientChange::default()
                };
                app.update_recipient(tenant, &person_id(person), &change)
                    .await?;
            }
            Self::Move {
                experiment,
                is_paused,
            } => {
                let id = slug(&experiment_name(experiment))?;
                let to = if is_paused {
                    VariantState::Paused
                } else {
                    VariantState::Live
                };
                app.move_variant(tenant, &id, PAUSED, to, "on purpose")
                    .await?;
            }
            Self::Maintain => {
                app.maintain().await;
            }
        }
        Ok(Came::Done)
    }

    /// Whose record it takes data out of, if it does.
    pub fn takes_out(&self) -> Option<usize> {
        match self {
            Self::Erase(person) | Self::Consent { person, .. } => Some(*person),
            _ => None,
        }
    }
}

const LEVELS: [ConsentLevel; 4] = [
    ConsentLevel::None,
    ConsentLevel::Aggregate,
    ConsentLevel::Segment,
    ConsentLevel::Individual,
];

/// The events that are reported; a bounce or a complaint would end all sends to the few people there are.
const KINDS: [EventKind; 6] = [
    EventKind::Sent,
    EventKind::Delivered,
    EventKind::Opened,
    EventKind::Clicked,
    EventKind::Converted,
    EventKind::Replied,
];

fn earlier(now: Timestamp, minutes: usize) -> Timestamp {
    now.checked_sub(SignedDuration::from_mins(minutes as i64))
        .unwrap_or(now)
}

fn weight(luck: &mut Stream) -> HumanWeight {
    HumanWeight::nearest([0.0, 0.5, 1.0][luck.below(3)])
}

/// An event told before, or a new one.
fn report(scene: Scene<'_>, luck: &mut Stream) -> Told {
    if !scene.told.is_empty() && luck.below(3) == 0 {
        return scene.told[luck.below(scene.told.len())].clone();
    }
    let held = scene.held[luck.below(scene.held.len())].clone();
    let at = earlier(scene.now, luck.below(60)).max(held.decided_at);
    Told {
        held,
        event: DecisionEvent {
            kind: KINDS[luck.below(KINDS.len())],
            at,
            weight: weight(luck),
            value: 12.5,
            sentiment: Sentiment::Negative,
            permanent: false,
        },
    }
}

/// What is told of an event.
pub fn reported(told: Told) -> EventReport {
    EventReport::Decision {
        token: told.held.id,
        event: told.event,
    }
}

fn slug(name: &str) -> Result<Slug, AppError> {
    Slug::parse(name)
        .map_err(|error| AppError::invalid_field("NAME_INVALID", "experiment", error.to_string()))
}

/// The question of a send: the same whenever it is asked.
fn question(send: Send, with_request: bool) -> Result<DecideRequest, AppError> {
    let (person, experiment, occasion) = send;
    Ok(DecideRequest {
        tenant: TenantId::DEFAULT,
        experiment: slug(&experiment_name(experiment))?,
        recipient_id: person_id(person),
        request_id: if with_request {
            format!("{person}/{experiment}/{occasion}")
        } else {
            String::new()
        },
        occasion: occasion.to_string(),
        segment: None,
        zone: Zone::parse(ZONES[person % ZONES.len()]).ok(),
        constraints: Constraints::default(),
        send_at: None,
        eligible: Vec::new(),
        platform: None,
        validate_only: false,
        full: false,
    })
}
