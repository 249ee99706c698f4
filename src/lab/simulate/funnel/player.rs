//! hermod's snapshots as they learn from a funnel: cells as the use cases keep them, and draws from the tables.
//!
//! Invariant: it knows what it was told at looks, the published levels and the default delays, nothing of the world.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::half_life::Track;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot, default_curve};
use crate::lab::LabError;
use crate::lab::campaign::campaign;
use crate::lab::rig::{after_hours, start};
use crate::lab::streams::{Stream, StreamName};

use super::Answer;

/// Decides by snapshots.
pub struct Player {
    experiment: Arc<Experiment>,
    beliefs: Beliefs,
    snapshot: Option<Snapshot>,
    cells: Vec<Cell>,
    as_of_hours: f64,
    sent: Vec<usize>,
    unseen: Vec<(usize, f64)>,
    choices: Stream,
}

/// What a new tenant believes: published levels, worth ten trials or a quarter of a response, and default delays.
pub fn newcomers_beliefs() -> Beliefs {
    let belief = |objective, mean: f64| Belief {
        prior: Prior {
            mean,
            weight: (0.25 / mean).max(10.0),
        },
        curve: default_curve(objective),
    };
    Beliefs {
        open: belief(Objective::Open, 0.2),
        click: belief(Objective::Click, 0.02),
        conversion: belief(Objective::Conversion, 0.005),
    }
}

// === impl Player ===

impl Player {
    /// At the start of the campaign.
    pub fn new(arms: usize, settings: &Settings, seed: u64) -> Result<Self, LabError> {
        Ok(Self {
            experiment: Arc::new(campaign(arms, settings.clone())?),
            beliefs: newcomers_beliefs(),
            snapshot: None,
            cells: vec![Cell::empty(start(), None); arms],
            as_of_hours: 0.0,
            sent: Vec::new(),
            unseen: Vec::new(),
            choices: Stream::new(StreamName {
                seed,
                world: "funnel",
                purpose: "choices",
            }),
        })
    }

    /// Takes what arrived, and prepares for the mails until the next look.
    pub fn look(&mut self, now_hours: f64, arrived: &[Answer]) -> Result<(), LabError> {
        let now = after_hours(start(), now_hours);
        for cell in &mut self.cells {
            cell.advance(now.as_millisecond());
        }
        self.as_of_hours = now_hours;
        for (arm, sent_hours) in std::mem::take(&mut self.unseen) {
            let trial = Exposure::trial(1.0, now_hours - sent_hours);
            if let Some(cell) = self.cells.get_mut(arm) {
                for exposure in [&mut cell.open, &mut cell.click, &mut cell.conversion] {
                    exposure.add(&trial);
                }
            }
        }
        for answer in arrived {
            let arm = self.sent.get(answer.mail).copied();
            if let Some(cell) = arm.and_then(|arm| self.cells.get_mut(arm)) {
                count(cell, answer);
            }
        }
        let id = |arm| CellId {
            experiment: self.experiment.uid,
            variant: VariantIndex(arm),
            context: Context::default(),
            track: Track::CONFIGURED,
            lane: Lane::Policy,
        };
        let cells: BTreeMap<CellId, Cell> = (0..).map(id).zip(self.cells.iter().cloned()).collect();
        let experiment = self.experiment.clone();
        self.snapshot = Some(Snapshot::build(experiment, &cells, &self.beliefs, 1, now));
        Ok(())
    }

    /// The variant of a mail that leaves now.
    pub fn choose(&mut self, now_hours: f64) -> Result<usize, LabError> {
        let table = self.snapshot.as_ref().and_then(Snapshot::everyone);
        let table = table.ok_or(LabError::Defect("a snapshot has no table"))?;
        let arm = table.allocation.draw(self.choices.bits());
        self.sent.push(arm);
        self.unseen.push((arm, now_hours));
        Ok(arm)
    }
}

fn count(cell: &mut Cell, answer: &Answer) {
    match answer.kind {
        EventKind::Opened => cell.open.successes += 1.0,
        EventKind::Clicked => cell.click.successes += 1.0,
        EventKind::Converted => {
            cell.conversion.successes += 1.0;
            cell.value_sum += answer.value;
            cell.value_square_sum += answer.value * answer.value;
        }
        EventKind::Unsubscribed => cell.harm.unsubscribed += 1.0,
        EventKind::Complained => cell.harm.complained += 1.0,
        _ => {}
    }
}
