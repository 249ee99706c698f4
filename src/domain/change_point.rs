//! Change points: whether a variant's rate, or that of all variants alike, became another one, and about when.
//!
//! Invariant: the history is bounded, and what a reported change explains is taken out of it, so that a change is reported once.
//! When to look, and what to do about a change, is left to others.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::cell::HOUR_MS;
use crate::domain::half_life::Arrived;
use crate::domain::name::VariantIndex;

mod level;

use level::Level;

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
/// A variant is named if its own change explains the history so many times (natural logarithm) better than one of the level: about a
/// thousand times.
const NAMED_OVER_LEVEL: f64 = 7.0;
/// Longest stretch that belongs to one day of the week, milliseconds.
const DAY_MAX_MS: i64 = 36 * HOUR_MS;
/// Days of every weekday from which on the rhythm of the week is known; before, no change can be told from a weekend.
const WEEKS_MIN: usize = 2;

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
    /// Generalised likelihood ratio over all places of the change (Lai 1995), for each variant and for the common level, after the rhythm of
    /// the week is taken out; the ratio is divided by the scatter of the stretches around their rates (quasi-likelihood). What changed
    /// about the same day for all alike is a change of the level: a variant is named only for what the level does not explain.
    pub fn changed(&mut self, now: Timestamp) -> Option<ChangePoint> {
        let rows = self.without_rhythm()?;
        let level = of_level(&rows, self.until_ms.len());
        let of_variants = rows.iter().enumerate();
        let variant = of_variants
            .filter_map(|(at, row)| of_variant(at, row))
            .max_by(|one, other| one.evidence.total_cmp(&other.evidence));
        let explained = level.map_or(f64::NEG_INFINITY, |level| level.evidence);
        let named = variant.filter(|split| split.evidence >= explained + NAMED_OVER_LEVEL);
        let clearest = named
            .or(level)
            .filter(|split| split.evidence >= THRESHOLD)?;
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

    /// The day of the week of each stretch, 0 to 6; none for the first, whose beginning is not known, and for longer ones.
    fn weekdays(&self) -> Vec<Option<usize>> {
        let ends = self.until_ms.iter();
        let begins = std::iter::once(None).chain(self.until_ms.iter().copied().map(Some));
        let weekday = |(begin, end): (Option<i64>, &i64)| {
            let length = end.saturating_sub(begin?);
            let middle = end.saturating_sub(length / 2);
            (length <= DAY_MAX_MS).then(|| middle.div_euclid(24 * HOUR_MS).rem_euclid(7) as usize)
        };
        begins.zip(ends).map(weekday).collect()
    }

    /// What came to each variant, with trials worth what their weekday is: `n w_d`, `w_d = sum S / sum n_k p_k` over all variants' days of
    /// that weekday. None while some weekday has been seen less than twice.
    fn without_rhythm(&self) -> Option<Vec<Vec<Arrived>>> {
        let wide = |counts: &Vec<Count>| counts.iter().map(|count| count.wide()).collect();
        let mut rows: Vec<Vec<Arrived>> = self.counts.iter().map(wide).collect();
        let weekdays = self.weekdays();
        let mut days = [(0_usize, 0.0, 0.0); 7];
        for (stretch, weekday) in weekdays.iter().enumerate() {
            let Some((seen, came, expected)) = weekday.and_then(|day| days.get_mut(day)) else {
                continue;
            };
            let mut any = false;
            for row in &rows {
                let (Some(count), Some(rate)) = (row.get(stretch), rate(total(row))) else {
                    continue;
                };
                any |= count.trials > 0.0;
                *came += count.successes;
                *expected += count.trials * rate;
            }
            *seen += usize::from(any);
        }
        let daily = weekdays.iter().any(Option::is_some);
        if daily && days.iter().any(|(seen, ..)| *seen < WEEKS_MIN) {
            return None;
        }
        for row in &mut rows {
            for (count, weekday) in row.iter_mut().zip(&weekdays) {
                let day = weekday.and_then(|day| days.get(day));
                if let Some((_, came, expected)) = day.filter(|(_, came, _)| *came > 0.0) {
                    count.trials *= came / expected.max(1e-9);
                }
            }
        }
        Some(rows)
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
}

/// The clearest split of one variant: `n1 kl(p1, p) + n2 kl(p2, p)` over the scatter.
fn of_variant(variant: usize, counts: &[Arrived]) -> Option<Split> {
    let pooled = rate(total(counts))?;
    let split_at = |at: usize| -> Option<Split> {
        let (first, second) = counts.split_at_checked(at)?;
        let (before, after) = (total(first), total(second));
        if before.trials.min(after.trials) * pooled < EXPECTED_MIN {
            return None;
        }
        let (one, two) = (rate(before)?, rate(after)?);
        Some(Split {
            variant: Some(variant),
            at,
            evidence: before.trials * divergence(one, pooled)
                + after.trials * divergence(two, pooled),
            rate_before: one,
            rate_after: two,
        })
    };
    let mut split = (1..counts.len())
        .filter_map(split_at)
        .max_by(|one, other| one.evidence.total_cmp(&other.evidence))?;
    let expected = |at: usize| {
        if at < split.at {
            split.rate_before
        } else {
            split.rate_after
        }
    };
    let scatter = scatter(&[(counts, &expected)], 2);
    split.evidence /= scatter;
    Some(split)
}

/// The clearest split of all variants alike: rates `p_k` before and `r p_k` after, Poisson, over the scatter. None below two variants
/// that have data, where it would be that variant's own.
fn of_level(rows: &[Vec<Arrived>], stretches: usize) -> Option<Split> {
    let rows: Vec<&[Arrived]> = rows
        .iter()
        .map(Vec::as_slice)
        .filter(|row| total(row).trials > 0.0)
        .collect();
    if rows.len() < 2 {
        return None;
    }
    let splits = (1..stretches).filter_map(|at| Some((at, Level::fit(&rows, at)?)));
    let (at, level) = splits.max_by(|(_, one), (_, other)| one.ratio.total_cmp(&other.ratio))?;
    let factor = level.factor;
    let expected = |rate: &f64| {
        let rate = *rate;
        move |stretch: usize| if stretch < at { rate } else { rate * factor }
    };
    let expected: Vec<_> = level.rates.iter().map(expected).collect();
    let parts: Vec<Part<'_>> = rows
        .iter()
        .zip(&expected)
        .map(|(row, expected)| (*row, expected as &dyn Fn(usize) -> f64))
        .collect();
    Some(Split {
        variant: None,
        at,
        evidence: level.ratio / scatter(&parts, rows.len() + 1),
        rate_before: level.before,
        rate_after: level.before * level.factor,
    })
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
