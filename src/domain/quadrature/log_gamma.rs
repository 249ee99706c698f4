//! The Gamma density on the log axis: smooth and log-concave for every shape, also below 1.
//!
//! Everything is relative to the peak, so nothing cancels at a shape of 1e9. Validity of shape and mean is left to the caller.

use std::f64::consts::PI;

use super::density::{Density, Height, LOG_CUT, Support, edge};
use super::logit_beta::stirling_remainder;

/// A Gamma posterior of a positive value, of shape k and rate r, as a density of `t = ln(value)`.
///
/// `ln f(t) = k t - r e^t + k ln r - ln Gamma(k) = ln f(peak) + k (d - expm1(d))` with `d = t - peak`, `peak = ln(k / r)` and
/// `ln f(peak) = ln(k / (2 pi)) / 2 - D(k)`, D the remainder of Stirling's formula.
#[derive(Clone, Copy, Debug)]
pub struct LogGamma {
    shape: f64,
    peak: f64,
    mean: f64,
    log_height: f64,
}

/// One abscissa: the logarithm of a value, and the value.
#[derive(Clone, Copy, Debug)]
pub struct LogNode {
    log: f64,
    value: f64,
}

// === impl LogGamma ===

impl LogGamma {
    /// The density of the logarithm of a Gamma variable; shape and mean finite and positive.
    pub fn new(shape: f64, mean: f64) -> Self {
        Self {
            shape,
            peak: mean.ln(),
            mean,
            log_height: 0.5 * (shape / (2.0 * PI)).ln() - stirling_remainder(shape),
        }
    }

    /// Height and slope by the offset `d` from the peak.
    fn height(&self, d: f64) -> Height {
        let grown = d.exp_m1();
        Height {
            log: self.shape * (d - grown),
            slope: -self.shape * grown,
        }
    }
}

impl Density for LogGamma {
    type Node = LogNode;

    fn node(t: f64) -> LogNode {
        LogNode {
            log: t,
            value: t.exp(),
        }
    }

    fn value(node: &LogNode) -> f64 {
        node.value
    }

    #[inline]
    fn log_density(&self, node: &LogNode) -> f64 {
        self.log_height + self.height(node.log - self.peak).log
    }

    fn support(&self) -> Support {
        let scale = (2.0 * LOG_CUT / self.shape).sqrt();
        // On the right the logarithm falls like exp(d), where Newton creeps; start near the bend.
        let right = (LOG_CUT / self.shape + scale).ln_1p();
        Support {
            low: self.peak + edge(-scale, |d| self.height(d)),
            high: self.peak + edge(right, |d| self.height(d)),
        }
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn spread(&self) -> f64 {
        self.shape.sqrt().recip().min(1.0)
    }

    fn mean(&self) -> f64 {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_support_ends_where_the_density_has_fallen_by_forty() {
        for shape in [0.25, 1.0, 30.0, 1e5, 1e10] {
            let density = LogGamma::new(shape, 3.0);
            let support = density.support();
            for end in [support.low, support.high] {
                let log = density.height(end - density.peak).log;
                assert!(
                    (-LOG_CUT - 2.1..=-LOG_CUT + 1e-6).contains(&log),
                    "shape {shape} at {end}: {log}"
                );
            }
            assert!(support.low < density.peak && density.peak < support.high);
        }
    }

    #[test]
    fn an_exponential_has_its_textbook_density() {
        let density = LogGamma::new(1.0, 2.0);
        for value in [1e-6, 0.5, 2.0, 20.0f64] {
            // Of the value exp(-v / 2) / 2, of its logarithm v times that.
            let exact = value.ln() - value / 2.0 - 2f64.ln();
            let got = density.log_density(&LogGamma::node(value.ln()));
            assert!((got - exact).abs() < 1e-12, "{value}: {got} for {exact}");
        }
    }
}
