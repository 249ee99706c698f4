//! What the quadrature asks of a family of posterior densities.
//!
//! A family lives on an unbounded coordinate `t` on which it is smooth and log-concave (logit for Beta, log for
//! Gamma, the identity for Normal). Shapes, priors and data are left to the callers.

/// Densities are followed down to `exp(-40)` of their peak; the mass beyond is below 1e-16.
pub const LOG_CUT: f64 = 40.0;

/// The stretch of the coordinate outside of which a density is treated as zero; `low < high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Support {
    /// Left end, in units of the coordinate.
    pub low: f64,
    /// Right end, in units of the coordinate.
    pub high: f64,
}

/// A normalised, log-concave density on an unbounded coordinate `t`, and the value that `t` stands for.
pub trait Density {
    /// What all densities of the family share at one abscissa, so that it is computed once for all of them.
    type Node: Copy;

    /// Tabulates the shared terms at coordinate `t`.
    fn node(t: f64) -> Self::Node;

    /// The quantity to be maximised (a rate, a revenue) at a node; increasing in `t`.
    fn value(node: &Self::Node) -> f64;

    /// Natural logarithm of the normalised density with respect to `t`.
    fn log_density(&self, node: &Self::Node) -> f64;

    /// Where the density falls to `exp(-LOG_CUT)` of its peak on either side, or a little outside of it.
    fn support(&self) -> Support;

    /// Coordinate of the peak.
    fn peak(&self) -> f64;

    /// Smallest length over which the density changes its shape; panels are a small multiple of it.
    fn spread(&self) -> f64;

    /// Mean of the value (not of the coordinate).
    fn mean(&self) -> f64;
}

/// Height relative to the peak (in logarithms, at most 0) and its slope, at one offset from the peak.
#[derive(Clone, Copy, Debug)]
pub struct Height {
    /// `ln g(t) - ln g(peak)`.
    pub log: f64,
    /// Derivative of `log` by `t`.
    pub slope: f64,
}

/// Finds by Newton's method where a concave log-density crosses `-LOG_CUT`, from a `start` on the wanted side of the peak.
///
/// On a concave function Newton's iterates approach the root from outside, so stopping early only widens the support.
pub fn edge(start: f64, height: impl Fn(f64) -> Height) -> f64 {
    let mut at = start;
    for _ in 0..64 {
        let here = height(at);
        let excess = here.log + LOG_CUT;
        if (-2.0..=0.0).contains(&excess) || here.slope == 0.0 {
            break;
        }
        at -= excess / here.slope;
    }
    at
}
