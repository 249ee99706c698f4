//! Exact probabilities of being the best arm, by quadrature on a shared grid.
//!
//! Invariant: probabilities are within 1e-9 of the truth and sum to one. One pass also gives the expected maximum and
//! each arm's expected loss. Which posterior an arm has, and what is done with the answer, is left to others.

pub mod cumulative;
pub mod density;
pub mod legendre;
pub mod log_gamma;
pub mod logit_beta;
pub mod raised;

use density::{Density, Support};
use legendre::{NODES, PerNode, RULE};

/// Panels are at most this many spreads of the sharpest density in them; at 3 one in some thousand sets misses 1e-9.
const PANEL_SPREADS_MAX: f64 = 2.0;

/// With more arms than this, the highest of them is spread less than any one of them, and panels are narrower.
const FULL_PANELS_ARMS_MAX: f64 = 30.0;

/// The walk ends once the probability that the maximum lies further left has fallen to this.
const REMAINDER_MAX: f64 = 1e-13;

/// Something with a posterior of its value: the quadrature's view of an arm.
pub trait Arm {
    /// The family of its posterior.
    type Density: Density;

    /// Its posterior on the family's coordinate.
    fn density(&self) -> Self::Density;
}

/// What the posteriors of several arms say about which is best; vectors are in the order of the arms.
#[derive(Clone, Debug, PartialEq)]
pub struct BestArm {
    /// Probability that each arm has the highest value; sums to one.
    pub probability: Vec<f64>,
    /// How much value is expected to be lost by choosing each arm for good; in units of the value, not negative.
    pub expected_loss: Vec<f64>,
    /// Posterior expectation of the highest value among the arms; zero without arms.
    pub expected_maximum: f64,
}

/// Computes the probability that each arm is best, `P_i = integral of f_i(t) prod_{j != i} F_j(t) dt`, and the losses.
///
/// All arms share one grid of Gauss-Legendre panels, walked from the right so that the distribution functions come
/// from the densities by spectral integration, and the walk ends as soon as `prod_j F_j` vanishes. Products over the
/// other arms are prefix times suffix products. Cost is O(arms x nodes).
pub fn best_arm<A: Arm>(arms: &[A]) -> BestArm {
    let densities: Vec<A::Density> = arms.iter().map(Arm::density).collect();
    best_of(&densities, panel_spreads_max(arms.len()))
}

/// The maximum of K normal values has a standard deviation of about `1 / sqrt(2 ln K)`; panels follow it from 30 arms on.
fn panel_spreads_max(arms: usize) -> f64 {
    let narrower = FULL_PANELS_ARMS_MAX.ln() / (arms as f64).max(FULL_PANELS_ARMS_MAX).ln();
    PANEL_SPREADS_MAX * narrower.sqrt()
}

/// Probability that the first of several values is the highest, `integral of f_0(t) prod_{j > 0} F_j(t) dt`; zero without any.
///
/// The first density may fall short of one: what it lacks is not counted.
pub fn chance_of_first<D: Density>(densities: &[D]) -> f64 {
    if densities.is_empty() {
        return 0.0;
    }
    let mut walk = Walk::new(densities, 0.0);
    walk.run(panel_spreads_max(densities.len()));
    let first = walk.arms.iter().find(|arm| arm.index == 0);
    first.map_or(0.0, |arm| arm.probability.clamp(0.0, 1.0))
}

fn best_of<D: Density>(densities: &[D], spreads_max: f64) -> BestArm {
    let highest_mean = densities
        .iter()
        .map(D::mean)
        .fold(f64::NEG_INFINITY, f64::max);
    if densities.len() < 2 {
        return BestArm {
            probability: vec![1.0; densities.len()],
            expected_loss: vec![0.0; densities.len()],
            expected_maximum: densities.first().map_or(0.0, D::mean),
        };
    }
    let mut walk = Walk::new(densities, highest_mean);
    walk.run(spreads_max);
    walk.finish()
}

/// An arm in the order in which the walk meets it, with what has been summed for it so far.
struct Walker<'a, D> {
    index: usize,
    density: &'a D,
    support: Support,
    /// The smallest spread among this arm and those met before it.
    sharpest: f64,
    /// Probability to the right of the walk.
    survival: f64,
    probability: f64,
}

/// Values at the nodes of one panel for one arm.
struct PanelRow {
    density: PerNode,
    cumulative: PerNode,
    /// Product of the distribution functions of the arms before this one.
    prefix: PerNode,
}

/// The walk over the panels from right to left.
struct Walk<'a, D> {
    /// Sorted by the right end of their supports, highest first: the arms met so far are always a prefix.
    arms: Vec<Walker<'a, D>>,
    rows: Vec<PanelRow>,
    /// Left end of the region: below it at least one arm is certainly higher.
    low: f64,
    reference: f64,
    /// Expectation of the maximum above `reference`, so that large common values do not cancel.
    gain: f64,
}

// === impl Walk ===

impl<'a, D: Density> Walk<'a, D> {
    fn new(densities: &'a [D], reference: f64) -> Self {
        let mut arms: Vec<Walker<'a, D>> = densities
            .iter()
            .enumerate()
            .map(|(index, density)| Walker {
                index,
                density,
                support: density.support(),
                sharpest: density.spread(),
                survival: 0.0,
                probability: 0.0,
            })
            .collect();
        arms.sort_by(|a, b| b.support.high.total_cmp(&a.support.high));
        let mut sharpest = f64::INFINITY;
        for arm in &mut arms {
            sharpest = sharpest.min(arm.sharpest);
            arm.sharpest = sharpest;
        }
        let low = arms
            .iter()
            .map(|arm| arm.support.low)
            .fold(f64::NEG_INFINITY, f64::max);
        Self {
            arms,
            rows: Vec::new(),
            low,
            reference,
            gain: 0.0,
        }
    }

    fn run(&mut self, spreads_max: f64) {
        let Some(mut right) = self.arms.first().map(|arm| arm.support.high) else {
            return;
        };
        while right > self.low {
            let left = self.panel_left(right, spreads_max);
            if left >= right || self.panel(left, right) <= REMAINDER_MAX {
                break;
            }
            right = left;
        }
    }

    /// Number of arms whose support reaches to the right of `t`.
    fn met(&self, t: f64) -> usize {
        self.arms.partition_point(|arm| arm.support.high > t)
    }

    /// Left end of the panel that ends at `right`: as far as the sharpest density in it allows.
    fn panel_left(&self, right: f64, spreads_max: f64) -> f64 {
        let sharpest = |t: f64| {
            self.met(t)
                .checked_sub(1)
                .and_then(|last| self.arms.get(last))
                .map(|arm| arm.sharpest)
        };
        let mut width = spreads_max
            * sharpest(right)
                .unwrap_or(f64::INFINITY)
                .min(right - self.low);
        // Approaching a sharp density from a flat one, panels shrink geometrically.
        while sharpest((right - width).max(self.low))
            .is_some_and(|spread| width > spreads_max * spread)
        {
            width /= 2.0;
        }
        (right - width).max(self.low)
    }

    /// Adds one panel and returns the probability that the maximum lies to the left of it.
    fn panel(&mut self, left: f64, right: f64) -> f64 {
        let half = (right - left) / 2.0;
        let centre = left + half;
        let nodes = RULE.nodes.map(|x| D::node(centre + half * x));
        let met = self.met(left);
        let remainder = self.fill_rows(met, &nodes, half);
        let gains: PerNode = std::array::from_fn(|m| D::value(&nodes[m]) - self.reference);
        let mut suffix = RULE.weights.map(|weight| half * weight);
        for (arm, row) in self.arms.iter_mut().zip(&self.rows).take(met).rev() {
            let mut sum = 0.0;
            for m in 0..NODES {
                let share = row.density[m] * row.prefix[m] * suffix[m];
                sum += share;
                self.gain += share * gains[m];
                suffix[m] *= row.cumulative[m];
            }
            arm.probability += sum;
        }
        remainder
    }

    /// Densities, distribution functions and prefix products at the nodes, for the arms met so far.
    ///
    /// Returns the product of their distribution functions at the left end.
    fn fill_rows(&mut self, met: usize, nodes: &[D::Node; NODES], half: f64) -> f64 {
        self.rows.clear();
        let mut prefix = [1.0; NODES];
        let mut remainder = 1.0;
        for arm in self.arms.iter_mut().take(met) {
            let density: PerNode =
                std::array::from_fn(|m| arm.density.log_density(&nodes[m]).exp());
            let to_right = RULE.integrate_to_right(&density);
            let cumulative: PerNode =
                std::array::from_fn(|m| (1.0 - arm.survival - half * to_right[m]).clamp(0.0, 1.0));
            self.rows.push(PanelRow {
                density,
                cumulative,
                prefix,
            });
            for m in 0..NODES {
                prefix[m] *= cumulative[m];
            }
            arm.survival += half * RULE.integrate(&density);
            remainder *= (1.0 - arm.survival).max(0.0);
        }
        remainder
    }

    fn finish(self) -> BestArm {
        let total: f64 = self.arms.iter().map(|arm| arm.probability).sum();
        let scale = if total > 0.0 { 1.0 / total } else { 1.0 };
        let expected_maximum = self.reference + (self.gain * scale).max(0.0);
        let mut probability = vec![0.0; self.arms.len()];
        let mut expected_loss = vec![0.0; self.arms.len()];
        for arm in &self.arms {
            if let (Some(chance), Some(loss)) = (
                probability.get_mut(arm.index),
                expected_loss.get_mut(arm.index),
            ) {
                *chance = arm.probability * scale;
                *loss = (expected_maximum - arm.density.mean()).max(0.0);
            }
        }
        BestArm {
            probability,
            expected_loss,
            expected_maximum,
        }
    }
}

#[cfg(test)]
mod tests;
