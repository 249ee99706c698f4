//! Worlds to plan for: true rates of the variants, drawn from what is believed and known of them.
//!
//! A campaign's level b is a Beta around the expected rate with a spread of 0.35 in log-odds between campaigns; variants differ from it by
//! Student's t with three degrees of freedom in log-odds (Matias et al. 2021). What is known of a variant weighs its effects by their likelihood.
//! Invariant: without knowledge the mean over worlds and variants is the expected rate.
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use crate::domain::posterior::CellCounts;

use super::Blast;

/// Spread between campaigns of one sender, log-odds (headline tests).
const LEVEL_SD: f64 = 0.35;
/// Effects reach so far, log-odds: 12 times out of odds, and practically never.
const EFFECT_MAX: f64 = 2.5;
/// Steps of the grid of effects.
const EFFECT_STEPS: usize = 500;

/// The worlds of one question.
pub struct Worlds {
    /// Shapes of the level.
    level: (f64, f64),
    /// Keeps the mean of rates at the level though odds are not linear.
    shift: f64,
    effects: Vec<Effect>,
    /// Sums of the effects' weights before data.
    sums: Vec<f64>,
    known: Vec<CellCounts>,
}

struct Effect {
    log_odds: f64,
    /// Logarithm of its weight before data.
    log_weight: f64,
}

// === impl Worlds ===

impl Worlds {
    /// The worlds that a question leaves possible.
    pub fn of(blast: &Blast) -> Self {
        let mean = blast.belief.prior.mean;
        let effects = effects(blast.effect_scale);
        let known: Vec<CellCounts> = blast
            .known
            .iter()
            .map(|exposure| CellCounts::of(exposure, &blast.belief.curve))
            .collect();
        Self {
            level: level(mean, blast.effect_scale, &known),
            shift: shift(mean, &effects),
            sums: running_sums(effects.iter().map(|effect| effect.log_weight.exp())),
            effects,
            known,
        }
    }

    /// The true rates of one world.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> Vec<f64> {
        let (alpha, beta) = self.level;
        let level = Beta::new(alpha, beta).map_or(0.5, |shape| shape.sample(random));
        let log_odds = logit(level.clamp(1e-7, 1.0 - 1e-7)) - self.shift;
        self.known
            .iter()
            .map(|known| sigmoid(log_odds + self.effect(log_odds, known, random)))
            .collect()
    }

    /// One effect, by its weight and the likelihood of what is known; between the points of the grid all are alike.
    fn effect(&self, level: f64, known: &CellCounts, random: &mut ChaCha8Rng) -> f64 {
        let weighed = (known.trials > 0.0).then(|| self.weighed(level, known));
        let sums = weighed.as_ref().unwrap_or(&self.sums);
        let total = sums.last().copied().unwrap_or(0.0);
        let wanted = random.random::<f64>() * total;
        let at = sums.partition_point(|sum| *sum <= wanted);
        let within = (random.random::<f64>() - 0.5) * self.spacing();
        let effect = self.effects.get(at);
        effect.map_or(0.0, |effect| effect.log_odds + within)
    }

    /// Sums of the effects' weights after data.
    fn weighed(&self, level: f64, known: &CellCounts) -> Vec<f64> {
        let (successes, failures) = (known.successes, (known.trials - known.successes).max(0.0));
        let logs: Vec<f64> = self
            .effects
            .iter()
            .map(|effect| {
                let odds = level + effect.log_odds;
                effect.log_weight - successes * softplus(-odds) - failures * softplus(odds)
            })
            .collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        running_sums(logs.iter().map(|log| (log - most).exp()))
    }

    fn spacing(&self) -> f64 {
        match self.effects.as_slice() {
            [one, other, ..] => other.log_odds - one.log_odds,
            _ => 0.0,
        }
    }
}

fn running_sums(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}

/// Student's t with three degrees of freedom and this scale, on a grid; one effect of 0 without spread.
fn effects(scale: f64) -> Vec<Effect> {
    if scale <= 0.0 {
        return vec![Effect {
            log_odds: 0.0,
            log_weight: 0.0,
        }];
    }
    // A narrow spread needs a narrow grid.
    let reach = EFFECT_MAX.min(40.0 * scale);
    (0..=EFFECT_STEPS)
        .map(|step| {
            let log_odds = reach * (2.0 * step as f64 / EFFECT_STEPS as f64 - 1.0);
            let log_weight = -2.0 * (log_odds * log_odds / (3.0 * scale * scale)).ln_1p();
            Effect {
                log_odds,
                log_weight,
            }
        })
        .collect()
}

/// Shapes of the campaign's level: `Beta(kappa m + sum w S, kappa (1 - m) + sum w (n - S))`, kappa for the spread between campaigns and
/// `w = k / (k + n)` with k for the spread within, so that no variant's data count for more than one variant can say of the level.
fn level(mean: f64, effect_scale: f64, known: &[CellCounts]) -> (f64, f64) {
    let concentration = |variance: f64| (1.0 / (variance * mean * (1.0 - mean)) - 1.0).max(2.0);
    let kappa = concentration(LEVEL_SD * LEVEL_SD);
    // The variance of Student's t with three degrees of freedom is three times its squared scale.
    let within = concentration((3.0 * effect_scale * effect_scale).max(1e-6));
    known
        .iter()
        .fold((kappa * mean, kappa * (1.0 - mean)), |(a, b), counts| {
            let weight = within / (within + counts.trials);
            let failures = (counts.trials - counts.successes).max(0.0);
            (a + weight * counts.successes, b + weight * failures)
        })
}

/// By how much log-odds must be lowered so that the mean rate over effects is the mean.
fn shift(mean: f64, effects: &[Effect]) -> f64 {
    let total: f64 = effects.iter().map(|effect| effect.log_weight.exp()).sum();
    let mean_rate = |shift: f64| {
        let rates = effects
            .iter()
            .map(|effect| effect.log_weight.exp() * sigmoid(logit(mean) + effect.log_odds - shift));
        rates.sum::<f64>() / total
    };
    let (mut low, mut high) = (-EFFECT_MAX, EFFECT_MAX);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if mean_rate(middle) > mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn logit(rate: f64) -> f64 {
    (rate / (1.0 - rate)).ln()
}

fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// `ln(1 + exp(x))` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::exposure::Exposure;
    use crate::domain::planner::tests::blast;
    use rand::SeedableRng;

    fn draws(blast: &Blast, count: usize) -> Vec<Vec<f64>> {
        let worlds = Worlds::of(blast);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        (0..count).map(|_| worlds.draw(&mut random)).collect()
    }

    #[test]
    fn without_knowledge_the_mean_rate_is_the_expected_one_and_effects_spread_as_published() {
        let worlds = draws(&blast(3, 10, 1.0), 6_000);
        let mean = worlds.iter().flatten().sum::<f64>() / (3.0 * 6_000.0);
        assert!((mean / 0.2 - 1.0).abs() < 0.02, "{mean}");
        let mut gaps: Vec<f64> = worlds
            .iter()
            .map(|rates| (logit(rates[0]) - logit(rates[1])).abs())
            .collect();
        gaps.sort_unstable_by(f64::total_cmp);
        // The median absolute difference of two t3 is 1.196 of the scale.
        let median = gaps[gaps.len() / 2] / 0.15;
        assert!((1.1..1.3).contains(&median), "{median}");
    }

    #[test]
    fn what_is_known_narrows_the_worlds_to_it() {
        let mut known = blast(2, 10, 1.0);
        known.known[0] = Exposure {
            trials: 40_000.0,
            pending: [0.0; 5],
            successes: 12_000.0,
        };
        let worlds = draws(&known, 500);
        let of = |arm: usize| -> Vec<f64> { worlds.iter().map(|rates| rates[arm]).collect() };
        let spread = |rates: &[f64]| {
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
            (mean, (squares / rates.len() as f64).sqrt())
        };
        let (first, other) = (spread(&of(0)), spread(&of(1)));
        assert!(
            (first.0 - 0.3).abs() < 0.003 && first.1 < 0.004,
            "{first:?}"
        );
        assert!(other.1 > 0.02, "the other one is not known: {other:?}");
        assert!(other.0 > 0.22, "though the level is: {other:?}");
    }
}
