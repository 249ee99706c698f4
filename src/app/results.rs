//! What an experiment shows: posteriors for reporting, who is best, whether it is safe to stop, and whether the shares are right.
//!
//! Invariant: reports shrink variants towards the campaign's level, so that a winner's lead is not overstated; decisions do not use this.
use jiff::Timestamp;

use crate::domain::beliefs::Beliefs;
use crate::domain::cell::{Cell, CellId, Lane};
use crate::domain::change_point::ChangePoint;
use crate::domain::delay::learning::LearnedDelay;
use crate::domain::drift::Drift;
use crate::domain::experiment::{Experiment, ExperimentKind};
use crate::domain::name::{Slug, TenantId, VariantIndex};
use crate::domain::posterior::CellCounts;
use crate::domain::reporting::{BetaMixture, Detail, Reported, report};
use crate::domain::sample_ratio;
use crate::domain::shadow::ShadowComparison;
use crate::domain::shape::Interval;
use crate::domain::snapshot::{Snapshot, Table};
use crate::domain::standing::{Purpose, Standing, Terms};
use crate::domain::timeline::HourCounts;
use crate::domain::value_remaining::ValueRemaining;

use super::{App, AppError};

use std::collections::BTreeMap;
use std::sync::Arc;

mod holdout;

pub use holdout::{HoldoutResults, UpliftScope, VariantPart};

use holdout::VariantSides;

/// Expected loss relative to the leader's mean below which it is safe to stop.
pub const SAFE_RELATIVE_LOSS: f64 = 0.005;
/// Effective trials that every live variant needs before it is safe to stop.
pub const SAFE_TRIALS: f64 = 100.0;
/// The value remaining is exceeded with the rest of this probability only (Scott 2013).
pub const REMAINING_LEVEL: f64 = 0.95;

/// What an experiment shows.
#[derive(Clone, Debug)]
pub struct Results {
    /// The experiment.
    pub experiment: Arc<Experiment>,
    /// The moment these hold for.
    pub as_of: Timestamp,
    /// The variants under the policy, in the order of their creation.
    pub variants: Vec<VariantResults>,
    /// Position of the live variant with the highest mean.
    pub leader: Option<usize>,
    /// Expected loss of choosing the leader over its mean.
    pub relative_loss: f64,
    /// Whether the stopping rule is met.
    pub safe_to_conclude: bool,
    /// The holdout.
    pub holdout: HoldoutResults,
    /// The check of shares.
    pub ratio: RatioCheck,
    /// How fast answers arrive: the curve behind all rates, cut at the attribution window, and how many delays it rests on.
    pub delay: LearnedDelay,
    /// What shadow mode has shown; none as long as nothing was decided in it.
    pub shadow: Option<ShadowComparison>,
    /// The half-lives of a flow's evidence; none of a campaign.
    pub half_lives: Vec<HalfLife>,
    /// Changes of rates that were noticed, the latest last.
    pub changes: Vec<ChangePoint>,
    /// Reporting posteriors of the live variants, in their order; none for values and utilities.
    pub competing: Vec<BetaMixture>,
}

/// One of the half-lives in which a flow's evidence is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfLife {
    /// Hours; none for evidence that never fades.
    pub hours: Option<f64>,
    /// Its share in the evidence that decides.
    pub weight: f64,
    /// How well it foretold the days so far: discounted logarithm of the predictive probability, 0 for the best.
    pub score: f64,
}

/// What one variant shows.
#[derive(Clone, Debug)]
pub struct VariantResults {
    /// The variant.
    pub variant: VariantIndex,
    /// Mean of the reporting posterior.
    pub mean: f64,
    /// Its 95 % credible interval.
    pub interval: Interval,
    /// Probability that it is the best of the live ones.
    pub probability_best: f64,
    /// Expected loss of choosing it.
    pub expected_loss: f64,
    /// Share of decisions that it gets now.
    pub share: f64,
    /// Trials.
    pub trials: f64,
    /// Trials corrected for answers still to come.
    pub effective_trials: f64,
    /// Trials planned for later, not in `trials` yet.
    pub planned_trials: f64,
    /// Successes.
    pub successes: f64,
    /// Events by kind.
    pub counts: HourCounts,
}

/// Whether the variants got the shares that were decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioCheck {
    /// Evidence against the shares: an e-value, expected to be at most 1 if all is well.
    pub evidence: f64,
    /// Its anytime-valid p-value: 1 over the evidence, at most 1.
    pub p_value: f64,
    /// Whether to worry.
    pub alarm: bool,
}

// === impl RatioCheck ===

impl RatioCheck {
    fn of(evidence: f64) -> Self {
        Self {
            evidence,
            p_value: (1.0 / evidence).min(1.0),
            alarm: evidence >= sample_ratio::ALARM_FROM,
        }
    }
}

// === impl Results ===

impl Results {
    /// How much better than the leader, relative to it, the best live variant may still be: exceeded with 5 % probability only.
    ///
    /// None for values and utilities, and below two live variants. Computed when asked for: it costs several times what the results do.
    pub fn value_remaining(&self) -> Option<f64> {
        let live = live_positions(&self.experiment);
        let leader = live.iter().position(|at| Some(*at) == self.leader)?;
        if self.competing.len() < 2 {
            return None;
        }
        let remaining = ValueRemaining::of(&self.competing, leader)?;
        Some(remaining.quantile(REMAINING_LEVEL))
    }
}

// === impl App ===

impl App {
    /// What an experiment shows now.
    pub fn results(&self, tenant: TenantId, id: &Slug) -> Result<Results, AppError> {
        self.results_in(tenant, id, Detail::Intervals)
    }

    /// The same; without intervals each is its mean.
    pub(super) fn results_in(
        &self,
        tenant: TenantId,
        id: &Slug,
        detail: Detail,
    ) -> Result<Results, AppError> {
        let live = self
            .registry
            .by_name(tenant, id)
            .ok_or_else(|| AppError::no_experiment(id.as_str()))?;
        let snapshot = live.snapshot();
        let now = self.now();
        let objective = snapshot.experiment.settings.objective;
        let delay = live.delay(objective);
        let beliefs =
            live.beliefs(&|tenant, objective| self.registry.expected_rate(tenant, objective));
        let mut sums = live.sums();
        let cells = sums.due(now);
        let facts: Vec<Facts> = (0..snapshot.experiment.variants.len())
            .map(|at| VariantIndex(at as u16))
            .map(|variant| {
                let of_variant = |id: &CellId| id.variant == variant && id.lane == Lane::Policy;
                let of_holdout = |id: &CellId| id.variant == variant && id.lane == Lane::Holdout;
                let cell = pooled(&cells, of_variant);
                Facts {
                    held: pooled(&cells, of_holdout),
                    variant,
                    trials: cell.objective(objective).trials,
                    cell,
                    planned_trials: sums.planned_trials(variant, objective),
                    counts: sums.counts(variant, Lane::Policy),
                }
            })
            .collect();
        let ratio = RatioCheck::of(sums.ratio(now).evidence());
        let shadow = ShadowComparison::of(&sums.shadow());
        drop(sums);
        let results = assemble(&snapshot, facts, &beliefs, (now, detail));
        let drift = live.drift();
        Ok(Results {
            ratio,
            delay,
            shadow: (shadow.sends > 0.0).then_some(shadow),
            half_lives: half_lives(&snapshot.experiment, &drift),
            changes: drift.changes().to_vec(),
            ..results
        })
    }
}

/// What was counted of one variant.
struct Facts {
    variant: VariantIndex,
    cell: Cell,
    held: Cell,
    trials: f64,
    planned_trials: f64,
    counts: HourCounts,
}

fn pooled(cells: &BTreeMap<CellId, Cell>, of: impl Fn(&CellId) -> bool) -> Cell {
    let mut sum = Cell::default();
    cells
        .iter()
        .filter(|(id, _)| of(id))
        .for_each(|(_, cell)| sum.merge(cell));
    sum
}

fn assemble(
    snapshot: &Snapshot,
    facts: Vec<Facts>,
    beliefs: &Beliefs,
    (as_of, detail): (Timestamp, Detail),
) -> Results {
    let experiment = snapshot.experiment.clone();
    let objective = experiment.settings.objective;
    let terms = Terms {
        settings: &experiment.settings,
        beliefs,
        purpose: Purpose::Reporting,
    };
    let cells: Vec<Cell> = facts.iter().map(|fact| fact.cell.clone()).collect();
    let standings = terms.standings(&cells);
    let live = live_positions(&experiment);
    let reported = report(&terms, &cells, &live, detail);
    let rows = facts.iter().zip(&standings).enumerate();
    let variants: Vec<VariantResults> = rows
        .map(|(at, (fact, of_fact))| {
            let standing = live.iter().position(|live| *live == at);
            shown(
                fact,
                of_fact.counts,
                &reported,
                Place { at, standing },
                snapshot.everyone().map(AsRef::as_ref),
            )
        })
        .collect();
    let of_live = || live.iter().filter_map(|at| Some((*at, variants.get(*at)?)));
    let leader = of_live().max_by(|(_, one), (_, other)| one.mean.total_cmp(&other.mean));
    let relative_loss = leader.map_or(1.0, |(_, leader)| {
        leader.expected_loss / leader.mean.abs().max(1e-12)
    });
    let matured = of_live().all(|(_, variant)| variant.effective_trials >= SAFE_TRIALS);
    let leader = leader.map(|(at, _)| at);
    Results {
        safe_to_conclude: live.len() > 1 && matured && relative_loss < SAFE_RELATIVE_LOSS,
        holdout: HoldoutResults::of(&terms, &experiment, &sides(&facts, &standings)),
        shadow: None,
        ratio: RatioCheck::of(1.0),
        delay: LearnedDelay {
            curve: beliefs.of(objective).curve,
            delays: 0.0,
        },
        experiment,
        as_of,
        leader,
        relative_loss,
        variants,
        half_lives: Vec::new(),
        changes: Vec::new(),
        competing: reported.competing,
    }
}

fn half_lives(experiment: &Experiment, drift: &Drift) -> Vec<HalfLife> {
    if experiment.settings.kind == ExperimentKind::Campaign {
        return Vec::new();
    }
    let (weights, scores) = (drift.scores().weights(), drift.scores().relative());
    let tracks = experiment.tracks().each().zip(weights).zip(scores);
    tracks
        .map(|(((_, hours), weight), score)| HalfLife {
            hours,
            weight,
            score,
        })
        .collect()
}

fn live_positions(experiment: &Experiment) -> Vec<usize> {
    let variants = experiment.variants.iter().enumerate();
    variants
        .filter(|(_, variant)| variant.state.is_eligible())
        .map(|(at, _)| at)
        .collect()
}

/// Where a variant is among all, and among the live ones unless it is not.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    standing: Option<usize>,
}

fn shown(
    fact: &Facts,
    counts: CellCounts,
    reported: &Reported,
    place: Place,
    table: Option<&Table>,
) -> VariantResults {
    let best = &reported.best;
    let of = |values: &[f64]| place.standing.and_then(|at| values.get(at)).copied();
    let mean = reported.means.get(place.at).copied().unwrap_or(0.0);
    let interval = reported.intervals.get(place.at).copied();
    let loss_if_chosen = (best.expected_maximum - mean).max(0.0);
    let share =
        table.and_then(|table| Some(table.allocation.propensity(table.position(fact.variant)?)));
    VariantResults {
        variant: fact.variant,
        mean,
        interval: interval.unwrap_or(Interval {
            low: mean,
            high: mean,
        }),
        probability_best: of(&best.probability).unwrap_or(0.0),
        expected_loss: of(&best.expected_loss).unwrap_or(loss_if_chosen),
        share: share.unwrap_or(0.0),
        trials: fact.trials.max(0.0),
        effective_trials: counts.trials,
        planned_trials: fact.planned_trials.max(0.0),
        successes: counts.successes,
        counts: fact.counts.clone(),
    }
}

/// The variants on both sides of the holdout.
fn sides(facts: &[Facts], standings: &[Standing]) -> Vec<VariantSides> {
    let of = |(fact, standing): (&Facts, &Standing)| VariantSides {
        policy: fact.cell.clone(),
        holdout: fact.held.clone(),
        posterior: standing.posterior,
    };
    facts.iter().zip(standings).map(of).collect()
}
