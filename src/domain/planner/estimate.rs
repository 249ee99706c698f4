//! A mean over draws with its precision and the range that the draws span.
//!
//! Invariant: the same values give the same numbers, in whatever order.
use serde::Serialize;

/// What to expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Forecast {
    /// The mean.
    pub expected: f64,
    /// Standard error of the mean, from the number of draws.
    pub standard_error: f64,
    /// 2.5 % of draws are below.
    pub low: f64,
    /// 2.5 % of draws are above.
    pub high: f64,
}

// === impl Forecast ===

impl Forecast {
    /// Over draws; all 0 without any.
    pub fn over(values: &[f64]) -> Self {
        Self::with_range(values, values)
    }

    /// The mean of some values, and the range of others that scatter about the same mean.
    pub fn with_range(means: &[f64], outcomes: &[f64]) -> Self {
        let n = means.len() as f64;
        let expected = means.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = means.iter().map(|value| (value - expected).powi(2)).sum();
        let mut sorted = outcomes.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| {
            let at = (share * sorted.len() as f64) as usize;
            let last = sorted.len().saturating_sub(1);
            sorted.get(at.min(last)).copied().unwrap_or(0.0)
        };
        Self {
            expected,
            standard_error: (squares / (n - 1.0).max(1.0) / n.max(1.0)).sqrt(),
            low: quantile(0.025),
            high: quantile(0.975),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_holds_all_but_the_tails() {
        let values: Vec<f64> = (0..1_000).map(f64::from).collect();
        let forecast = Forecast::over(&values);
        assert_eq!((forecast.low, forecast.high), (25.0, 975.0));
        assert!((forecast.expected - 499.5).abs() < 1e-9);
        // Standard deviation 288.8 over the root of 1,000.
        assert!(
            (forecast.standard_error - 9.133).abs() < 0.01,
            "{forecast:?}"
        );
        assert_eq!(Forecast::over(&[]), Forecast::default());
    }
}
