//! A campaign whose answers come at once, as hermod's snapshots see it: the worlds of the literature on bandits.
//!
//! Invariant: probabilities come from the snapshots that answer on a server, under a stated prior and without delay. Truth is left to others.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::half_life::Track;
use crate::domain::name::VariantIndex;
use crate::domain::policy::Policy;
use crate::domain::posterior::Prior;
use crate::domain::shape::BetaShape;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot};

use super::LabError;
use super::campaign::{campaign, campaign_settings};
use super::rig::start;

/// Beta(1, 1).
pub const FLAT: Prior = Prior {
    mean: 0.5,
    weight: 2.0,
};

/// Trials and successes of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Trials.
    pub trials: f64,
    /// Successes among them.
    pub successes: f64,
}

/// The campaign.
pub struct AtOnce {
    experiment: Arc<Experiment>,
    beliefs: Beliefs,
}

// === impl Tally ===

impl Tally {
    /// The posterior under Beta(1, 1).
    pub fn posterior(&self) -> BetaShape {
        BetaShape::clamped(1.0 + self.successes, 1.0 + self.trials - self.successes)
    }

    /// Adds trials.
    pub fn add(&mut self, trials: f64, successes: f64) {
        self.trials += trials;
        self.successes += successes;
    }
}

// === impl AtOnce ===

impl AtOnce {
    /// A campaign of so many arms under a policy, with Beta(1, 1) for every arm and without a floor.
    pub fn new(arms: usize, policy: Policy) -> Result<Self, LabError> {
        let settings = Settings {
            policy,
            floor: 0.0,
            ..campaign_settings(Objective::Click, 0)
        };
        Ok(Self {
            experiment: Arc::new(campaign(arms, settings)?),
            beliefs: Beliefs::alike(Belief {
                prior: FLAT,
                curve: DelayCurve::instant(),
            }),
        })
    }

    /// The cells of such a campaign.
    pub fn cells(&self, tallies: &[Tally]) -> BTreeMap<CellId, Cell> {
        let cell = |(arm, tally): (u16, &Tally)| {
            let id = CellId {
                experiment: self.experiment.uid,
                variant: VariantIndex(arm),
                context: Context::default(),
                track: Track::CONFIGURED,
                lane: Lane::Policy,
            };
            let mut click = Exposure::trial(tally.trials, 0.0);
            click.add(&Exposure::success(tally.successes));
            let cell = Cell {
                click,
                ..Cell::empty(start(), None)
            };
            (id, cell)
        };
        (0..).zip(tallies).map(cell).collect()
    }

    /// The snapshot of these cells.
    pub fn snapshot(&self, cells: &BTreeMap<CellId, Cell>) -> Snapshot {
        Snapshot::build(self.experiment.clone(), cells, &self.beliefs, 1, start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quadrature::best_arm;

    #[test]
    fn its_snapshots_are_thompson_sampling_under_the_flat_prior() {
        let tallies = [(40.0, 9.0), (55.0, 14.0), (0.0, 0.0)]
            .map(|(trials, successes)| Tally { trials, successes });
        let campaign = AtOnce::new(3, Policy::Thompson).unwrap();
        let snapshot = campaign.snapshot(&campaign.cells(&tallies));
        let table = snapshot.everyone().unwrap();
        let posteriors = tallies.map(|tally| tally.posterior());
        let exact = best_arm(&posteriors).probability;
        for ((candidate, posterior), (p, exact)) in table
            .candidates
            .iter()
            .zip(posteriors)
            .zip(table.allocation.probabilities().iter().zip(exact))
        {
            assert!((candidate.posterior.mean() - posterior.mean()).abs() < 1e-9);
            assert!((candidate.posterior.variance() - posterior.variance()).abs() < 1e-9);
            assert!((p - exact).abs() < 1e-9, "{p} against {exact}");
        }
    }
}
