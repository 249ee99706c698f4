//! Counts against probabilities, counts against counts, and counts weighted by inverse propensities.
//!
//! Invariant: bins with fewer than five expected are pooled, as the chi-square distribution needs it.
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Fewest expected in a bin.
const EXPECTED_MIN: f64 = 5.0;
/// Standard errors that a mean may be off.
const ERRORS_MAX: f64 = 3.0;

/// A chi-square test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChiSquare {
    /// The statistic.
    pub statistic: f64,
    /// Its degrees of freedom.
    pub freedom: usize,
    /// Probability of a larger statistic if all is well.
    pub p_value: f64,
}

/// A mean of inverse propensities, which is one if the propensities are right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Weighted {
    /// The mean.
    pub mean: f64,
    /// Its distance from one, in standard errors.
    pub errors: f64,
}

// === impl ChiSquare ===

impl ChiSquare {
    /// Pearson's test of counts against probabilities: `sum (O - E)^2 / E`.
    pub fn against(counts: &[u64], probabilities: &[f64]) -> Self {
        let total = counts.iter().sum::<u64>() as f64;
        let pairs = counts.iter().zip(probabilities);
        let bins = pooled(pairs.map(|(count, p)| (*count as f64, p * total)), |bin| {
            bin.1
        });
        let terms = bins
            .iter()
            .map(|(seen, expected)| (seen - expected).powi(2) / expected);
        Self::of(terms.sum(), bins.len())
    }

    /// The test of two samples for the same distribution: `sum (sqrt(N2/N1) O1 - sqrt(N1/N2) O2)^2 / (O1 + O2)`.
    pub fn between(one: &[u64], other: &[u64]) -> Self {
        let totals = [one, other].map(|counts| counts.iter().sum::<u64>().max(1) as f64);
        let factor = (totals[1] / totals[0]).sqrt();
        let smaller = totals[0].min(totals[1]) / (totals[0] + totals[1]);
        let pairs = one.iter().zip(other).map(|(a, b)| (*a as f64, *b as f64));
        let bins = pooled(pairs, |bin| smaller * (bin.0 + bin.1));
        let terms = bins
            .iter()
            .map(|(a, b)| (factor * a - b / factor).powi(2) / (a + b));
        Self::of(terms.sum(), bins.len())
    }

    fn of(statistic: f64, bins: usize) -> Self {
        let freedom = bins.saturating_sub(1);
        let chi = ChiSquared::new(freedom as f64).ok();
        Self {
            statistic,
            freedom,
            p_value: chi.map_or(1.0, |chi| chi.sf(statistic)),
        }
    }
}

/// Bins with what is expected in them; those with too little go into one.
fn pooled(
    bins: impl Iterator<Item = (f64, f64)>,
    expected: impl Fn(&(f64, f64)) -> f64,
) -> Vec<(f64, f64)> {
    let (mut kept, small): (Vec<_>, Vec<_>) = bins.partition(|bin| expected(bin) >= EXPECTED_MIN);
    let rest = small
        .iter()
        .fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
    if expected(&rest) >= EXPECTED_MIN {
        kept.push(rest);
    } else if let Some(last) = kept.last_mut() {
        *last = (last.0 + rest.0, last.1 + rest.1);
    }
    kept
}

// === impl Weighted ===

impl Weighted {
    /// Mean over draws and arms of `1{a} / p_a`, with standard error from the draws themselves.
    pub fn of(counts: &[u64], propensities: &[f64]) -> Self {
        let arms = counts.len().max(1) as f64;
        let draws = counts.iter().sum::<u64>().max(2) as f64;
        let drawn = || {
            let pairs = counts
                .iter()
                .zip(propensities)
                .filter(|(count, _)| **count > 0);
            pairs.map(|(count, p)| (*count as f64, 1.0 / (arms * p)))
        };
        let mean = drawn().map(|(count, weight)| count * weight).sum::<f64>() / draws;
        let squares: f64 = drawn()
            .map(|(count, weight)| count * (weight - mean).powi(2))
            .sum();
        let error = (squares / (draws - 1.0) / draws).sqrt();
        let errors = if error > 0.0 {
            (mean - 1.0) / error
        } else {
            0.0
        };
        Self { mean, errors }
    }
}

/// Share of the arms whose mean of `1{a} / p_a` is within three standard errors `sqrt((1 - p) / (p n))` of one.
pub fn share_within(counts: &[u64], propensities: &[f64]) -> f64 {
    let draws = counts.iter().sum::<u64>() as f64;
    let within = counts.iter().zip(propensities).filter(|(count, p)| {
        let error = ((1.0 - *p) / (*p * draws)).sqrt();
        (**count as f64 / (draws * *p) - 1.0).abs() <= ERRORS_MAX * error
    });
    within.count() as f64 / counts.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pearsons_statistic_is_by_hand() {
        let test = ChiSquare::against(&[30, 20, 50], &[0.25, 0.25, 0.5]);
        assert!((test.statistic - 2.0).abs() < 1e-12, "{test:?}");
        assert_eq!(test.freedom, 2);
        assert!((test.p_value - (-1.0f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn rare_arms_are_pooled() {
        let test = ChiSquare::against(&[990, 4, 3, 3], &[0.99, 0.004, 0.003, 0.003]);
        assert_eq!(test.freedom, 1);
        assert!(test.statistic < 1e-12, "{test:?}");
    }

    #[test]
    fn samples_of_one_distribution_agree_and_others_do_not() {
        let alike = ChiSquare::between(&[3_000, 7_000], &[310, 690]);
        assert_eq!(alike.freedom, 1);
        assert!(alike.p_value > 0.2, "{alike:?}");
        // (3000 x 600 - 7000 x 400)^2 x 11000 / (10000 x 1000 x 3400 x 7600), the fourfold table's.
        let unlike = ChiSquare::between(&[3_000, 7_000], &[400, 600]);
        assert!((unlike.statistic - 42.569_659).abs() < 1e-5, "{unlike:?}");
    }

    #[test]
    fn the_mean_of_inverse_propensities_is_one_when_they_are_right() {
        let right = Weighted::of(&[250, 750], &[0.25, 0.75]);
        assert!((right.mean - 1.0).abs() < 1e-12 && right.errors.abs() < 1e-9);
        let wrong = Weighted::of(&[400, 600], &[0.25, 0.75]);
        assert!(
            (wrong.mean - 1.2).abs() < 1e-12 && wrong.errors > 3.0,
            "{wrong:?}"
        );
        assert_eq!(share_within(&[250, 750], &[0.25, 0.75]), 1.0);
        assert_eq!(share_within(&[400, 600], &[0.25, 0.75]), 0.0);
    }
}
