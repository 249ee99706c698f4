//! Partial pooling of cells: a cell leans on its variant's pooled rate and its segment's level as far as data allow.
//!
//! Invariant: without evidence that cells differ they answer alike, and no cell is more certain than the pool that
//! supports it. Loading the cells and deciding are left to others.

use super::{MEAN_MARGIN, Prior, posterior};
use crate::domain::delay::DelayCurve;
use crate::domain::exposure::Exposure;
use crate::domain::shape::BetaShape;

/// Smallest concentration: a cell's prior is worth at least so many trials.
pub const KAPPA_MIN: f64 = 50.0;

/// Largest concentration; a cap of 2,000 costs 1.8 times the regret when segments do not differ (measured).
pub const KAPPA_MAX: f64 = 20_000.0;

/// Concentration before there is evidence.
pub const KAPPA_START: f64 = 1_000.0;

/// The starting value counts as so many cells in the estimate of the concentration.
const KAPPA_START_CELLS: f64 = 10.0;

/// Pseudo-successes, observed and expected, that hold a segment's level at one; also the least support of a cell's pool.
const LEVEL_WEIGHT: f64 = 10.0;

/// Alternating sweeps between variants' rates and segments' levels.
const LEVEL_SWEEPS: usize = 4;

/// Standard deviation of variants' effects in log-odds: the Upworthy archive (Matias et al. 2021), heavy-tailed.
const EFFECT_SD: f64 = 0.15;

/// Spread of variants in log-odds that decisions allow for: wider than in reports; 0.15 to 1 decide alike (measured on real headlines).
const DECIDING_EFFECT_SD: f64 = 0.25;

/// Trials the expected rate is worth in a campaign's deciding mean.
const DECIDING_MEAN_WEIGHT: f64 = 10.0;

/// Trials the tenant's own rate is worth in a campaign's reporting mean.
const REPORTING_MEAN_WEIGHT: f64 = 30.0;

/// Effective trials and successes of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellCounts {
    /// Effective trials.
    pub trials: f64,
    /// Successes.
    pub successes: f64,
}

impl CellCounts {
    /// Effective trials and successes of an exposure. A success is a trial that has been answered, however young, so there are never fewer
    /// trials than successes.
    pub fn of(exposure: &Exposure, curve: &DelayCurve) -> Self {
        let successes = exposure.successes.max(0.0);
        Self {
            trials: exposure.effective_trials(curve).max(successes),
            successes,
        }
    }
}

/// One cell against what was expected of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellEvidence {
    /// Effective trials and successes.
    pub counts: CellCounts,
    /// Rate expected from the pool, 0 to 1.
    pub expected_rate: f64,
}

/// What a cell's prior is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellPool {
    /// The variant's rate over all segments, standardised for their mix.
    pub arm_rate: f64,
    /// Effective trials of the variant over all segments, this cell included.
    pub arm_trials: f64,
    /// How much more (above 1) or less the cell's segment responds than expected.
    pub segment_level: f64,
    /// Concentration of cells around their expectation, in trials.
    pub kappa: f64,
}

/// Rates of the variants and levels of the segments, in the order of the cells they were fitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLevels {
    /// Pooled rate per variant, standardised for its mix of segments.
    pub arm_rates: Vec<f64>,
    /// Level per segment; 1 is average.
    pub segment_levels: Vec<f64>,
}

/// A cell's posterior from its own data and the pool: the prior is `Beta` of mean `mu_k r_s` and weight
/// `kappa_eff = 1 / (1/kappa + 1/(n_k - n_sk + 10))`.
pub fn pooled_cell_posterior(pool: &CellPool, cell: &Exposure, curve: &DelayCurve) -> BetaShape {
    let others = (pool.arm_trials - cell.effective_trials(curve)).max(0.0);
    let weight = 1.0 / (1.0 / pool.kappa.max(1.0) + 1.0 / (others + LEVEL_WEIGHT));
    posterior(
        Prior {
            mean: pool.arm_rate * pool.segment_level,
            weight,
        },
        cell,
        curve,
    )
}

/// Fits rates and levels to `cells[variant][segment]` by indirect standardisation in four alternating sweeps:
/// `mu_k = (a0 + sum_s S_sk) / (w0 + sum_s n_sk r_s)`, `r_s = (O_s + 10) / (E_s + 10)` with `E_s = sum_k n_sk mu_k`.
///
/// One prior per variant, which gives a0 and w0. Missing cells count as empty.
pub fn pool_levels(cells: &[Vec<CellCounts>], priors: &[Prior]) -> PoolLevels {
    let segments = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut segment_levels = vec![1.0; segments];
    let mut arm_rates = Vec::new();
    for _ in 0..LEVEL_SWEEPS {
        arm_rates = cells
            .iter()
            .zip(priors)
            .map(|(row, prior)| arm_rate(row, &segment_levels, *prior))
            .collect();
        segment_levels = (0..segments)
            .map(|segment| segment_level(cells, segment, &arm_rates))
            .collect();
    }
    PoolLevels {
        arm_rates,
        segment_levels,
    }
}

fn arm_rate(row: &[CellCounts], segment_levels: &[f64], prior: Prior) -> f64 {
    let successes: f64 = row.iter().map(|cell| cell.successes).sum();
    let expected: f64 = row
        .iter()
        .zip(segment_levels)
        .map(|(cell, level)| cell.trials * level)
        .sum();
    let total = expected + prior.weight.max(0.0);
    let rate = if total > 0.0 {
        (successes + prior.successes()) / total
    } else {
        prior.mean
    };
    rate.clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN)
}

fn segment_level(cells: &[Vec<CellCounts>], segment: usize, arm_rates: &[f64]) -> f64 {
    let (mut observed, mut expected) = (LEVEL_WEIGHT, LEVEL_WEIGHT);
    for (row, rate) in cells.iter().zip(arm_rates) {
        if let Some(cell) = row.get(segment) {
            observed += cell.successes;
            expected += cell.trials * rate;
        }
    }
    observed / expected
}

/// Concentration kappa of cells around their expected rates, in trials, between [`KAPPA_MIN`] and [`KAPPA_MAX`].
///
/// Moments of the beta-binomial: `E (S - n p)^2 = n p q (1 + (n - 1)/(kappa + 1))`, so
/// `rho = (sum e^2/(p q) - d sum n) / sum n (n - 1)` and `kappa = 1/rho - 1`, where d = 1 - fitted/cells corrects for
/// the number of parameters fitted to the same cells. Its logarithm is shrunk to that of [`KAPPA_START`] by ten cells.
pub fn estimate_kappa(cells: &[CellEvidence], fitted_parameters: usize) -> f64 {
    let (mut used, mut squares, mut trials, mut pairs) = (0.0, 0.0, 0.0, 0.0);
    for cell in cells.iter().filter(|cell| cell.counts.trials > 1.0) {
        let (n, p) = (
            cell.counts.trials,
            cell.expected_rate.clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN),
        );
        used += 1.0;
        squares += (cell.counts.successes - n * p).powi(2) / (p * (1.0 - p));
        trials += n;
        pairs += n * (n - 1.0);
    }
    if used == 0.0 {
        return KAPPA_START;
    }
    let freedom = (1.0 - fitted_parameters as f64 / used).max(0.0);
    let rho = ((squares - freedom * trials) / pairs)
        .clamp(1.0 / (KAPPA_MAX + 1.0), 1.0 / (KAPPA_MIN + 1.0));
    let moment = 1.0 / rho - 1.0;
    let log =
        (used * moment.ln() + KAPPA_START_CELLS * KAPPA_START.ln()) / (used + KAPPA_START_CELLS);
    log.exp().clamp(KAPPA_MIN, KAPPA_MAX)
}

/// Weight of the reporting prior at a mean rate m: `1 / (tau^2 m (1 - m)) - 1`, tau the spread of effects in log-odds.
///
/// About 258 at 22 %. Too strong to decide with, but a raw winner's advantage is about twice the true one (Upworthy).
pub fn reporting_kappa(mean_rate: f64) -> f64 {
    spread_kappa(EFFECT_SD, mean_rate)
}

/// Concentration of a Beta of this mean whose standard deviation in log-odds is about `sd`: `1 / (sd^2 m (1 - m)) - 1`, at least 0.5.
pub fn spread_kappa(sd: f64, mean_rate: f64) -> f64 {
    let m = mean_rate.clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN);
    (1.0 / (sd * sd * m * (1.0 - m)) - 1.0).max(0.5)
}

/// The empirical-Bayes prior for reporting a campaign, centred on the campaign's own pooled mean
/// `(30 m + sum_k w_k S_k) / (30 + sum_k w_k n_k)` with `w_k = kappa / (kappa + n_k)` and the tenant's rate m.
pub fn reporting_prior(tenant_rate: f64, variants: &[CellCounts]) -> Prior {
    let weight = reporting_kappa(tenant_rate);
    let (mut successes, mut trials) = (REPORTING_MEAN_WEIGHT * tenant_rate, REPORTING_MEAN_WEIGHT);
    for variant in variants {
        let share = weight / (weight + variant.trials.max(0.0));
        successes += share * variant.successes;
        trials += share * variant.trials.max(0.0);
    }
    let mean = (successes / trials).clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN);
    Prior {
        mean,
        weight: reporting_kappa(mean),
    }
}

/// The prior a campaign decides with: its own level m, and variants spread around it with tau = 0.25 in log-odds.
///
/// `kappa = max(2, 1 / (tau^2 m (1 - m)) - 1)`, `m = (w m_0 + sum_k w_k S_k) / (w + sum_k w_k n_k)`, `w_k = kappa / (kappa + n_k)`, two sweeps from
/// the pooled rate; m_0 is the expected rate, w = 10. Variants of one campaign share a level, so a common start costs nothing and saves early sends.
pub fn campaign_prior(expected_rate: f64, variants: &[CellCounts]) -> Prior {
    let mean = |weight_of: &dyn Fn(f64) -> f64| {
        let (mut successes, mut trials) =
            (DECIDING_MEAN_WEIGHT * expected_rate, DECIDING_MEAN_WEIGHT);
        for variant in variants {
            let weight = weight_of(variant.trials.max(0.0));
            successes += weight * variant.successes.max(0.0);
            trials += weight * variant.trials.max(0.0);
        }
        (successes / trials).clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN)
    };
    let kappa =
        |m: f64| (1.0 / (DECIDING_EFFECT_SD * DECIDING_EFFECT_SD * m * (1.0 - m)) - 1.0).max(2.0);
    let mut m = mean(&|_| 1.0);
    for _ in 0..2 {
        let kappa = kappa(m);
        m = mean(&|trials| kappa / (kappa + trials));
    }
    Prior {
        mean: m,
        weight: kappa(m),
    }
}

#[cfg(test)]
mod tests;
