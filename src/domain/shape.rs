//! The Beta distribution of a rate: validated shapes, distribution function, quantiles, credible intervals.
//!
//! Invariant: both shapes are finite and within [`SHAPE_MIN`] to [`SHAPE_MAX`], so that no method can fail.
//! Sound up to the largest shapes, where statrs 0.19's incomplete beta function is not (its issue 434).

use serde::{Deserialize, Serialize};

use crate::domain::quadrature::Arm;
use crate::domain::quadrature::cumulative::{cumulative, quantile};
use crate::domain::quadrature::logit_beta::{LogitBeta, sigmoid};

/// Smallest shape accepted; below it the density on the logit axis has needlessly long tails.
pub const SHAPE_MIN: f64 = 0.25;

/// Largest shape accepted, about the number of trials it stands for.
pub const SHAPE_MAX: f64 = 1e10;

/// Why two numbers are no shapes of a Beta distribution.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// A shape is not finite, or outside of the range.
    #[error("shape {shape} is not within {SHAPE_MIN} to {SHAPE_MAX}")]
    OutOfRange {
        /// The shape given.
        shape: f64,
    },
}

/// An interval of rates or values, `low <= high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Beta(alpha, beta): the posterior of a rate in (0, 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f64, f64)", into = "(f64, f64)")]
pub struct BetaShape {
    alpha: f64,
    beta: f64,
}

// === impl Interval ===

impl Interval {
    /// Whether `rate` lies in the interval, ends included.
    pub fn contains(&self, rate: f64) -> bool {
        (self.low..=self.high).contains(&rate)
    }
}

// === impl BetaShape ===

impl BetaShape {
    /// Accepts finite shapes from [`SHAPE_MIN`] to [`SHAPE_MAX`].
    ///
    /// # Errors
    /// [`ShapeError::OutOfRange`] with the first offending shape.
    pub fn new(alpha: f64, beta: f64) -> Result<Self, ShapeError> {
        match [alpha, beta]
            .into_iter()
            .find(|shape| !(SHAPE_MIN..=SHAPE_MAX).contains(shape))
        {
            Some(shape) => Err(ShapeError::OutOfRange { shape }),
            None => Ok(Self { alpha, beta }),
        }
    }

    /// The nearest valid shapes: scaled down together if one is too large (the mean is kept), then raised to the minimum.
    ///
    /// Shapes that are not numbers become the minimum.
    pub fn clamped(alpha: f64, beta: f64) -> Self {
        let positive = |shape: f64| {
            if shape.is_nan() {
                SHAPE_MIN
            } else {
                shape.clamp(SHAPE_MIN, f64::MAX)
            }
        };
        let (alpha, beta) = (positive(alpha), positive(beta));
        let scale = (SHAPE_MAX / alpha.max(beta)).min(1.0);
        Self {
            alpha: (alpha * scale).clamp(SHAPE_MIN, SHAPE_MAX),
            beta: (beta * scale).clamp(SHAPE_MIN, SHAPE_MAX),
        }
    }

    /// First shape: prior plus observed successes.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Second shape: prior plus observed failures.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// `alpha / (alpha + beta)`.
    pub fn mean(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    /// `m (1 - m) / (alpha + beta + 1)` with the mean m.
    pub fn variance(&self) -> f64 {
        let total = self.alpha + self.beta;
        (self.alpha / total) * (self.beta / total) / (total + 1.0)
    }

    /// Probability that the rate is at most `x`; absolute error below 1e-9. Zero below 0, one above 1.
    pub fn cdf(&self, x: f64) -> f64 {
        if x <= 0.0 {
            0.0
        } else if x >= 1.0 {
            1.0
        } else {
            cumulative(&self.density(), x.ln() - (-x).ln_1p())
        }
    }

    /// The rate below which the share `p` of the probability lies; 0 at or below `p = 0`, 1 at or above `p = 1`.
    pub fn quantile(&self, p: f64) -> f64 {
        if p <= 0.0 {
            0.0
        } else if p >= 1.0 {
            1.0
        } else {
            sigmoid(quantile(&self.density(), p))
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

impl TryFrom<(f64, f64)> for BetaShape {
    type Error = ShapeError;

    fn try_from((alpha, beta): (f64, f64)) -> Result<Self, ShapeError> {
        Self::new(alpha, beta)
    }
}

impl From<BetaShape> for (f64, f64) {
    fn from(shape: BetaShape) -> Self {
        (shape.alpha, shape.beta)
    }
}

impl Arm for BetaShape {
    type Density = LogitBeta;

    fn density(&self) -> LogitBeta {
        LogitBeta::new(self.alpha, self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(alpha: f64, beta: f64) -> BetaShape {
        BetaShape::new(alpha, beta).unwrap()
    }

    #[test]
    fn shapes_out_of_range_are_refused_with_the_offender() {
        for bad in [0.0, 0.2499, -1.0, 1.1e10, f64::INFINITY] {
            assert_eq!(
                BetaShape::new(1.0, bad),
                Err(ShapeError::OutOfRange { shape: bad })
            );
            assert_eq!(
                BetaShape::new(bad, 1.0),
                Err(ShapeError::OutOfRange { shape: bad })
            );
        }
        assert!(BetaShape::new(f64::NAN, 1.0).is_err());
    }

    #[test]
    fn clamping_keeps_the_mean_and_always_gives_a_valid_shape() {
        assert!((BetaShape::clamped(2e11, 8e11).mean() - 0.2).abs() < 1e-15);
        for (alpha, beta) in [
            (f64::NAN, 1.0),
            (f64::INFINITY, 1.0),
            (-3.0, 0.0),
            (f64::INFINITY, f64::INFINITY),
        ] {
            let shape = BetaShape::clamped(alpha, beta);
            assert!(
                BetaShape::new(shape.alpha(), shape.beta()).is_ok(),
                "{alpha}, {beta}: {shape:?}"
            );
        }
    }

    #[test]
    fn the_distribution_function_matches_closed_forms() {
        for x in [1e-9_f64, 0.01, 0.2, 0.5, 0.77, 0.999] {
            let cases = [
                (1.0, 1.0, x),
                (3.0, 1.0, x.powi(3)),
                (1.0, 4.0, 1.0 - (1.0 - x).powi(4)),
                (0.5, 0.5, x.sqrt().asin() * 2.0 / std::f64::consts::PI),
                (0.25, 1.0, x.powf(0.25)),
                (2.0, 3.0, x * x * (6.0 - 8.0 * x + 3.0 * x * x)),
                (1.0, 1e6, -(1e6 * (-x).ln_1p()).exp_m1()),
            ];
            for (alpha, beta, exact) in cases {
                let got = shape(alpha, beta).cdf(x);
                assert!(
                    (got - exact).abs() < 1e-11,
                    "Beta({alpha}, {beta}) at {x}: {got} against {exact}"
                );
            }
        }
    }

    #[test]
    fn half_lies_below_one_half_for_equal_shapes_of_any_size() {
        for size in [0.25, 1.0, 7.0, 1e5, 1e5 + 1.0, 1e6, 1e8, 1e9, 1e10] {
            let got = shape(size, size).cdf(0.5);
            assert!((got - 0.5).abs() < 1e-9, "size {size}: {got}");
        }
    }

    #[test]
    fn a_huge_shape_is_normal_around_its_mean() {
        let posterior = shape(2e8, 8e8);
        let sd = posterior.variance().sqrt();
        assert!((posterior.cdf(0.2 + 1.959_963_984_540_054 * sd) - 0.975).abs() < 1e-5);
        assert!((posterior.cdf(0.2 - 1.959_963_984_540_054 * sd) - 0.025).abs() < 1e-5);
    }

    #[test]
    fn rates_outside_of_zero_to_one_are_certain() {
        assert_eq!(
            (shape(2.0, 3.0).cdf(-1.0), shape(2.0, 3.0).cdf(1.0)),
            (0.0, 1.0)
        );
        assert_eq!(
            (shape(2.0, 3.0).quantile(0.0), shape(2.0, 3.0).quantile(1.0)),
            (0.0, 1.0)
        );
    }

    #[test]
    fn a_credible_interval_leaves_equal_tails() {
        let posterior = shape(12.0, 90.0);
        let interval = posterior.credible_interval(0.9);
        assert!((posterior.cdf(interval.low) - 0.05).abs() < 1e-10);
        assert!((posterior.cdf(interval.high) - 0.95).abs() < 1e-10);
        assert!(interval.contains(posterior.mean()) && !interval.contains(0.9));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_quantile_inverts_the_distribution_function(
            log_alpha in -1.38f64..20.7, log_beta in -1.38f64..20.7, p in 0.001f64..0.999,
        ) {
            let posterior = shape(log_alpha.exp(), log_beta.exp());
            let x = posterior.quantile(p);
            // A rate next to 1 cannot be told from 1; the mirrored posterior holds the same information.
            prop_assume!(x < 0.999_999);
            prop_assert!((posterior.cdf(x) - p).abs() < 1e-8, "{posterior:?} {p} -> {x} -> {}", posterior.cdf(x));
        }

        #[test]
        fn mirrored_shapes_have_mirrored_distributions(
            log_alpha in -1.38f64..20.7, log_beta in -1.38f64..20.7, x in 0.01f64..0.99,
        ) {
            let (alpha, beta) = (log_alpha.exp(), log_beta.exp());
            let both = shape(alpha, beta).cdf(x) + shape(beta, alpha).cdf(1.0 - x);
            // 1 - x is itself rounded, which huge shapes magnify.
            prop_assert!((both - 1.0).abs() < 1e-9, "{both}");
        }
    }
}
