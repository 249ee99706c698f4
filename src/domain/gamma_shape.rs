//! The Gamma distribution of a positive value: validated shape and mean, distribution function, quantiles, credible intervals.
//!
//! Invariant: shape and mean are finite and within their limits, so that no method can fail.
use serde::{Deserialize, Serialize};

use crate::domain::quadrature::Arm;
use crate::domain::quadrature::cumulative::quantile;
use crate::domain::quadrature::log_gamma::LogGamma;
use crate::domain::shape::{Interval, SHAPE_MAX, SHAPE_MIN};

/// Smallest mean accepted.
pub const MEAN_MIN: f64 = 1e-12;

/// Largest mean accepted.
pub const MEAN_MAX: f64 = 1e15;

/// Gamma of a shape and a mean: the posterior of a value above 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, f64)", into = "(f64, f64)")]
pub struct GammaShape {
    shape: f64,
    mean: f64,
}

// === impl GammaShape ===

impl GammaShape {
    /// The nearest valid shape and mean; what is no number becomes the minimum.
    pub fn clamped(shape: f64, mean: f64) -> Self {
        let within = |number: f64, low: f64, high: f64| {
            if number.is_nan() {
                low
            } else {
                number.clamp(low, high)
            }
        };
        Self {
            shape: within(shape, SHAPE_MIN, SHAPE_MAX),
            mean: within(mean, MEAN_MIN, MEAN_MAX),
        }
    }

    /// The shape: how many independent events the value is known from.
    pub fn shape(&self) -> f64 {
        self.shape
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// `mean^2 / shape`.
    pub fn variance(&self) -> f64 {
        self.mean * self.mean / self.shape
    }

    /// Probability that the value is at most `x`; absolute error below 1e-9. Zero below 0.
    #[cfg(test)]
    pub(crate) fn cdf(&self, x: f64) -> f64 {
        if x <= 0.0 {
            0.0
        } else {
            crate::domain::quadrature::cumulative::cumulative(&self.density(), x.ln())
        }
    }

    /// The value below which the share `p` of the probability lies; 0 at or below `p = 0`, infinite at or above `p = 1`.
    pub fn quantile(&self, p: f64) -> f64 {
        if p <= 0.0 {
            0.0
        } else if p >= 1.0 {
            f64::INFINITY
        } else {
            quantile(&self.density(), p).exp()
        }
    }

    /// The equal-tailed credible interval that holds the share `mass` (0 to 1) of the probability.
    pub fn credible_interval(&self, mass: f64) -> Interval {
        let tail = (1.0 - mass.clamp(0.0, 1.0)) / 2.0;
        Interval {
            low: self.quantile(tail),
            high: self.quantile(1.0 - tail),
        }
    }
}

impl Arm for GammaShape {
    type Density = LogGamma;

    fn density(&self) -> LogGamma {
        LogGamma::new(self.shape, self.mean)
    }
}

impl From<(f64, f64)> for GammaShape {
    fn from((shape, mean): (f64, f64)) -> Self {
        Self::clamped(shape, mean)
    }
}

impl From<GammaShape> for (f64, f64) {
    fn from(of: GammaShape) -> Self {
        (of.shape, of.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quadrature::best_arm;
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, Gamma};

    #[test]
    fn the_distribution_function_matches_statrs_and_closed_forms() {
        for (shape, mean) in [(0.5, 1.0), (1.0, 3.0), (2.5, 0.01), (40.0, 700.0)] {
            let exact = Gamma::new(shape, shape / mean).unwrap();
            for share in [0.01, 0.3, 1.0, 2.5] {
                let got = GammaShape::clamped(shape, mean).cdf(share * mean);
                assert!(
                    (got - exact.cdf(share * mean)).abs() < 1e-9,
                    "{shape} {share}"
                );
            }
        }
        let exponential = GammaShape::clamped(1.0, 2.0).cdf(2.0);
        assert!((exponential - (1.0 - (-1f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn of_two_exponentials_each_is_larger_in_proportion_to_its_mean() {
        let arms = [(1.0, 3.0), (1.0, 1.0)].map(|(k, m)| GammaShape::clamped(k, m));
        let best = best_arm(&arms);
        assert!((best.probability[0] - 0.75).abs() < 1e-10);
        // E max = 3 + 1 - 1 / (1/3 + 1).
        assert!((best.expected_maximum - 3.25).abs() < 1e-9);
        assert!((best.expected_loss[1] - 2.25).abs() < 1e-9);
    }

    #[test]
    fn a_huge_shape_is_normal_around_its_mean() {
        let posterior = GammaShape::clamped(1e9, 50.0);
        let sd = posterior.variance().sqrt();
        assert!((posterior.cdf(50.0 + 1.959_963_984_540_054 * sd) - 0.975).abs() < 1e-5);
        let twins = best_arm(&[posterior, posterior]);
        assert!((twins.probability[0] - 0.5).abs() < 1e-9);
    }

    #[test]
    fn any_numbers_give_a_valid_shape_also_when_read_back() {
        for odd in [f64::NAN, -1.0, 0.0, f64::INFINITY, 1e300] {
            let shape = GammaShape::clamped(odd, odd);
            assert!(shape.mean() > 0.0 && shape.variance().is_finite());
            let bytes = postcard::to_stdvec(&shape).unwrap();
            assert_eq!(postcard::from_bytes::<GammaShape>(&bytes).unwrap(), shape);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_quantile_inverts_the_distribution_function(
            log_shape in -1.38f64..20.0, log_mean in -10.0f64..10.0, p in 0.001f64..0.999,
        ) {
            let posterior = GammaShape::clamped(log_shape.exp(), log_mean.exp());
            let got = posterior.cdf(posterior.quantile(p));
            prop_assert!((got - p).abs() < 1e-8, "{posterior:?} {p} -> {got}");
        }
    }
}
