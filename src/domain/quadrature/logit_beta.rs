//! The Beta density on the logit axis: smooth and log-concave for every pair of shapes, also below 1.
//!
//! No differences of log-gammas, so nothing cancels at 1e9. Validity of the shapes is left to the caller.

use std::f64::consts::PI;

use super::density::{Density, Height, LOG_CUT, Support, edge};

/// Up to this smaller shape the tabulated softplus form is exact to 1e-11 and needs one exponential per node.
const TABULATED_SHAPE_MAX: f64 = 1e5;

/// A Beta(alpha, beta) posterior of a rate as a density of `t = logit(rate)`.
///
/// By symmetry everything is expressed for the smaller shape `k` with `r = k/n <= 1/2` and the mirrored axis
/// `e = sign (t - t0)`: `ln g = k e - n ln(1 + r expm1(e))`, whose argument of the logarithm never falls below 1/2.
#[derive(Clone, Copy, Debug)]
pub struct LogitBeta {
    smaller: f64,
    total: f64,
    sign: f64,
    peak: f64,
    spread: f64,
    mean: f64,
    log_height: f64,
    tabulated_offset: Option<f64>,
}

/// Terms shared by all Beta densities at one logit.
#[derive(Clone, Copy, Debug)]
pub struct LogitNode {
    logit: f64,
    softplus: f64,
    softplus_mirrored: f64,
    rate: f64,
}

// === impl LogitNode ===

impl LogitNode {
    /// The rate here.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// One minus the rate, exact also where the rate is close to one.
    pub(super) fn rate_of_failure(&self) -> f64 {
        sigmoid(-self.logit)
    }

    /// Logarithm of the rate.
    pub(super) fn log_rate(&self) -> f64 {
        -self.softplus_mirrored
    }

    /// Logarithm of one minus the rate.
    pub(super) fn log_rate_of_failure(&self) -> f64 {
        -self.softplus
    }
}

// === impl LogitBeta ===

impl LogitBeta {
    /// The density of the logit of a Beta(alpha, beta) variable; both shapes finite and positive.
    pub fn new(alpha: f64, beta: f64) -> Self {
        let total = alpha + beta;
        let (smaller, sign) = if alpha <= beta {
            (alpha, 1.0)
        } else {
            (beta, -1.0)
        };
        let peak = (alpha / beta).ln();
        let sd = (1.0 / alpha + 1.0 / beta).sqrt();
        // The integral of g: Stirling's formula for the Beta function, with its remainders.
        let log_norm = 0.5 * (2.0 * PI * (total / alpha) / beta).ln()
            + stirling_remainder(alpha)
            + stirling_remainder(beta)
            - stirling_remainder(total);
        let tabulated_offset = (smaller <= TABULATED_SHAPE_MAX)
            .then(|| total * softplus(sign * peak) - smaller * sign * peak - log_norm);
        Self {
            smaller,
            total,
            sign,
            peak,
            // A small shape has a long flat tail on one side but a bend of length one on the other.
            spread: sd.min(1.0),
            mean: alpha / total,
            log_height: -log_norm,
            tabulated_offset,
        }
    }

    /// Height and slope by the mirrored offset `e` from the peak.
    fn height(&self, e: f64) -> Height {
        let share = self.smaller / self.total;
        let grown = share * e.exp_m1();
        Height {
            log: self.smaller * e - self.total * grown.ln_1p(),
            slope: self.smaller - self.total * (share + grown) / (1.0 + grown),
        }
    }
}

impl Density for LogitBeta {
    type Node = LogitNode;

    fn node(t: f64) -> LogitNode {
        let softplus_here = softplus(t);
        LogitNode {
            logit: t,
            softplus: softplus_here,
            softplus_mirrored: softplus(-t),
            rate: sigmoid(t),
        }
    }

    fn value(node: &LogitNode) -> f64 {
        node.rate
    }

    #[inline]
    fn log_density(&self, node: &LogitNode) -> f64 {
        match self.tabulated_offset {
            Some(offset) => {
                let softplus = if self.sign > 0.0 {
                    node.softplus
                } else {
                    node.softplus_mirrored
                };
                offset + self.smaller * self.sign * node.logit - self.total * softplus
            }
            None => self.log_height + self.height(self.sign * (node.logit - self.peak)).log,
        }
    }

    fn support(&self) -> Support {
        let scale = (2.0 * LOG_CUT / self.smaller).sqrt();
        let falling = edge(-scale, |e| self.height(e));
        // On this side the logarithm falls like exp(e) for small shapes, where Newton creeps; start near the bend.
        let rising = edge((LOG_CUT / self.smaller + scale).ln_1p(), |e| self.height(e));
        if self.sign > 0.0 {
            Support {
                low: self.peak + falling,
                high: self.peak + rising,
            }
        } else {
            Support {
                low: self.peak - rising,
                high: self.peak - falling,
            }
        }
    }

    fn peak(&self) -> f64 {
        self.peak
    }

    fn spread(&self) -> f64 {
        self.spread
    }

    fn mean(&self) -> f64 {
        self.mean
    }
}

/// `1 / (1 + exp(-t))` without overflow.
pub fn sigmoid(t: f64) -> f64 {
    if t >= 0.0 {
        1.0 / (1.0 + (-t).exp())
    } else {
        let odds = t.exp();
        odds / (1.0 + odds)
    }
}

/// `ln(1 + exp(t))` with full relative precision on both sides.
fn softplus(t: f64) -> f64 {
    if t > 0.0 {
        t + (-t).exp().ln_1p()
    } else {
        t.exp().ln_1p()
    }
}

/// `ln Gamma(z) - ((z - 1/2) ln z - z + ln(2 pi)/2)` for positive `z`, to 1e-15 (Abramowitz and Stegun 6.1.41; below
/// 10 shifted up by the recurrence of Gamma).
pub(super) fn stirling_remainder(z: f64) -> f64 {
    let mut shifted = z;
    let mut correction = 0.0;
    while shifted < 10.0 {
        // D(z) - D(z + 1) = (z + 1/2) ln(1 + 1/z) - 1.
        correction += (shifted + 0.5) * (1.0 / shifted).ln_1p() - 1.0;
        shifted += 1.0;
    }
    let inverse = 1.0 / shifted;
    let square = inverse * inverse;
    let series = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
    ];
    correction
        + inverse
            * series
                .iter()
                .rev()
                .fold(0.0, |sum, term| sum * square + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_matches_known_factorials() {
        let two_pi_half_log = 0.5 * (2.0 * PI).ln();
        for (z, log_gamma) in [
            (0.25, 1.288_022_524_698_077_5),
            (1.0, 0.0),
            (5.0, 24f64.ln()),
            (11.0, 3_628_800f64.ln()),
        ] {
            let stirling = (z - 0.5) * f64::ln(z) - z + two_pi_half_log;
            assert!(
                (stirling + stirling_remainder(z) - log_gamma).abs() < 1e-14,
                "z = {z}"
            );
        }
    }

    #[test]
    fn both_forms_of_the_density_agree_where_they_meet() {
        for (alpha, beta) in [
            (99_999.0, 450_000.0),
            (450_000.0, 99_999.0),
            (0.25, 1e10),
            (3.0, 0.25),
        ] {
            let density = LogitBeta::new(alpha, beta);
            let plain = LogitBeta {
                tabulated_offset: None,
                ..density
            };
            for step in -5..=5 {
                let node = LogitBeta::node(density.peak() + f64::from(step) * density.spread());
                let difference = density.log_density(&node) - plain.log_density(&node);
                assert!(
                    difference.abs() < 1e-9,
                    "Beta({alpha}, {beta}) at {step}: {difference}"
                );
            }
        }
    }

    #[test]
    fn the_support_ends_where_the_density_has_fallen_by_forty() {
        for (alpha, beta) in [
            (0.25, 0.25),
            (0.25, 1e10),
            (1e10, 0.25),
            (1e10, 1e10),
            (2.0, 8.0),
            (200.0, 9_800.0),
        ] {
            let density = LogitBeta::new(alpha, beta);
            let support = density.support();
            for end in [support.low, support.high] {
                let log = density.height(density.sign * (end - density.peak)).log;
                assert!(
                    (-LOG_CUT - 2.1..=-LOG_CUT + 1e-6).contains(&log),
                    "Beta({alpha}, {beta}) at {end}: {log}"
                );
            }
            assert!(support.low < density.peak && density.peak < support.high);
        }
    }
}
