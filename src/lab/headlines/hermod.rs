//! hermod itself as a player: through the use cases, mail by mail, or through the snapshots they answer from.
//!
//! Both look at feedback in batches thirty days apart, when practically every answer has arrived; so what is measured is the allocation,
//! not the correction for delay. In one batch the snapshot does not change, so drawing from it is what deciding does.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rand_distr::{Distribution, LogNormal};

use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot, default_curve};
use crate::lab::LabError;
use crate::lab::campaign::{
    ATTRIBUTION_HOURS, answered, campaign, campaign_settings, decide, report, request_now,
    start_campaign,
};
use crate::lab::rig::{Rig, after_hours, start};

use super::players::{Game, Tally};

/// Between two batches; by then all but one in 1,600 of the answers have arrived.
const BATCH_HOURS: f64 = 720.0;

/// Whether hermod is told beforehand how many mails the campaign has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// It is told.
    Planned,
    /// It is not.
    Unknown,
}

// === impl Game ===

impl Game<'_> {
    fn settings(&self, horizon: Horizon) -> Settings {
        let planned = match horizon {
            Horizon::Planned => self.world.sends,
            Horizon::Unknown => 0,
        };
        campaign_settings(Objective::Click, planned)
    }

    /// hermod's snapshots, built from matured counts as the use cases build them.
    pub fn hermod_snapshots(&self, horizon: Horizon) -> Result<Vec<Tally>, LabError> {
        let experiment = campaign(self.world.rates.len(), self.settings(horizon))?;
        let experiment = Arc::new(experiment);
        let beliefs = Beliefs::alike(Belief {
            // The published level of clicks, from which a tenant without history starts.
            prior: Prior {
                mean: 0.02,
                weight: 12.5,
            },
            curve: default_curve(Objective::Click),
        });
        let now = start();
        self.in_batches(|tallies| {
            let cells = matured_cells(&experiment, tallies, now);
            let snapshot = Snapshot::build(experiment.clone(), &cells, &beliefs, 1, now);
            snapshot
                .everyone()
                .map(|table| table.allocation.clone())
                .ok_or(LabError::Defect("a snapshot has no table"))
        })
    }

    /// hermod's use cases: every mail is decided, every click is reported.
    pub fn hermod_use_cases(&self, horizon: Horizon) -> Result<Vec<Tally>, LabError> {
        let rig = Rig::new(self.stream("rig").bits())?;
        let mut tallies = vec![Tally::default(); self.world.rates.len()];
        let campaign = start_campaign(&rig, tallies.len(), self.settings(horizon))?;
        let (mut luck, mut delays) = (self.luck(), self.stream("delays"));
        let delay = LogNormal::new(5f64.ln(), 2.3)
            .map_err(|_| LabError::Defect("the delay has no valid shape"))?;
        let mut mail = 0;
        for size in self.batch_sizes() {
            rig.app.refresh();
            let sent_at = rig.app.now();
            let mut request = request_now(&campaign, 0, sent_at);
            let mut clicks = Vec::new();
            for _ in 0..size {
                request.recipient_id = mail.to_string();
                mail += 1;
                let (arm, token) = decide(&rig, &request)?;
                let clicked = luck.answers(arm);
                if let Some(tally) = tallies.get_mut(arm) {
                    tally.sends += 1;
                    tally.successes += u64::from(clicked);
                }
                if clicked {
                    let hours = delay
                        .sample(delays.generator())
                        .min(ATTRIBUTION_HOURS - 1.0);
                    clicks.push(answered(
                        token,
                        EventKind::Clicked,
                        after_hours(sent_at, hours),
                    ));
                }
            }
            rig.advance_hours(BATCH_HOURS);
            report(&rig, clicks)?;
        }
        Ok(tallies)
    }
}

/// The cells of mails sent a batch ago, so that practically none is pending.
fn matured_cells(
    experiment: &Experiment,
    tallies: &[Tally],
    now: Timestamp,
) -> BTreeMap<CellId, Cell> {
    let cell = |(arm, tally): (u16, &Tally)| {
        let mut click = Exposure::trial(tally.sends as f64, BATCH_HOURS);
        click.add(&Exposure::success(tally.successes as f64));
        let id = CellId {
            experiment: experiment.uid,
            variant: VariantIndex(arm),
            context: Context::default(),
            lane: Lane::Policy,
            track: Track::CONFIGURED,
        };
        let cell = Cell {
            click,
            ..Cell::empty(now, None)
        };
        (id, cell)
    };
    let sent = |(_, tally): &(u16, &Tally)| tally.sends > 0;
    (0..).zip(tallies).filter(sent).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Estimate;
    use crate::lab::headlines::truth::World;

    #[test]
    fn the_use_cases_and_the_snapshots_play_alike() {
        let world = World {
            name: "small".into(),
            rates: vec![0.02, 0.06, 0.03],
            sends: 1_500,
        };
        let lost = |tallies: Vec<Tally>| {
            let sends: Vec<u64> = tallies.iter().map(|tally| tally.sends).collect();
            assert_eq!(sends.iter().sum::<u64>(), 1_500);
            world.lost(&sends)
        };
        for horizon in [Horizon::Planned, Horizon::Unknown] {
            let difference = |seed| {
                let game = Game {
                    world: &world,
                    seed,
                    batches: 10,
                };
                let full = lost(game.hermod_use_cases(horizon).unwrap());
                full - lost(game.hermod_snapshots(horizon).unwrap())
            };
            let differences: Vec<f64> = (0..40).map(difference).collect();
            let estimate = Estimate::over_runs(&differences);
            // Twice the 95 % interval: false alarms are as good as never, and a seed fixes the outcome anyway.
            let half = estimate.high.unwrap() - estimate.mean;
            assert!(estimate.mean.abs() < 2.0 * half, "{estimate:?}");
            assert!(half < 8.0, "too noisy to tell anything: {estimate:?}");
        }
    }
}
