//! Change points: whether a variant's rate, or that of all variants alike, became another one, and about when.
//!
//! Invariant: the history is bounded, and what a reported change explains is taken out of it, so that a change is reported once.
//! When to look, and what to do about a change, is left to others.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::half_life::Arrived;
use crate::domain::name::VariantIndex;

/// A change must be so many times (in natural logarithms) likelier than none. Measured without any change, looked at daily:
/// well under one false alarm in 500 days of a variant.
pub const THRESHOLD: f64 = 13.0;

/// Successes to expect on either side of a change before it is considered.
const EXPECTED_MIN: f64 = 5.0;
/// Numbers kept of one experiment, over all variants.
const NUMBERS_MAX: usize = 8_192;
/// Stretches kept at least and at most; beyond them the oldest two become one.
const STRETCHES: (usize, usize) = (8, 64);
/// Stretches from which on their own scatter is believed.
const SCATTER_STRETCHES_MIN: usize = 8;
/// Sweeps between the variants' rates and the common level.
const LEVEL_SWEEPS: usize = 3;

/// A change of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The variant; none when all changed alike.
    pub variant: Option<VariantIndex>,
    /// About when the rate changed, milliseconds since 1970.
    pub changed_at_ms: i64,
    /// When it was noticed, milliseconds since 1970.
    pub noticed_at_ms: i64,
    /// Rate before, 0 to 1.
    pub rate_before: f64,
    /// Rate after, 0 to 1.
    pub rate_after: f64,
}

/// What came in one stretch of time to one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    trials: f32,
    successes: f32,
}

/// What came, stretch by stretch, since each variant's last change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Ends of the stretches, milliseconds since 1970, ascending.
    until_ms: Vec<i64>,
    /// By variant, then by stretch; as many as there are ends.
    counts: Vec<Vec<Count>>,
}

/// Stretches, and the rate that was to be expected in each.
type Part<'a> = (&'a [Arrived], &'a dyn Fn(usize) -> f64);

/// A place where the history may fall into two parts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Split {
    variant: Option<usize>,
    /// Position of the first stretch after it.
    at: usize,
    /// How much likelier two rates are than one, natural logarithm, over the scatter.
    evidence: f64,
    rate_before: f64,
    rate_after: f64,
}

// === impl Count ===

impl Count {
    fn add(&mut self, more: Self) {
        self.trials += more.trials;
        self.successes += more.successes;
    }

    fn wide(self) -> Arrived {
        Arrived {
            trials: f64::from(self.trials),
            successes: f64::from(self.successes),
        }
    }
}

// === impl History ===

impl History {
    /// Adds what came to each variant, in their order, until an instant.
    pub fn add(&mut self, arrived: &[Arrived], until: Timestamp) {
        let stretches = self.until_ms.len();
        while self.counts.len() < arrived.len() {
            self.counts.push(vec![Count::default(); stretches]);
        }
        for (at, counts) in self.counts.iter_mut().enumerate() {
            let came = arrived.get(at).copied().unwrap_or_default();
            counts.push(Count {
                trials: came.trials as f32,
                successes: came.successes as f32,
            });
        }
        self.until_ms.push(until.as_millisecond());
        let most = (NUMBERS_MAX / self.counts.len().max(1)).clamp(STRETCHES.0, STRETCHES.1);
        while self.until_ms.len() > most {
            self.until_ms.remove(0);
            for counts in &mut self.counts {
                let oldest = counts.remove(0);
                if let Some(next) = counts.first_mut() {
                    next.add(oldest);
                }
            }
        }
    }

    /// The clearest change, if any is clear enough; its past is forgotten.
    ///
    /// Generalised likelihood ratio over all places of the change (Lai 1995), for each variant and for the common level; the ratio is
    /// divided by the scatter of the stretches around their rates (quasi-likelihood), so that weekdays are not taken for changes.
    pub fn changed(&mut self, now: Timestamp) -> Option<ChangePoint> {
        let of_variants = (0..self.counts.len()).flat_map(|variant| self.of_variant(variant));
        let splits = of_variants.chain(self.of_level());
        let clearest = splits.max_by(|one, other| one.evidence.total_cmp(&other.evidence))?;
        if clearest.evidence < THRESHOLD {
            return None;
        }
        self.forget(clearest);
        let end_before = clearest.at.checked_sub(1)?;
        Some(ChangePoint {
            variant: clearest.variant.map(|at| VariantIndex(at as u16)),
            changed_at_ms: self.until_ms.get(end_before).copied()?,
            noticed_at_ms: now.as_millisecond(),
            rate_before: clearest.rate_before,
            rate_after: clearest.rate_after,
        })
    }

    fn forget(&mut self, split: Split) {
        for (variant, counts) in self.counts.iter_mut().enumerate() {
            if split.variant.is_none_or(|changed| changed == variant) {
                counts
                    .iter_mut()
                    .take(split.at)
                    .for_each(|count| *count = Count::default());
            }
        }
    }

    /// The clearest split of one variant: `n1 kl(p1, p) + n2 kl(p2, p)` over the scatter.
    fn of_variant(&self, variant: usize) -> Option<Split> {
        let counts: Vec<Arrived> = self.counts.get(variant)?.iter().map(|c| c.wide()).collect();
        let all = total(&counts);
        let pooled = rate(all)?;
        let mut clearest: Option<Split> = None;
        for at in 1..counts.len() {
            let (first, second) = counts.split_at(at);
            let (before, after) = (total(first), total(second));
            if before.trials.min(after.trials) * pooled < EXPECTED_MIN {
                continue;
            }
            let (Some(one), Some(two)) = (rate(before), rate(after)) else {
                continue;
            };
            let ratio =
                before.trials * divergence(one, pooled) + after.trials * divergence(two, pooled);
            if clearest.is_none_or(|known| ratio > known.evidence) {
                clearest = Some(Split {
                    variant: Some(variant),
                    at,
                    evidence: ratio,
                    rate_before: one,
                    rate_after: two,
                });
            }
        }
        let mut split = clearest?;
        let expected = |at: usize| {
            if at < split.at {
                split.rate_before
            } else {
                split.rate_after
            }
        };
        split.evidence /= scatter(&[(counts.as_slice(), &expected)], 2);
        Some(split)
    }

    /// The clearest split of all variants alike: rates `p_k` before and `r p_k` after, Poisson, over the scatter. None below two variants
    /// that have data, where it would be that variant's own.
    fn of_level(&self) -> Option<Split> {
        let rows: Vec<Vec<Arrived>> = self
            .counts
            .iter()
            .map(|counts| counts.iter().map(|count| count.wide()).collect::<Vec<_>>())
            .filter(|counts| total(counts).trials > 0.0)
            .collect();
        if rows.len() < 2 {
            return None;
        }
        let splits = (1..self.until_ms.len()).filter_map(|at| Level::fit(&rows, at));
        let (at, level) =
            splits.max_by(|(_, one), (_, other)| one.ratio.total_cmp(&other.ratio))?;
        let expected: Vec<_> = level
            .rates
            .iter()
            .map(|rate| {
                move |stretch: usize| {
                    if stretch < at {
                        *rate
                    } else {
                        rate * level.factor
                    }
                }
            })
            .collect();
        let parts: Vec<Part<'_>> = rows
            .iter()
            .zip(&expected)
            .map(|(row, expected)| (row.as_slice(), expected as &dyn Fn(usize) -> f64))
            .collect();
        Some(Split {
            variant: None,
            at,
            evidence: level.ratio / scatter(&parts, rows.len() + 1),
            rate_before: level.before,
            rate_after: level.before * level.factor,
        })
    }
}

/// A common change of level fitted to all variants.
struct Level {
    rates: Vec<f64>,
    factor: f64,
    ratio: f64,
    /// Rate of all before.
    before: f64,
}

// === impl Level ===

impl Level {
    fn fit(rows: &[Vec<Arrived>], at: usize) -> Option<(usize, Self)> {
        let halves: Vec<(Arrived, Arrived)> = rows
            .iter()
            .map(|row| {
                let (first, second) = row.split_at(at.min(row.len()));
                (total(first), total(second))
            })
            .collect();
        let sum = |of: &dyn Fn(&(Arrived, Arrived)) -> f64| halves.iter().map(of).sum::<f64>();
        let (came_before, came_after) = (sum(&|h| h.0.successes), sum(&|h| h.1.successes));
        if came_before + came_after <= 0.0 {
            return None;
        }
        let rates_at = |factor: f64| -> Vec<f64> {
            let rate = |(before, after): &(Arrived, Arrived)| {
                (before.successes + after.successes)
                    / (before.trials + factor * after.trials).max(1e-9)
            };
            halves.iter().map(rate).collect()
        };
        let after = |rates: &[f64]| -> f64 {
            rates
                .iter()
                .zip(&halves)
                .map(|(rate, half)| rate * half.1.trials)
                .sum()
        };
        let alike = rates_at(1.0);
        let (expected_before, expected_after) = (
            alike
                .iter()
                .zip(&halves)
                .map(|(rate, half)| rate * half.0.trials)
                .sum::<f64>(),
            after(&alike),
        );
        if expected_before.min(expected_after) < EXPECTED_MIN {
            return None;
        }
        let (mut factor, mut rates) = (1.0, alike.clone());
        for _ in 0..LEVEL_SWEEPS {
            factor = came_after / after(&rates).max(1e-9);
            rates = rates_at(factor);
        }
        // The factor alone cannot push a rate to 0 in the logarithm below.
        let gain = |came: f64, ratio: f64| if came > 0.0 { came * ratio.ln() } else { 0.0 };
        let per_variant: f64 = halves
            .iter()
            .zip(rates.iter().zip(&alike))
            .map(|(half, (rate, alike))| {
                gain(
                    half.0.successes + half.1.successes,
                    rate / alike.max(1e-300),
                )
            })
            .sum();
        let trials_before = sum(&|h| h.0.trials);
        let level = Self {
            ratio: per_variant + gain(came_after, factor),
            rates,
            factor,
            before: came_before / trials_before.max(1e-9),
        };
        Some((at, level))
    }
}

fn total(counts: &[Arrived]) -> Arrived {
    counts
        .iter()
        .fold(Arrived::default(), |sum, count| Arrived {
            trials: sum.trials + count.trials,
            successes: sum.successes + count.successes,
        })
}

/// Successes per trial, strictly between 0 and 1; none without trials.
fn rate(of: Arrived) -> Option<f64> {
    let trials = of.trials.max(of.successes);
    (trials > 0.0).then(|| (of.successes.max(0.0) / trials).clamp(1e-9, 1.0 - 1e-9))
}

/// `kl(p, q)` of two Bernoulli rates strictly between 0 and 1.
fn divergence(p: f64, q: f64) -> f64 {
    p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
}

/// Pearson's `sum (S - n p)^2 / (n p q)` over its degrees of freedom, at least 1; 1 where there are too few stretches to tell.
fn scatter(parts: &[Part<'_>], fitted: usize) -> f64 {
    let (mut squares, mut used) = (0.0, 0_usize);
    for (counts, expected) in parts {
        for (at, count) in counts.iter().enumerate() {
            let p = expected(at).clamp(1e-9, 1.0 - 1e-9);
            let variance = count.trials * p * (1.0 - p);
            // Where less than one success is to be expected, its square says little and scatters much.
            if variance >= 1.0 {
                squares += (count.successes - count.trials * p).powi(2) / variance;
                used += 1;
            }
        }
    }
    if used < fitted + SCATTER_STRETCHES_MIN {
        return 1.0;
    }
    (squares / (used - fitted) as f64).max(1.0)
}

#[cfg(test)]
mod tests;
