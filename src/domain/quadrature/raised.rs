//! A rate raised by a factor, on the logit axis of its rivals: whether it would still win with so much less.
//!
//! Invariant: never normalised to one; what the factor lifts to or above a rate of one lies outside of the axis and is left to the caller.

use super::density::{Density, Support};
use super::logit_beta::{LogitBeta, LogitNode};

/// The factor squeezes all rates that it lifts close to one into a tail that falls like `exp(-s)`; followed so far.
const TAIL_END: f64 = 40.0;

/// A competitor: a rate as it is, or one raised by a factor.
#[derive(Clone, Copy, Debug)]
pub struct Competitor<D = LogitBeta> {
    density: D,
    /// Logarithm of the factor, at least 0.
    log_factor: f64,
}

// === impl Competitor ===

impl<D: Density<Node = LogitNode>> Competitor<D> {
    /// A rate as it is.
    pub fn plain(density: D) -> Self {
        Self::raised(density, 0.0)
    }

    /// A rate times `exp(log_factor)`; the logarithm must not be negative.
    pub fn raised(density: D, log_factor: f64) -> Self {
        Self {
            density,
            log_factor,
        }
    }

    /// Where the raised rate lies, of the logit of the rate; the end of the axis when it reaches one.
    fn lifted(&self, t: f64) -> f64 {
        let node = LogitBeta::node(t);
        let below_one = node.rate_of_failure() - self.log_factor.exp_m1() * node.rate();
        if below_one > 0.0 {
            (self.log_factor + node.log_rate() - below_one.ln()).min(TAIL_END.max(t))
        } else {
            TAIL_END.max(t)
        }
    }
}

impl<D: Density<Node = LogitNode>> Density for Competitor<D> {
    type Node = LogitNode;

    fn node(t: f64) -> LogitNode {
        LogitBeta::node(t)
    }

    fn value(node: &LogitNode) -> f64 {
        LogitBeta::value(node)
    }

    /// With `x = y / factor` at the raised rate `y`: `ln f(logit x) + ln d(logit x)/d(logit y)`, the latter `(1 - y) / (1 - x)`.
    fn log_density(&self, node: &LogitNode) -> f64 {
        if self.log_factor == 0.0 {
            return self.density.log_density(node);
        }
        // 1 - x, without the cancellation of 1 - y exp(-u) when y is close to one.
        let failure = node.rate_of_failure() - (-self.log_factor).exp_m1() * node.rate();
        let log_failure = failure.ln();
        let t = node.log_rate() - self.log_factor - log_failure;
        self.density.log_density(&LogitBeta::node(t)) + node.log_rate_of_failure() - log_failure
    }

    fn support(&self) -> Support {
        let Support { low, high } = self.density.support();
        if self.log_factor == 0.0 {
            return Support { low, high };
        }
        Support {
            low: self.lifted(low),
            high: self.lifted(high),
        }
    }

    fn peak(&self) -> f64 {
        self.lifted(self.density.peak())
    }

    /// Raising stretches the axis, so nothing becomes sharper.
    fn spread(&self) -> f64 {
        self.density.spread()
    }

    fn mean(&self) -> f64 {
        self.density.mean() * self.log_factor.exp()
    }
}
