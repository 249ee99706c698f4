//! Segments that differ, or do not, in what they like: what partial pooling loses against pooling everything and against separate tests.
//!
//! Invariant: all rules meet the same rates and the same mails per segment. What is measured is the expected number of successes lost
//! against always sending each segment its own best variant.
use std::collections::BTreeMap;
use std::sync::Arc;

use rand_distr::{Distribution, Normal};
use serde::Serialize;

use crate::domain::allocation::Allocation;
use crate::domain::cell::{Cell, CellId, Context, Lane, Track};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::{Experiment, Objective, Settings};
use crate::domain::exposure::Exposure;
use crate::domain::name::VariantIndex;
use crate::domain::policy::Policy;
use crate::domain::posterior::Prior;
use crate::domain::snapshot::{Belief, Beliefs, Snapshot};
use crate::lab::LabError;
use crate::lab::campaign::{campaign, campaign_settings};
use crate::lab::estimate::{Estimate, Share};
use crate::lab::parallel::{Progress, in_parallel};
use crate::lab::rig::start;
use crate::lab::streams::{Stream, StreamName};

use super::Scenario;

/// How it is listed.
pub const SCENARIO: Scenario = Scenario {
    name: "segments",
    about: "segments that differ in what they like: partial pooling against pooled and separate",
};

/// The worlds, and how often to play in each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Segments, at most 64.
    pub segments: u8,
    /// Variants.
    pub arms: usize,
    /// Mails per segment, one world for each.
    pub sends_per_segment: Vec<u64>,
    /// Standard deviations of a variant's effect in one segment alone, log-odds, one world for each.
    pub interaction_sds: Vec<f64>,
    /// Rate that everything scatters around.
    pub base_rate: f64,
    /// Standard deviation of the variants' common effects in log-odds.
    pub arm_sd: f64,
    /// Standard deviation of the segments' levels in log-odds.
    pub segment_sd: f64,
    /// Probability spread evenly over the variants.
    pub floor: f64,
    /// Refreshes.
    pub batches: u64,
    /// First seed.
    pub seed: u64,
    /// How many seeds.
    pub seeds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segments: 20,
            arms: 4,
            sends_per_segment: vec![1_000, 5_000, 20_000],
            interaction_sds: vec![0.0, 0.05, 0.15],
            base_rate: 0.22,
            arm_sd: 0.15,
            segment_sd: 0.35,
            floor: 0.02,
            batches: 50,
            seed: 1,
            seeds: 20,
        }
    }
}

/// How cells lean on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// hermod's partial pooling.
    Hermod,
    /// All segments as one.
    Pooled,
    /// Every segment by itself.
    Separate,
}

/// One world's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorldReport {
    /// Mails per segment.
    pub sends_per_segment: u64,
    /// Standard deviation of the interactions.
    pub interaction_sd: f64,
    /// Successes lost of 1,000 mails by rule, with the interval over seeds.
    pub lost_per_thousand: Vec<(Rule, Estimate)>,
    /// hermod's loss over that of the better of the other two, with the interval over seeds (bootstrap).
    pub times_better: Estimate,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worlds.
    pub options: Options,
    /// World by world.
    pub worlds: Vec<WorldReport>,
}

#[derive(Clone, Copy)]
struct Job {
    sends: u64,
    interaction_sd: f64,
    seed: u64,
}

/// Plays every world under every rule, once for each seed.
///
/// # Errors
/// The options make no world.
pub fn run(options: &Options, progress: &dyn Progress) -> Result<Report, LabError> {
    check(options)?;
    let worlds: Vec<(u64, f64)> = options
        .sends_per_segment
        .iter()
        .flat_map(|sends| options.interaction_sds.iter().map(move |sd| (*sends, *sd)))
        .collect();
    let seeds = || (0..options.seeds).map(|at| options.seed.wrapping_add(at));
    let jobs: Vec<Job> = worlds
        .iter()
        .flat_map(|(sends, interaction_sd)| {
            seeds().map(|seed| Job {
                sends: *sends,
                interaction_sd: *interaction_sd,
                seed,
            })
        })
        .collect();
    progress.begin("experiments", jobs.len() as u64);
    let lost = in_parallel(&jobs, |job| {
        let lost = Rule::ALL.map(|rule| play(options, *job, rule));
        progress.advance(1);
        lost.into_iter().collect::<Result<Vec<f64>, _>>()
    })?;
    let of_world = lost.chunks(options.seeds.max(1) as usize);
    let report =
        |((sends, sd), lost): (&(u64, f64), &[Vec<f64>])| world(options, *sends, *sd, lost);
    Ok(Report {
        options: options.clone(),
        worlds: worlds.iter().zip(of_world).map(report).collect(),
    })
}

fn world(options: &Options, sends: u64, interaction_sd: f64, lost: &[Vec<f64>]) -> WorldReport {
    let of_rule = |at: usize| -> Vec<f64> {
        let runs = lost.iter().filter_map(|run| run.get(at));
        runs.map(|lost| lost * 1_000.0).collect()
    };
    let mean = |at: usize| Estimate::over_runs(&of_rule(at)).mean;
    let better = if mean(1) <= mean(2) { 1 } else { 2 };
    let units: Vec<Share> = of_rule(0)
        .into_iter()
        .zip(of_rule(better))
        .map(|(part, whole)| Share { part, whole })
        .collect();
    let rows = Rule::ALL.iter().enumerate();
    WorldReport {
        sends_per_segment: sends,
        interaction_sd,
        lost_per_thousand: rows
            .map(|(at, rule)| (*rule, Estimate::over_runs(&of_rule(at))))
            .collect(),
        times_better: Estimate::over_units(&units, options.seed),
    }
}

/// Rates by segment, then by arm.
fn rates(options: &Options, job: Job) -> Result<Vec<Vec<f64>>, LabError> {
    let mut stream = Stream::new(StreamName {
        seed: job.seed,
        world: "segments",
        purpose: "rates",
    });
    let normal = Normal::new(0.0, 1.0).map_err(|_| LabError::Defect("no normal distribution"))?;
    let mut draw = |sd: f64| sd * normal.sample(stream.generator());
    let base = (options.base_rate / (1.0 - options.base_rate)).ln();
    let arms: Vec<f64> = (0..options.arms).map(|_| draw(options.arm_sd)).collect();
    let mut segment = || -> Vec<f64> {
        let level = base + draw(options.segment_sd);
        let rate = |arm: &f64| 1.0 / (1.0 + (-(level + arm + draw(job.interaction_sd))).exp());
        arms.iter().map(rate).collect()
    };
    Ok((0..options.segments).map(|_| segment()).collect())
}

/// Share of the mails' successes that a rule loses.
fn play(options: &Options, job: Job, rule: Rule) -> Result<f64, LabError> {
    let truth = rates(options, job)?;
    let mut luck = Stream::new(StreamName {
        seed: job.seed,
        world: "segments",
        purpose: "luck",
    });
    let table = Tables::new(options, rule)?;
    let mut cells = vec![vec![Exposure::default(); options.arms]; truth.len()];
    let mut lost = 0.0;
    for batch in 0..options.batches {
        let mails = job.sends * (batch + 1) / options.batches - job.sends * batch / options.batches;
        let tables = table.of(&cells)?;
        for ((rates, cells), table) in truth.iter().zip(&mut cells).zip(tables) {
            let best = rates.iter().copied().fold(0.0, f64::max);
            let counts = luck.shared_out(mails, table.probabilities())?;
            for ((cell, count), rate) in cells.iter_mut().zip(counts).zip(rates) {
                cell.trials += count as f64;
                cell.successes += luck.successes(count, *rate)? as f64;
                lost += count as f64 * (best - rate);
            }
        }
    }
    Ok(lost / (job.sends * truth.len() as u64) as f64)
}

/// Makes the segments' allocations from their cells.
struct Tables {
    rule: Rule,
    experiment: Arc<Experiment>,
    beliefs: Beliefs,
}

// === impl Tables ===

impl Tables {
    fn new(options: &Options, rule: Rule) -> Result<Self, LabError> {
        let settings = Settings {
            policy: Policy::Thompson,
            floor: options.floor,
            ..campaign_settings(Objective::Open, 0)
        };
        Ok(Self {
            rule,
            experiment: Arc::new(campaign(options.arms, settings)?),
            beliefs: Beliefs::alike(Belief {
                prior: Prior {
                    mean: options.base_rate,
                    weight: (0.25 / options.base_rate).max(10.0),
                },
                curve: DelayCurve::instant(),
            }),
        })
    }

    /// One allocation per segment.
    fn of(&self, cells: &[Vec<Exposure>]) -> Result<Vec<Allocation>, LabError> {
        let none = || LabError::Defect("a snapshot has no table");
        let segments = (0_u8..).zip(cells);
        match self.rule {
            Rule::Hermod => {
                let all = segments.flat_map(|(at, row)| self.row(at + 1, row));
                let snapshot = self.snapshot(all.collect());
                let table = |at: usize| {
                    let context = Context {
                        segment: at as u8 + 1,
                        daypart: 0,
                    };
                    let table = snapshot.table(context).ok_or_else(none)?;
                    Ok(table.allocation.clone())
                };
                (0..cells.len()).map(table).collect()
            }
            Rule::Pooled => {
                let mut sums = vec![Exposure::default(); self.experiment.variants.len()];
                for row in cells {
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, cell)| sum.add(cell));
                }
                let snapshot = self.snapshot(self.row(0, &sums));
                let table = snapshot.everyone().ok_or_else(none)?;
                Ok(vec![table.allocation.clone(); cells.len()])
            }
            Rule::Separate => segments
                .map(|(_, row)| {
                    let snapshot = self.snapshot(self.row(0, row));
                    let table = snapshot.everyone().ok_or_else(none)?;
                    Ok(table.allocation.clone())
                })
                .collect(),
        }
    }

    fn snapshot(&self, cells: BTreeMap<CellId, Cell>) -> Snapshot {
        Snapshot::build(self.experiment.clone(), &cells, &self.beliefs, 1, start())
    }

    fn row(&self, segment: u8, row: &[Exposure]) -> BTreeMap<CellId, Cell> {
        let cell = |(arm, exposure): (u16, &Exposure)| {
            let id = CellId {
                experiment: self.experiment.uid,
                variant: VariantIndex(arm),
                context: Context {
                    segment,
                    daypart: 0,
                },
                lane: Lane::Policy,
                track: Track::CONFIGURED,
            };
            let cell = Cell {
                open: exposure.clone(),
                ..Cell::empty(start(), None)
            };
            (id, cell)
        };
        (0..).zip(row).map(cell).collect()
    }
}

// === impl Rule ===

impl Rule {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Hermod, Self::Pooled, Self::Separate];
}

fn check(options: &Options) -> Result<(), LabError> {
    let refuse = |what: &str| Err(LabError::Nothing(what.to_owned()));
    if !(2..=64).contains(&options.segments) || !(2..=100).contains(&options.arms) {
        return refuse("there must be 2 to 64 segments and 2 to 100 arms");
    }
    if !(0.001..=0.9).contains(&options.base_rate) || !(0.0..=0.5).contains(&options.floor) {
        return refuse("the base rate must be between 0.001 and 0.9, the floor between 0 and 0.5");
    }
    let mut spreads = options.interaction_sds.iter();
    if !spreads.all(|spread| (0.0..=2.0).contains(spread))
        || !(0.0..=2.0).contains(&options.arm_sd)
        || !(0.0..=2.0).contains(&options.segment_sd)
    {
        return refuse("spreads in log-odds must be between 0 and 2");
    }
    let enough = |sends: &u64| *sends >= options.batches;
    if options.batches == 0 || options.seeds == 0 || !options.sends_per_segment.iter().all(enough) {
        return refuse("there must be a batch, a mail in each, and a seed");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
