//! Playing a plan in its world: by snapshots in small parts, or mail by mail through the use cases; and the test it is compared with.
//!
//! Invariant: a part or mail is decided by what had been answered by then and nothing else.
use std::collections::BTreeMap;
use std::sync::Arc;

use rand_distr::{Binomial, Distribution};

use crate::app::EventReport;
use crate::domain::beliefs::Beliefs;
use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::planner::{BlastPlan, TestPlan};
use crate::domain::snapshot::Snapshot;
use crate::lab::LabError;
use crate::lab::campaign::{
    answered, campaign, campaign_settings, decide, report, request_now, start_campaign,
};
use crate::lab::rig::{Rig, after_hours, start};
use crate::lab::streams::Stream;

use super::world::World;

/// Parts of a wave between which the policy sees how far the campaign has come, as a server does every second.
const PARTS: u64 = 12;

/// Successes expected of the mails as they were decided, and successes drawn.
pub type Came = (f64, f64);

fn settings(world: &World) -> Settings {
    campaign_settings(Objective::Open, world.audience)
}

/// A campaign whose sums are kept by hand.
struct ByHand<'a> {
    world: &'a World,
    experiment: Arc<Experiment>,
    cells: Vec<Exposure>,
    /// When successes arrive, hours, by variant.
    arrivals: Vec<Vec<f64>>,
    now_hours: f64,
    stream: Stream,
    came: Came,
}

/// Plays the waves by snapshots.
pub fn snapshots(world: &World, plan: &BlastPlan) -> Result<Came, LabError> {
    let mut played = ByHand::new(world, "by snapshots")?;
    for wave in &plan.waves {
        played.pass_to(wave.at_hours);
        let mut left = wave.mails;
        for part in 0..PARTS {
            let mails = left / (PARTS - part);
            left -= mails;
            let shares = played.shares()?;
            played.send(mails, &shares)?;
        }
    }
    Ok(played.came)
}

/// Plays a test that ends with one winner; successes expected of it.
pub fn test(world: &World, test: &TestPlan) -> Result<f64, LabError> {
    let mut played = ByHand::new(world, "by a test")?;
    let tested = (test.test_share * world.audience as f64).round() as u64;
    let even = vec![1.0 / world.rates.len() as f64; world.rates.len()];
    played.send(tested, &even)?;
    played.pass_to(test.wait_hours);
    let rate = |cell: &Exposure| cell.successes / cell.trials.max(1.0);
    let rates: Vec<f64> = played.cells.iter().map(rate).collect();
    let most = rates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let winner = rates.iter().position(|rate| *rate == most);
    let shares: Vec<f64> = (0..rates.len())
        .map(|at| f64::from(u8::from(Some(at) == winner)))
        .collect();
    played.send(world.audience - tested, &shares)?;
    Ok(played.came.0)
}

// === impl ByHand ===

impl<'a> ByHand<'a> {
    fn new(world: &'a World, purpose: &str) -> Result<Self, LabError> {
        let arms = world.rates.len();
        Ok(Self {
            world,
            experiment: Arc::new(campaign(arms, settings(world))?),
            cells: vec![Exposure::default(); arms],
            arrivals: vec![Vec::new(); arms],
            now_hours: 0.0,
            stream: world.stream(purpose),
            came: (0.0, 0.0),
        })
    }

    fn pass_to(&mut self, hours: f64) {
        for (cell, arrivals) in self.cells.iter_mut().zip(&mut self.arrivals) {
            cell.advance(hours - self.now_hours, None);
            let before = arrivals.len();
            arrivals.retain(|at| *at > hours);
            cell.successes += (before - arrivals.len()) as f64;
        }
        self.now_hours = hours;
    }

    fn shares(&self) -> Result<Vec<f64>, LabError> {
        let now = after_hours(start(), self.now_hours);
        let cell = |(variant, open): (u16, &Exposure)| {
            let id = CellId {
                experiment: self.experiment.uid,
                variant: VariantIndex(variant),
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
        let cells: BTreeMap<CellId, Cell> = (0..).zip(&self.cells).map(cell).collect();
        let beliefs = Beliefs::alike(self.world.belief());
        let snapshot = Snapshot::build(self.experiment.clone(), &cells, &beliefs, 1, now);
        let table = snapshot.everyone();
        let table = table.ok_or(LabError::Defect("a snapshot has no table"))?;
        Ok(table.allocation.probabilities().to_vec())
    }

    /// Draws a variant for each mail, and what comes of it.
    fn send(&mut self, mails: u64, shares: &[f64]) -> Result<(), LabError> {
        let (mut left, mut rest) = (mails, 1.0);
        for (at, (share, rate)) in shares.iter().zip(&self.world.rates).enumerate() {
            let chance = if rest > 0.0 { share / rest } else { 1.0 };
            let own = binomial(left, chance, &mut self.stream)?;
            left -= own;
            rest -= share;
            let successes = binomial(own, *rate, &mut self.stream)?;
            self.came.0 += own as f64 * rate;
            self.came.1 += successes as f64;
            if let (Some(cell), Some(arrivals)) =
                (self.cells.get_mut(at), self.arrivals.get_mut(at))
            {
                cell.add(&Exposure::trial(own as f64, 0.0));
                for _ in 0..successes {
                    let delay = self.world.delay.sample(self.stream.generator());
                    arrivals.push(self.now_hours + delay);
                }
            }
        }
        Ok(())
    }
}

/// Successes of so many trials.
pub fn binomial(trials: u64, rate: f64, stream: &mut Stream) -> Result<u64, LabError> {
    let shape = Binomial::new(trials, rate.clamp(0.0, 1.0));
    let shape = shape.map_err(|_| LabError::Defect("a share of mails has no valid shape"))?;
    Ok(shape.sample(stream.generator()))
}

/// Plays the waves through the use cases, every mail and every answer.
pub fn use_cases(world: &World, plan: &BlastPlan) -> Result<Came, LabError> {
    let mut stream = world.stream("by use cases");
    let rig = Rig::new(stream.bits())?;
    let name = start_campaign(&rig, world.rates.len(), settings(world))?;
    let mut request = request_now(&name, 0, start());
    let mut waiting: Vec<(f64, EventReport)> = Vec::new();
    let (mut expected, mut came, mut number) = (0.0, 0.0, 0_u64);
    for wave in &plan.waves {
        let now = after_hours(start(), wave.at_hours);
        rig.set(now);
        let (due, later) = waiting
            .into_iter()
            .partition(|(at, _)| *at <= wave.at_hours);
        waiting = later;
        let due: Vec<(f64, EventReport)> = due;
        report(&rig, due.into_iter().map(|(_, event)| event).collect())?;
        rig.app.refresh();
        request.send_at = Some(now);
        for mail in 0..wave.mails {
            if mail % wave.mails.div_ceil(PARTS) == 0 {
                rig.app.refresh();
            }
            request.recipient_id = number.to_string();
            number += 1;
            let (arm, token) = decide(&rig, &request)?;
            let rate = world.rates.get(arm).copied().unwrap_or(0.0);
            expected += rate;
            if stream.unit() < rate {
                came += 1.0;
                let at = wave.at_hours + world.delay.sample(stream.generator());
                let event = answered(token, EventKind::Opened, after_hours(start(), at));
                waiting.push((at, event));
            }
        }
    }
    Ok((expected, came))
}
