//! Who chooses the variants of a blast: hermod's use cases, its snapshots under some belief, or nobody in particular.
//!
//! Invariant: a chooser learns only what it is told at a look. Which answers come when is left to the campaign.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::app::DecideRequest;
use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::delay::DelayCurve;
use crate::domain::event::EventKind;
use crate::domain::experiment::Experiment;
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot};
use crate::lab::LabError;
use crate::lab::campaign::{answered, campaign, decide, report, request_now, start_campaign};
use crate::lab::rig::{Rig, after_hours, start};
use crate::lab::streams::{Stream, StreamName};

use super::{Campaign, Mail};

/// What a rule has to do.
pub trait Chooser {
    /// Takes the answers that arrived, and prepares for the mails until the next look.
    fn look(&mut self, now_hours: f64, opened: &[usize]) -> Result<(), LabError>;
    /// The variant of a mail that leaves now.
    fn choose(&mut self, number: usize, now_hours: f64) -> Result<usize, LabError>;
}

/// The draws of rules that draw for themselves.
pub fn choices(seed: u64) -> Stream {
    Stream::new(StreamName {
        seed,
        world: "blast",
        purpose: "choices",
    })
}

/// hermod's use cases.
pub struct UseCases {
    rig: Rig,
    request: DecideRequest,
    mails: Vec<Mail>,
    tokens: Vec<String>,
}

impl UseCases {
    /// At the start of the campaign.
    pub fn new(campaign: &Campaign<'_>) -> Result<Self, LabError> {
        let rig = Rig::new(campaign.rig_seed)?;
        let name = start_campaign(&rig, campaign.options.rates.len(), campaign.settings())?;
        Ok(Self {
            rig,
            request: request_now(&name, 0, start()),
            mails: campaign.mails.clone(),
            tokens: Vec::new(),
        })
    }
}

impl Chooser for UseCases {
    fn look(&mut self, now_hours: f64, opened: &[usize]) -> Result<(), LabError> {
        self.rig.set(after_hours(start(), now_hours));
        let event = |number: &usize| {
            let (mail, token) = (self.mails.get(*number)?, self.tokens.get(*number)?);
            let at = after_hours(start(), mail.sent_hours + mail.delay_hours);
            Some(answered(token.clone(), EventKind::Opened, at))
        };
        report(&self.rig, opened.iter().filter_map(event).collect())?;
        self.rig.app.refresh();
        Ok(())
    }

    fn choose(&mut self, number: usize, now_hours: f64) -> Result<usize, LabError> {
        let now = after_hours(start(), now_hours);
        self.rig.set(now);
        self.request.recipient_id = number.to_string();
        self.request.send_at = Some(now);
        let (arm, token) = decide(&self.rig, &self.request)?;
        self.tokens.push(token);
        Ok(arm)
    }
}

/// The domain's snapshots under some belief about delays.
pub struct Drawn {
    experiment: Arc<Experiment>,
    beliefs: Beliefs,
    snapshot: Option<Snapshot>,
    cells: Vec<Exposure>,
    as_of_hours: f64,
    sent: Vec<usize>,
    unseen: Vec<(usize, f64)>,
    choices: Stream,
}

impl Drawn {
    /// At the start of the campaign.
    pub fn new(campaign: &Campaign<'_>, curve: DelayCurve, seed: u64) -> Result<Self, LabError> {
        let arms = campaign.options.rates.len();
        Ok(Self {
            experiment: Arc::new(self::campaign(arms, campaign.settings())?),
            beliefs: Beliefs::alike(Belief {
                prior: Prior {
                    mean: 0.2,
                    weight: 10.0,
                },
                curve,
            }),
            snapshot: None,
            cells: vec![Exposure::default(); arms],
            as_of_hours: 0.0,
            sent: Vec::new(),
            unseen: Vec::new(),
            choices: choices(seed),
        })
    }

    fn cells(&self, now: Timestamp) -> BTreeMap<CellId, Cell> {
        let cell = |(arm, open): (u16, &Exposure)| {
            let id = CellId {
                experiment: self.experiment.uid,
                variant: VariantIndex(arm),
                context: Context::default(),
                lane: Lane::Policy,
                track: Track::CONFIGURED,
            };
            let cell = Cell {
                open: open.clone(),
                ..Cell::empty(now, None)
            };
            (id, cell)
        };
        (0..).zip(&self.cells).map(cell).collect()
    }

    fn add(&mut self, arm: usize, part: &Exposure) {
        if let Some(cell) = self.cells.get_mut(arm) {
            cell.add(part);
        }
    }
}

impl Chooser for Drawn {
    fn look(&mut self, now_hours: f64, opened: &[usize]) -> Result<(), LabError> {
        let elapsed = now_hours - self.as_of_hours;
        for cell in &mut self.cells {
            cell.advance(elapsed, None);
        }
        self.as_of_hours = now_hours;
        for (arm, sent_hours) in std::mem::take(&mut self.unseen) {
            self.add(arm, &Exposure::trial(1.0, now_hours - sent_hours));
        }
        for number in opened {
            if let Some(arm) = self.sent.get(*number).copied() {
                self.add(arm, &Exposure::success(1.0));
            }
        }
        let now = after_hours(start(), now_hours);
        let cells = self.cells(now);
        let experiment = self.experiment.clone();
        self.snapshot = Some(Snapshot::build(experiment, &cells, &self.beliefs, 1, now));
        Ok(())
    }

    fn choose(&mut self, _: usize, now_hours: f64) -> Result<usize, LabError> {
        let table = self.snapshot.as_ref().and_then(Snapshot::everyone);
        let table = table.ok_or(LabError::Defect("a snapshot has no table"))?;
        let arm = table.allocation.draw(self.choices.bits());
        self.sent.push(arm);
        self.unseen.push((arm, now_hours));
        Ok(arm)
    }
}

/// All variants alike.
pub struct Alike {
    /// How many.
    pub arms: usize,
    /// Draws them.
    pub choices: Stream,
}

impl Chooser for Alike {
    fn look(&mut self, _: f64, _: &[usize]) -> Result<(), LabError> {
        Ok(())
    }

    fn choose(&mut self, _: usize, _: f64) -> Result<usize, LabError> {
        Ok(self.choices.below(self.arms))
    }
}
