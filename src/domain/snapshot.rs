//! A snapshot of an experiment: the posteriors and the ready-made allocation of every context, as of one instant.
//!
//! Invariant: a snapshot never changes, so a decision from it can be repeated, and its propensities are exact. Summing the cells and
//! refreshing are left to others.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::allocation::Allocation;
use crate::domain::cell::{Cell, CellId, Context};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::{Experiment, Objective};
use crate::domain::name::VariantIndex;
use crate::domain::policy::horizon::Progress;
use crate::domain::policy::{Arms, Policy};
use crate::domain::posterior::{
    CellCounts, CellEvidence, CellPool, PoolLevels, Prior, campaign_prior, estimate_kappa,
    pool_levels, pooled_cell_posterior, posterior,
};
use crate::domain::quadrature::{BestArm, best_arm};
use crate::domain::shape::BetaShape;

mod evidence;

use evidence::Evidence;

/// From this share of a posterior's weight on, a cell's own data count as material.
const MATERIAL_SHARE: f64 = 0.2;

/// What is believed before an experiment's own data.
#[derive(Clone, Debug, PartialEq)]
pub struct Beliefs {
    /// Prior of every variant's rate.
    pub prior: Prior,
    /// How fast responses arrive.
    pub curve: DelayCurve,
}

/// The curve that is used before a tenant's own is learned.
pub fn default_curve(objective: Objective) -> DelayCurve {
    match objective {
        Objective::Click => DelayCurve::default_click(),
        Objective::Open => DelayCurve::default_open(),
        Objective::Conversion => DelayCurve::default_conversion(),
    }
}

/// The level of statistics behind a choice of variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChoiceLevel {
    /// The segment's or daypart's own data count materially.
    Segment,
    /// Data of all recipients.
    Everyone,
    /// Nothing but the prior.
    Default,
}

/// What is known of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The variant.
    pub variant: VariantIndex,
    /// Its posterior.
    pub posterior: BetaShape,
    /// Trials corrected for answers still to come.
    pub effective_trials: f64,
    /// Successes.
    pub successes: f64,
}

/// The candidates of one context and how they are drawn.
#[derive(Clone, Debug)]
pub struct Table {
    /// Candidates, by variant.
    pub candidates: Vec<Candidate>,
    /// Probability of being best and expected loss, in the order of the candidates.
    pub best: BestArm,
    /// Probabilities of being chosen, in the order of the candidates.
    pub allocation: Allocation,
    /// The level that answers.
    pub level: ChoiceLevel,
}

/// An experiment with its tables as of one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The experiment as configured.
    pub experiment: Arc<Experiment>,
    /// Counts refreshes.
    pub version: u64,
    /// The instant it holds for.
    pub as_of: Timestamp,
    rule: Rule,
    everyone: Option<Arc<Table>>,
    contexts: BTreeMap<Context, Arc<Table>>,
}

/// Partial pooling: cells by live variant and context, and what each leans on as far as the data allow.
struct Pools {
    rows: Vec<Vec<CellCounts>>,
    levels: PoolLevels,
    kappa: f64,
}

/// How probabilities are made of posteriors, as of this snapshot.
#[derive(Clone, Debug)]
struct Rule {
    policy: Policy,
    progress: Progress,
    floor: f64,
}

// === impl Snapshot ===

impl Snapshot {
    /// Builds the tables from the experiment's cells, all as of `as_of`.
    pub fn build(
        experiment: Arc<Experiment>,
        cells: &BTreeMap<CellId, Cell>,
        beliefs: &Beliefs,
        version: u64,
        as_of: Timestamp,
    ) -> Self {
        let evidence = Evidence::of(&experiment, cells);
        let live = experiment.live_variants();
        let rule = Rule::of(&experiment, evidence.sends());
        let beliefs = &rule.beliefs(&live, &evidence, beliefs);
        let everyone = Table::everyone(&rule, &live, &evidence, beliefs).map(Arc::new);
        let contexts = match evidence.contexts.as_slice() {
            [] => BTreeMap::new(),
            [only] if *only == Context::default() => BTreeMap::new(),
            contexts => Table::by_context(&rule, &live, contexts, &evidence, beliefs),
        };
        Self {
            experiment,
            version,
            as_of,
            rule,
            everyone,
            contexts,
        }
    }

    /// The table of a context: its own where it has data, everyone's otherwise; none when no variant is live.
    pub fn table(&self, context: Context) -> Option<&Arc<Table>> {
        self.contexts.get(&context).or(self.everyone.as_ref())
    }

    /// A table of some of its candidates: Thompson sampling on a subset is not the full table renormalised, so it is computed afresh.
    /// None when none of them is a candidate.
    pub fn restricted(&self, table: &Table, eligible: &[VariantIndex]) -> Option<Table> {
        let candidates = table
            .candidates
            .iter()
            .copied()
            .filter(|candidate| eligible.contains(&candidate.variant))
            .collect();
        Table::of(&self.rule, candidates, table.level)
    }

    /// The table over all contexts; none when no variant is live.
    pub fn everyone(&self) -> Option<&Arc<Table>> {
        self.everyone.as_ref()
    }
}

// === impl Rule ===

impl Rule {
    fn of(experiment: &Experiment, sends: f64) -> Self {
        let settings = &experiment.settings;
        let progress = Progress {
            sends,
            planned_sends: settings.planned_sends as f64,
        };
        // What is explored in the last part of a campaign pays off for nobody.
        let floor = settings.floor * progress.remaining_share().unwrap_or(1.0);
        Self {
            policy: settings.policy.clone(),
            progress,
            floor,
        }
    }

    /// The horizon-scaled policy starts from the campaign's own level; the others from the tenant's.
    fn beliefs(&self, live: &[VariantIndex], evidence: &Evidence, beliefs: &Beliefs) -> Beliefs {
        if self.policy != Policy::HorizonThompson {
            return beliefs.clone();
        }
        let counts: Vec<CellCounts> = live
            .iter()
            .map(|variant| CellCounts::of(&evidence.pooled(*variant), &beliefs.curve))
            .collect();
        Beliefs {
            prior: campaign_prior(beliefs.prior.mean, &counts),
            curve: beliefs.curve,
        }
    }

    /// The policy over these candidates: fixed weights are given by position in the experiment.
    fn policy_over(&self, candidates: &[Candidate]) -> Policy {
        let Policy::Fixed { weights } = &self.policy else {
            return self.policy.clone();
        };
        let weight = |candidate: &Candidate| {
            weights
                .get(usize::from(candidate.variant.0))
                .copied()
                .unwrap_or(0.0)
        };
        Policy::Fixed {
            weights: candidates.iter().map(weight).collect(),
        }
    }
}

// === impl Pools ===

impl Pools {
    fn of(
        live: &[VariantIndex],
        contexts: &[Context],
        evidence: &Evidence,
        beliefs: &Beliefs,
    ) -> Self {
        let row = |variant: &VariantIndex| {
            let counts = contexts
                .iter()
                .map(|context| evidence.counts(*variant, *context, &beliefs.curve));
            counts.collect()
        };
        let rows: Vec<Vec<CellCounts>> = live.iter().map(row).collect();
        let levels = pool_levels(&rows, beliefs.prior);
        let fitted_parameters = live.len() + contexts.len();
        let kappa = estimate_kappa(&against_expectation(&rows, &levels), fitted_parameters);
        Self {
            rows,
            levels,
            kappa,
        }
    }

    fn counts(&self, row: usize, at: usize) -> CellCounts {
        let cells = self.rows.get(row);
        cells
            .and_then(|cells| cells.get(at))
            .copied()
            .unwrap_or_default()
    }

    fn arm_trials(&self, row: usize) -> f64 {
        let cells = self.rows.get(row).into_iter().flatten();
        cells.map(|cell| cell.trials).sum()
    }

    fn pool(&self, row: usize, at: usize) -> CellPool {
        CellPool {
            arm_rate: self.levels.arm_rates.get(row).copied().unwrap_or(0.0),
            arm_trials: self.arm_trials(row),
            segment_level: self.levels.segment_levels.get(at).copied().unwrap_or(1.0),
            kappa: self.kappa,
        }
    }

    /// Whether a cell's own trials are a material share of what its posterior rests on.
    fn is_material(&self, row: usize, at: usize) -> bool {
        let own = self.counts(row, at).trials;
        let pooled = self.kappa.min(self.arm_trials(row) - own + 10.0);
        own >= MATERIAL_SHARE * (own + pooled)
    }
}

// === impl Table ===

impl Table {
    fn everyone(
        rule: &Rule,
        live: &[VariantIndex],
        evidence: &Evidence,
        beliefs: &Beliefs,
    ) -> Option<Self> {
        let candidate = |variant: &VariantIndex| {
            let exposure = evidence.pooled(*variant);
            let counts = CellCounts::of(&exposure, &beliefs.curve);
            Candidate {
                variant: *variant,
                posterior: posterior(beliefs.prior, &exposure, &beliefs.curve),
                effective_trials: counts.trials,
                successes: counts.successes,
            }
        };
        let candidates: Vec<Candidate> = live.iter().map(candidate).collect();
        let known = candidates
            .iter()
            .any(|candidate| candidate.effective_trials + candidate.successes >= 1.0);
        let level = if known {
            ChoiceLevel::Everyone
        } else {
            ChoiceLevel::Default
        };
        Self::of(rule, candidates, level)
    }

    /// A table for every context with data of its own.
    fn by_context(
        rule: &Rule,
        live: &[VariantIndex],
        contexts: &[Context],
        evidence: &Evidence,
        beliefs: &Beliefs,
    ) -> BTreeMap<Context, Arc<Table>> {
        let pools = Pools::of(live, contexts, evidence, beliefs);
        let mut tables = BTreeMap::new();
        for (at, context) in contexts.iter().enumerate() {
            let candidates = live
                .iter()
                .enumerate()
                .map(|(row, variant)| {
                    let own = evidence.cell(*variant, *context);
                    let counts = pools.counts(row, at);
                    Candidate {
                        variant: *variant,
                        posterior: pooled_cell_posterior(
                            &pools.pool(row, at),
                            &own,
                            &beliefs.curve,
                        ),
                        effective_trials: counts.trials,
                        successes: counts.successes,
                    }
                })
                .collect();
            let material = (0..live.len()).any(|row| pools.is_material(row, at));
            let level = if material {
                ChoiceLevel::Segment
            } else {
                ChoiceLevel::Everyone
            };
            if let Some(table) = Self::of(rule, candidates, level) {
                tables.insert(*context, Arc::new(table));
            }
        }
        tables
    }

    fn of(rule: &Rule, candidates: Vec<Candidate>, level: ChoiceLevel) -> Option<Self> {
        let posteriors: Vec<BetaShape> = candidates
            .iter()
            .map(|candidate| candidate.posterior)
            .collect();
        let best = best_arm(&posteriors);
        let arms = Arms {
            posteriors: &posteriors,
            best: &best,
            progress: rule.progress,
        };
        let probabilities = rule.policy_over(&candidates).probabilities(&arms);
        let allocation = Allocation::new(&probabilities, rule.floor)
            .or_else(|_| Allocation::new(&vec![1.0; candidates.len()], 0.0))
            .ok()?;
        Some(Self {
            candidates,
            best,
            allocation,
            level,
        })
    }

    /// Position of a variant among the candidates.
    pub fn position(&self, variant: VariantIndex) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate.variant == variant)
    }
}

fn against_expectation(rows: &[Vec<CellCounts>], levels: &PoolLevels) -> Vec<CellEvidence> {
    let expected =
        |rate: &f64, at: usize| rate * levels.segment_levels.get(at).copied().unwrap_or(1.0);
    rows.iter()
        .zip(&levels.arm_rates)
        .flat_map(|(row, rate)| {
            row.iter()
                .enumerate()
                .map(move |(at, counts)| CellEvidence {
                    counts: *counts,
                    expected_rate: expected(rate, at),
                })
        })
        .collect()
}

#[cfg(test)]
mod tests;
