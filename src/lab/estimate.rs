//! Numbers with their uncertainty: over repeated runs, or over the units that were drawn.
//!
//! Invariant: the same values and seed give the same interval. What the units are is left to the callers.
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::streams::{Stream, StreamName};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2_000;

/// A mean with its 95 % confidence interval; the interval is not there when there is only one value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// A numerator and a denominator of one unit, whose sums form a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Part of the numerator.
    pub part: f64,
    /// Part of the denominator.
    pub whole: f64,
}

// === impl Estimate ===

impl Estimate {
    /// The mean of independent runs with Student's interval `mean +- t_(0.975, n - 1) s / sqrt(n)`.
    pub fn over_runs(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let half = StudentsT::new(0.0, 1.0, n - 1.0)
            .ok()
            .map(|t| t.inverse_cdf(0.975) * (variance / n).sqrt());
        Self {
            mean,
            low: half.map(|half| mean - half),
            high: half.map(|half| mean + half),
        }
    }

    /// The ratio of sums over units with the percentile bootstrap over units (Efron 1979; 2,000 resamples).
    pub fn over_units(units: &[Share], seed: u64) -> Self {
        let mean = ratio(units.iter());
        let mut stream = Stream::new(StreamName {
            seed,
            world: "units",
            purpose: "bootstrap",
        });
        let mut ratios: Vec<f64> = (0..RESAMPLES)
            .map(|_| ratio((0..units.len()).filter_map(|_| units.get(stream.below(units.len())))))
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| ratios.get((share * RESAMPLES as f64) as usize).copied();
        let some = units.len() > 1;
        Self {
            mean,
            low: quantile(0.025).filter(|_| some),
            high: quantile(0.975).filter(|_| some),
        }
    }

    /// The mean over units with the bootstrap over units.
    pub fn mean_over_units(values: &[f64], seed: u64) -> Self {
        let units: Vec<Share> = values
            .iter()
            .map(|part| Share {
                part: *part,
                whole: 1.0,
            })
            .collect();
        Self::over_units(&units, seed)
    }

    /// A number without an interval.
    pub fn certain(mean: f64) -> Self {
        Self {
            mean,
            low: None,
            high: None,
        }
    }

    /// Everything times a positive factor.
    pub fn times(self, factor: f64) -> Self {
        Self {
            mean: self.mean * factor,
            low: self.low.map(|low| low * factor),
            high: self.high.map(|high| high * factor),
        }
    }
}

fn ratio<'a>(units: impl Iterator<Item = &'a Share>) -> f64 {
    let (part, whole) = units.fold((0.0, 0.0), |(part, whole), unit| {
        (part + unit.part, whole + unit.whole)
    });
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_over_runs_is_students() {
        let estimate = Estimate::over_runs(&[1.0, 2.0, 3.0]);
        // t(0.975, 2) = 4.302653, s = 1.
        let half = 4.302_653 / 3f64.sqrt();
        assert!((estimate.mean - 2.0).abs() < 1e-12);
        assert!(
            (estimate.high.unwrap() - 2.0 - half).abs() < 1e-4,
            "{estimate:?}"
        );
        assert_eq!(Estimate::over_runs(&[1.0]).low, None);
    }

    #[test]
    fn the_bootstrap_agrees_with_the_normal_interval_of_a_mean() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let estimate = Estimate::mean_over_units(&values, 1);
        // Standard deviation of 0..20 is 5.766, of the mean of 400 0.288.
        assert!((estimate.mean - 9.5).abs() < 1e-9);
        assert!(
            (estimate.high.unwrap() - 9.5 - 1.96 * 0.288).abs() < 0.06,
            "{estimate:?}"
        );
        assert_eq!(estimate, Estimate::mean_over_units(&values, 1));
    }
}
