//! A flow that is played look by look: evidence in cells of one or all half-lives, snapshots of it, and answers on their way.
//!
//! Invariant: a flow learns only what has arrived. Which half-lives it keeps is said by the caller.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::change_point::ChangePoint;
use crate::domain::delay::DelayCurve;
use crate::domain::drift::{Drift, Evidence, mixed};
use crate::domain::experiment::{Experiment, Objective};
use crate::domain::exposure::Exposure;
use crate::domain::half_life::Tracks;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot};
use crate::lab::LabError;
use crate::lab::campaign::campaign;
use crate::lab::rig::{after_hours, start};
use crate::lab::streams::Stream;
use jiff::Timestamp;

use super::Fading;
use super::world::{CONFIGURED_HOURS, Delay, World};

/// What came of a flow.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Successes lost against the best variant of each moment.
    pub lost: f64,
    /// Changes reported of single variants.
    pub variant_changes: usize,
    /// Changes reported of all variants alike.
    pub level_changes: usize,
    /// Weights of the half-lives at the end.
    pub weights: Vec<f64>,
}

/// A flow with its evidence.
pub struct Flow<'a> {
    world: &'a World<'a>,
    experiment: Arc<Experiment>,
    beliefs: Beliefs,
    fading: Fading,
    tracks: Vec<(Track, Option<f64>)>,
    cells: BTreeMap<CellId, Cell>,
    drift: Drift,
    /// Mails since the last look, by arm.
    sent: Vec<u64>,
    /// Successes on their way, by the look at which they are seen and by arm.
    coming: BTreeMap<u64, Vec<f64>>,
    delay: Delay,
    luck: Stream,
}

// === impl Flow ===

impl<'a> Flow<'a> {
    /// At its start.
    pub fn new(world: &'a World<'a>, fading: Fading, curve: DelayCurve) -> Result<Self, LabError> {
        let tracks = match fading {
            Fading::Fixed(days) => vec![(Track::CONFIGURED, days.map(|days| days * 24.0))],
            Fading::Weighed => Tracks::flow(CONFIGURED_HOURS).each().collect(),
        };
        let prior = Prior {
            mean: 0.2,
            weight: 10.0,
        };
        Ok(Self {
            world,
            experiment: Arc::new(campaign(world.options.arms, World::settings())?),
            beliefs: Beliefs::alike(Belief { prior, curve }),
            fading,
            tracks,
            cells: BTreeMap::new(),
            drift: Drift::default(),
            sent: vec![0; world.options.arms],
            coming: BTreeMap::new(),
            delay: Delay::of(world.options)?,
            luck: world.stream("luck"),
        })
    }

    /// Plays all days.
    pub fn play(mut self) -> Result<Played, LabError> {
        let mut played = Played::default();
        let looks = u64::from(self.world.options.looks_per_day);
        for look in 0..u64::from(self.world.options.days) * looks {
            self.see(look);
            if self.fading == Fading::Weighed && look % looks == 0 {
                for change in self.judge(look) {
                    match change.variant {
                        Some(_) => played.variant_changes += 1,
                        None => played.level_changes += 1,
                    }
                }
            }
            played.lost += self.send(look)?;
        }
        played.weights = self.drift.scores().weights().to_vec();
        Ok(played)
    }

    fn now(&self, look: u64) -> Timestamp {
        after_hours(start(), look as f64 * self.world.options.step_hours())
    }

    fn add(&mut self, now: Timestamp, arm: usize, exposure: &Exposure) {
        for (track, half_life_hours) in &self.tracks {
            let id = CellId {
                experiment: self.experiment.uid,
                variant: VariantIndex(arm as u16),
                context: Context::default(),
                lane: Lane::Policy,
                track: *track,
            };
            let empty = || Cell::empty(now, *half_life_hours);
            self.cells
                .entry(id)
                .or_insert_with(empty)
                .open
                .add(exposure);
        }
    }

    /// Takes the mails sent and the answers arrived since the last look; mails leave evenly, on average half a step ago.
    fn see(&mut self, look: u64) {
        let now = self.now(look);
        let now_ms = now.as_millisecond();
        self.cells
            .values_mut()
            .for_each(|cell| cell.advance(now_ms));
        let age_hours = self.world.options.step_hours() / 2.0;
        for arm in 0..self.sent.len() {
            let sends = self.sent.get_mut(arm).map_or(0, std::mem::take);
            self.add(now, arm, &Exposure::trial(sends as f64, age_hours));
        }
        let arrived = self.coming.remove(&look).unwrap_or_default();
        for (arm, successes) in arrived.into_iter().enumerate() {
            self.add(now, arm, &Exposure::success(successes));
        }
    }

    fn judge(&mut self, look: u64) -> Vec<ChangePoint> {
        let evidence = Evidence {
            cells: &self.cells,
            variants: self.world.options.arms,
            objective: Objective::Open,
            prior: self.beliefs.open.prior,
            curve: &self.beliefs.open.curve,
        };
        let now = self.now(look);
        self.drift.judge(&evidence, now)
    }

    /// Sends the mails until the next look; answers what they lose.
    fn send(&mut self, look: u64) -> Result<f64, LabError> {
        let options = self.world.options;
        // A single track is the configured one, which mixing leaves as it is.
        let cells = mixed(self.cells.clone(), self.drift.scores());
        let now = self.now(look);
        let snapshot = Snapshot::build(self.experiment.clone(), &cells, &self.beliefs, 1, now);
        let table = snapshot
            .everyone()
            .ok_or(LabError::Defect("a snapshot has no table"))?;
        let rates = self.world.rates_at(look)?;
        let best = rates.iter().copied().fold(0.0, f64::max);
        let shares = table.allocation.probabilities();
        let counts = self.luck.shared_out(options.sends_per_look(), shares)?;
        let mut lost = 0.0;
        for (arm, (rate, sends)) in rates.iter().zip(counts).enumerate() {
            lost += sends as f64 * (best - rate);
            let successes = self.luck.successes(sends, *rate)?;
            if let Some(sent) = self.sent.get_mut(arm) {
                *sent = sends;
            }
            for _ in 0..successes {
                let hours = options.step_hours() / 2.0 + self.delay.hours(&mut self.luck);
                let seen = look + (hours / options.step_hours()).ceil().max(1.0) as u64;
                let arms = self.coming.entry(seen);
                let arms = arms.or_insert_with(|| vec![0.0; options.arms]);
                if let Some(count) = arms.get_mut(arm) {
                    *count += 1.0;
                }
            }
        }
        Ok(lost)
    }
}
