//! Distribution function and quantiles of one density, by the same panels as the allocation.
//!
//! Errors are absolute and below 1e-9 (typically 1e-13). Mapping the coordinate to a rate is left to the caller.

use super::density::Density;
use super::legendre::RULE;

/// Panels are at most this many spreads wide.
const PANEL_SPREADS_MAX: f64 = 2.0;

/// Probability that the coordinate lies at or below `t`; absolute error below 1e-9.
pub fn cumulative<D: Density>(density: &D, t: f64) -> f64 {
    let support = density.support();
    if t <= support.low {
        0.0
    } else if t >= support.high {
        1.0
    } else if t <= density.peak() {
        mass(density, support.low, t).clamp(0.0, 1.0)
    } else {
        (1.0 - mass(density, t, support.high)).clamp(0.0, 1.0)
    }
}

/// The coordinate below which the share `p` of the probability lies; `p` in (0, 1). Ends of the support beyond that.
pub fn quantile<D: Density>(density: &D, p: f64) -> f64 {
    let support = density.support();
    let (mut low, mut high) = (support.low, support.high);
    if p <= 0.0 {
        return low;
    }
    if p >= 1.0 {
        return high;
    }
    let mut t = density.peak();
    for _ in 0..100 {
        let excess = cumulative(density, t) - p;
        if excess > 0.0 {
            high = t;
        } else {
            low = t;
        }
        let newton = t - excess / density.log_density(&D::node(t)).exp();
        let next = if newton > low && newton < high {
            newton
        } else {
            f64::midpoint(low, high)
        };
        let step = (next - t).abs();
        t = next;
        if step <= 1e-12 * density.spread() + 2.0 * f64::EPSILON * t.abs() {
            break;
        }
    }
    t
}

/// Integral of the density from `from` to `to`.
fn mass<D: Density>(density: &D, from: f64, to: f64) -> f64 {
    let panels = ((to - from) / (PANEL_SPREADS_MAX * density.spread()))
        .ceil()
        .max(1.0);
    let half = (to - from) / panels / 2.0;
    (0..panels as usize)
        .map(|panel| {
            let centre = from + half * (2.0 * panel as f64 + 1.0);
            half * RULE.integrate(
                &RULE
                    .nodes
                    .map(|x| density.log_density(&D::node(centre + half * x)).exp()),
            )
        })
        .sum()
}
