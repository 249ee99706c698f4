//! Campaigns drawn from a population, looked at after every batch: does what is reported come true as often as it says?
//!
//! Invariant: all ways of reporting see the same campaigns, played by hermod's own allocation. Claims are made with the functions that
//! reports are made with.
mod tally;

use std::sync::Arc;

use jiff::Timestamp;
use rand_distr::{Distribution, Normal, StudentT};
use serde::Serialize;

use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::Objective;
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::posterior::{CellCounts, Prior, posterior, reporting_prior};
use crate::domain::quadrature::{BestArm, best_arm};
use crate::domain::reporting::reporting_posteriors;
use crate::domain::shape::BetaShape;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot};
use crate::lab::LabError;
use crate::lab::campaign::{campaign, campaign_settings};
use crate::lab::estimate::Estimate;
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::rig::start;
use crate::lab::streams::{Stream, StreamName};

use tally::Tally;
pub use tally::{BINS, Bin};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "calibration",
    about: "whether what is reported of campaigns comes true as often as it says",
};

/// The population, and how much of it to play.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Campaigns to play.
    pub campaigns: u64,
    /// Variants of each.
    pub arms: usize,
    /// Mails of each.
    pub sends: u64,
    /// Batches, with a look after each.
    pub batches: u64,
    /// Rate that campaigns scatter around.
    pub base_rate: f64,
    /// Standard deviation of campaigns in log-odds.
    pub campaign_sd: f64,
    /// Scale of the effects of variants in log-odds.
    pub effect_scale: f64,
    /// Their degrees of freedom (Student's t).
    pub effect_freedom: f64,
    /// First seed.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            campaigns: 4_000,
            arms: 4,
            sends: 20_000,
            batches: 20,
            base_rate: 0.22,
            campaign_sd: 0.35,
            effect_scale: 0.15,
            effect_freedom: 3.0,
            seed: 1,
        }
    }
}

/// How claims are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reporting {
    /// As hermod reports: heavy-tailed effects around the campaign's level.
    Hermod,
    /// Effects of the same width without heavy tails.
    OneBeta,
    /// From Beta(1, 1): every variant by itself.
    Flat,
}

/// How one way of reporting did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// How claims were made.
    pub reporting: Reporting,
    /// Claimed against realised probabilities of being best.
    pub bins: Vec<Bin>,
    /// Expected over realised loss of the leader, with the interval over campaigns (bootstrap).
    pub expected_over_realised: Estimate,
    /// Slope of the leader's true lift over its claimed one, through the origin; 1 is honest.
    pub lift_slope: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The population.
    pub options: Options,
    /// By way of reporting.
    pub rows: Vec<Row>,
}

/// What is claimed at one look.
struct Claim {
    best: BestArm,
    means: Vec<f64>,
}

// === impl Reporting ===

impl Reporting {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Hermod, Self::OneBeta, Self::Flat];

    fn claim(self, tenant_rate: f64, exposures: &[Exposure]) -> Claim {
        let curve = DelayCurve::instant();
        let plain = |prior: Prior| -> Claim {
            let shapes: Vec<BetaShape> = exposures
                .iter()
                .map(|exposure| posterior(prior, exposure, &curve))
                .collect();
            Claim {
                best: best_arm(&shapes),
                means: shapes.iter().map(BetaShape::mean).collect(),
            }
        };
        match self {
            Self::Hermod => {
                let posteriors = reporting_posteriors(tenant_rate, exposures, &curve);
                Claim {
                    best: best_arm(&posteriors),
                    means: posteriors.iter().map(|mixture| mixture.mean()).collect(),
                }
            }
            Self::OneBeta => {
                let counts: Vec<CellCounts> = exposures
                    .iter()
                    .map(|exposure| CellCounts::of(exposure, &curve))
                    .collect();
                plain(reporting_prior(tenant_rate, &counts))
            }
            Self::Flat => plain(Prior {
                mean: 0.5,
                weight: 2.0,
            }),
        }
    }
}

/// Plays the campaigns and holds every claim against the truth.
///
/// # Errors
/// The options make no population.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let seeds: Vec<u64> = (0..options.campaigns)
        .map(|at| options.seed.wrapping_mul(1_000_003).wrapping_add(at))
        .collect();
    progress.begin("campaigns", options.campaigns);
    let tallies = in_parallel(&seeds, |seed| {
        let tallies = play(options, *seed);
        progress.advance(1);
        tallies
    })?;
    let row = |(at, reporting): (usize, &Reporting)| {
        let own: Vec<&Tally> = tallies.iter().filter_map(|all| all.get(at)).collect();
        Row {
            reporting: *reporting,
            bins: Tally::bins(&own, options.seed),
            expected_over_realised: Tally::losses(&own, options.seed),
            lift_slope: Tally::slope(&own, options.seed),
        }
    };
    Ok(Report {
        options: options.clone(),
        rows: Reporting::ALL.iter().enumerate().map(row).collect(),
    })
}

fn rates(options: &Options, stream: &mut Stream) -> Result<Vec<f64>, LabError> {
    let shape = |_| LabError::Defect("the population has no valid shape");
    let campaigns = Normal::new(0.0, options.campaign_sd).map_err(shape)?;
    let effects = StudentT::new(options.effect_freedom)
        .map_err(|_| LabError::Defect("the effects have no valid shape"))?;
    let base = (options.base_rate / (1.0 - options.base_rate)).ln();
    let level = base + campaigns.sample(stream.generator());
    let rate = |_| {
        let effect = options.effect_scale * effects.sample(stream.generator());
        1.0 / (1.0 + (-(level + effect)).exp())
    };
    Ok((0..options.arms).map(rate).collect())
}

/// One campaign: a tally for each way of reporting.
fn play(options: &Options, seed: u64) -> Result<Vec<Tally>, LabError> {
    let stream = |purpose| {
        Stream::new(StreamName {
            seed,
            world: "calibration",
            purpose,
        })
    };
    let truth = rates(options, &mut stream("rates"))?;
    let mut luck = stream("luck");
    let settings = campaign_settings(Objective::Open, options.sends);
    let experiment = Arc::new(campaign(options.arms, settings)?);
    let beliefs = Beliefs::alike(Belief {
        prior: Prior {
            mean: options.base_rate,
            weight: (0.25 / options.base_rate).max(10.0),
        },
        curve: DelayCurve::instant(),
    });
    let mut exposures = vec![Exposure::default(); options.arms];
    let mut tallies: Vec<Tally> = Reporting::ALL.iter().map(|_| Tally::default()).collect();
    for batch in 0..options.batches {
        let now = start();
        let cells = (0..)
            .zip(&exposures)
            .map(|(arm, exposure)| cell(arm, exposure, now));
        let snapshot = Snapshot::build(experiment.clone(), &cells.collect(), &beliefs, 1, now);
        let table = snapshot
            .everyone()
            .ok_or(LabError::Defect("a snapshot has no table"))?;
        let mails =
            options.sends * (batch + 1) / options.batches - options.sends * batch / options.batches;
        let counts = luck.shared_out(mails, table.allocation.probabilities())?;
        for ((exposure, count), rate) in exposures.iter_mut().zip(counts).zip(&truth) {
            exposure.trials += count as f64;
            exposure.successes += luck.successes(count, *rate)? as f64;
        }
        for (tally, reporting) in tallies.iter_mut().zip(Reporting::ALL) {
            let claim = reporting.claim(options.base_rate, &exposures);
            tally.add(&claim.best, &claim.means, &truth);
        }
    }
    Ok(tallies)
}

fn cell(arm: u16, exposure: &Exposure, now: Timestamp) -> (CellId, Cell) {
    let id = CellId {
        experiment: crate::domain::name::ExperimentUid(1),
        variant: VariantIndex(arm),
        context: Context::default(),
        lane: Lane::Policy,
        track: Track::CONFIGURED,
    };
    let cell = Cell {
        open: exposure.clone(),
        ..Cell::empty(now, None)
    };
    (id, cell)
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    if !(2..=100).contains(&options.arms) {
        return refuse("campaigns need 2 to 100 arms");
    }
    if !(0.001..=0.9).contains(&options.base_rate) {
        return refuse("the base rate must be between 0.001 and 0.9");
    }
    let spreads = [options.campaign_sd, options.effect_scale];
    if !spreads.iter().all(|spread| (0.0..=2.0).contains(spread)) {
        return refuse("spreads in log-odds must be between 0 and 2");
    }
    if !(1.0..=1e6).contains(&options.effect_freedom) {
        return refuse("degrees of freedom must be at least 1");
    }
    if options.batches == 0 || options.sends < options.batches || options.campaigns == 0 {
        return refuse("there must be a campaign, a batch, and a mail in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
