//! Probabilities of being best computed another way, as the yardstick.
//!
//! Invariant: shares nothing with the quadrature under test but the problem. Log-densities in double-double arithmetic; heights by numerical
//! normalisation, not by Stirling's formula; distribution functions summed from node to node, not by a spectral matrix; finer panels of higher
//! order; products of all distribution functions divided by one's own, not prefixes and suffixes. Abscissae count from the peak of the sharpest
//! posterior, where doubles resolve it best. Good to 1e-13.
use crate::domain::shape::BetaShape;

use super::double_double::Dd;

/// Densities are followed down to `exp(-45)` of their peak.
const LOG_CUT: f64 = 45.0;
/// Nodes of an outer panel, which is at most one spread wide.
const OUTER: usize = 20;
/// Nodes between two outer nodes.
const INNER: usize = 4;

/// What is known exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Probability that each arm is best.
    pub probability: Vec<f64>,
    /// Expectation of the highest rate.
    pub expected_maximum: f64,
}

/// Abscissae in (-1, 1) and weights of a Gauss-Legendre rule.
struct Rule(Vec<(f64, f64)>);

/// A posterior on the axis `t = logit(rate) - origin`: `ln g = k e - n ln(1 + r (exp(e) - 1))`, `e` the distance from the peak in the direction of the
/// larger shape, `k` the smaller shape, `n` their sum and `r = k / n`.
struct Posterior {
    smaller: Dd,
    total: Dd,
    share: Dd,
    peak: Dd,
    sign: f64,
    spread: f64,
    low: f64,
    high: f64,
    /// Integral of `g`.
    mass: f64,
}

/// Probabilities of being best and the expected maximum.
pub fn reference(arms: &[BetaShape]) -> Reference {
    let (outer, inner) = (Rule::new(OUTER), Rule::new(INNER));
    let origin = origin(arms);
    let posteriors: Vec<Posterior> = arms
        .iter()
        .map(|arm| Posterior::new(arm, origin, &inner))
        .collect();
    let nodes = nodes(&posteriors, &outer);
    let mut product = vec![1.0; nodes.len()];
    // f / F at every node, by arm.
    let ratios: Vec<Vec<f64>> = posteriors
        .iter()
        .map(|posterior| posterior.walk(&nodes, &inner, &mut product))
        .collect();
    let shares: Vec<f64> = nodes
        .iter()
        .zip(&product)
        .map(|((_, weight), product)| weight * product)
        .collect();
    let integral = |ratios: &Vec<f64>, value: &dyn Fn(f64) -> f64| -> f64 {
        let at_nodes = ratios.iter().zip(&shares).zip(&nodes);
        at_nodes
            .map(|((ratio, share), (t, _))| ratio * share * value(*t))
            .sum()
    };
    Reference {
        probability: ratios
            .iter()
            .map(|ratios| integral(ratios, &|_| 1.0))
            .collect(),
        expected_maximum: ratios
            .iter()
            .map(|ratios| integral(ratios, &|t| 1.0 / (1.0 + (-origin - t).exp())))
            .sum(),
    }
}

/// The logit from which abscissae count: the sharpest posterior's peak.
fn origin(arms: &[BetaShape]) -> f64 {
    let sharpest = arms.iter().max_by(|one, other| {
        let certainty = |arm: &BetaShape| 1.0 / (1.0 / arm.alpha() + 1.0 / arm.beta());
        certainty(one).total_cmp(&certainty(other))
    });
    sharpest.map_or(0.0, |arm| (arm.alpha() / arm.beta()).ln())
}

/// Abscissae and weights from where an arm is certainly higher up to where none is.
fn nodes(posteriors: &[Posterior], rule: &Rule) -> Vec<(f64, f64)> {
    let low = posteriors
        .iter()
        .map(|arm| arm.low)
        .fold(f64::NEG_INFINITY, f64::max);
    let high = posteriors
        .iter()
        .map(|arm| arm.high)
        .fold(f64::NEG_INFINITY, f64::max);
    let sharpest = |from: f64, to: f64| {
        let within = posteriors
            .iter()
            .filter(|arm| arm.low < to && arm.high > from);
        within.map(|arm| arm.spread).fold(f64::INFINITY, f64::min)
    };
    let (mut nodes, mut left) = (Vec::new(), low);
    while left < high {
        let mut width = sharpest(left, left.next_up()).min(high - left);
        while width > sharpest(left, left + width) {
            width /= 2.0;
        }
        let right = if left + width <= left {
            high
        } else {
            left + width
        };
        nodes.extend(rule.on(left, right));
        left = right;
    }
    nodes
}

// === impl Rule ===

impl Rule {
    /// The rule of so many points: roots of the Legendre polynomial by Newton's method.
    fn new(points: usize) -> Self {
        let n = points as f64;
        let root = |index: usize| {
            let mut x = -(std::f64::consts::PI * (index as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..12 {
                let (mut before, mut value) = (1.0, x);
                for degree in 1..points {
                    let k = degree as f64;
                    (before, value) = (
                        value,
                        ((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0),
                    );
                }
                slope = n * (x * value - before) / (x * x - 1.0);
                x -= value / slope;
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        };
        Self((0..points).map(root).collect())
    }

    /// The rule on an interval.
    fn on(&self, left: f64, right: f64) -> impl Iterator<Item = (f64, f64)> {
        let (centre, half) = (f64::midpoint(left, right), (right - left) / 2.0);
        self.0
            .iter()
            .map(move |(x, weight)| (centre + half * x, half * weight))
    }
}

// === impl Posterior ===

impl Posterior {
    fn new(arm: &BetaShape, origin: f64, rule: &Rule) -> Self {
        let (alpha, beta) = (arm.alpha(), arm.beta());
        let (smaller, sign) = if alpha <= beta {
            (alpha, 1.0)
        } else {
            (beta, -1.0)
        };
        let total = Dd::new(alpha).plus(Dd::new(beta));
        let smaller = Dd::new(smaller);
        let mut posterior = Self {
            smaller,
            total,
            share: smaller.over(total),
            peak: Dd::new(alpha)
                .over(Dd::new(beta))
                .ln()
                .minus(Dd::new(origin)),
            sign,
            spread: (1.0 / alpha + 1.0 / beta).sqrt().min(1.0),
            low: 0.0,
            high: 0.0,
            mass: 1.0,
        };
        posterior.low = posterior.end(-1.0);
        posterior.high = posterior.end(1.0);
        posterior.mass = posterior.integral(posterior.low, posterior.high, rule);
        posterior
    }

    /// `g` at an abscissa, 1 at the peak.
    fn height(&self, t: f64) -> f64 {
        let e = Dd::new(self.sign).times(Dd::new(t).minus(self.peak));
        // Where exp(e) overflows, ln(1 + r (exp(e) - 1)) is e + ln r to all digits.
        let logarithm = if e.to_f64() > 600.0 {
            e.plus(self.share.ln())
        } else {
            let grown = self.share.times(e.exp().minus(Dd::new(1.0)));
            grown.plus(Dd::new(1.0)).ln()
        };
        self.smaller
            .times(e)
            .minus(self.total.times(logarithm))
            .to_f64()
            .exp()
    }

    /// Where the density has fallen to the cut on one side, by doubling and halving.
    fn end(&self, side: f64) -> f64 {
        let peak = self.peak.to_f64();
        let cut = (-LOG_CUT).exp();
        let mut far = self.spread;
        while self.height(peak + side * far) > cut {
            far *= 2.0;
        }
        let (mut inside, mut outside) = (0.0, far);
        while outside - inside > 0.1 * self.spread {
            let middle = f64::midpoint(inside, outside);
            if self.height(peak + side * middle) > cut {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        peak + side * outside
    }

    /// Integral of `g` between two abscissae.
    fn integral(&self, from: f64, to: f64, rule: &Rule) -> f64 {
        // Panels so short that four nodes leave errors of 1e-15 only.
        let panels = ((to - from) / (0.1 * self.spread)).ceil().max(1.0);
        let width = (to - from) / panels;
        let panel = |at: usize| {
            let left = from + width * at as f64;
            rule.on(left, left + width)
                .map(|(t, weight)| weight * self.height(t))
                .sum::<f64>()
        };
        (0..panels as usize).map(panel).sum()
    }

    /// Multiplies `F` at every node into the product, and answers `f / F` there.
    fn walk(&self, nodes: &[(f64, f64)], rule: &Rule, product: &mut [f64]) -> Vec<f64> {
        let (mut below, mut last) = (0.0, self.low);
        nodes
            .iter()
            .zip(product)
            .map(|((t, _), product)| {
                if *t <= self.low || *t >= self.high {
                    // The first node lies above all lower ends, up to rounding.
                    return 0.0;
                }
                below += self.integral(last, *t, rule);
                last = *t;
                let cumulative = below / self.mass;
                *product *= cumulative;
                if cumulative > 0.0 {
                    self.height(*t) / self.mass / cumulative
                } else {
                    0.0
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(arms: &[(f64, f64)]) -> Vec<BetaShape> {
        let shape = |(alpha, beta): &(f64, f64)| BetaShape::new(*alpha, *beta).unwrap();
        arms.iter().map(shape).collect()
    }

    fn error(arms: &[(f64, f64)], exact: &[f64]) -> f64 {
        let got = reference(&shapes(arms)).probability;
        let differences = got
            .iter()
            .zip(exact)
            .map(|(got, exact)| (got - exact).abs());
        differences.fold(0.0, f64::max)
    }

    #[test]
    fn exact_probabilities_are_met() {
        assert!(error(&[(6.0, 3.0), (3.0, 5.0)], &[386.0 / 429.0, 43.0 / 429.0]) < 1e-14);
        for size in [0.25, 40.0, 1e9] {
            assert!(
                error(&[(size, 3.0 * size); 7], &[1.0 / 7.0; 7]) < 1e-13,
                "size {size}"
            );
        }
    }

    /// Shapes, their probabilities of being best, and the expected maximum.
    type Known<'a> = (&'a [(f64, f64)], &'a [f64], f64);

    /// Computed with 36 decimal digits by nested quadrature (mpmath).
    #[test]
    fn values_of_thirty_six_digits_are_met() {
        let cases: [Known<'_>; 4] = [
            (
                &[
                    (2e8, 8e8),
                    (2e8 + 15_000.0, 8e8 - 15_000.0),
                    (2e8 - 5_000.0, 8e8 + 5_000.0),
                ],
                &[
                    0.173_257_211_277_614_7,
                    0.731_408_498_440_109,
                    0.095_334_290_282_276_2,
                ],
                0.200_017_742_900_388_06,
            ),
            (
                &[(0.25, 0.25), (0.25, 10.0), (3.0, 0.25)],
                &[
                    0.207_659_315_127_871_56,
                    2.703_600_330_845_396_7e-5,
                    0.792_313_648_868_82,
                ],
                0.946_976_475_173_544_4,
            ),
            (
                &[(0.25, 1e9), (0.75, 1e9), (4.0, 9e9)],
                &[
                    0.125_569_175_551_084_3,
                    0.484_182_069_336_354_2,
                    0.390_248_755_112_561_5,
                ],
                9.806_883_407_495_814e-10,
            ),
            (
                &[(22.0, 78.0), (230.0, 770.0), (2_100.0, 7_900.0), (1.5, 4.5)],
                &[
                    0.227_141_018_774_324,
                    0.304_436_348_429_249,
                    0.015_677_201_604_939_96,
                    0.452_745_431_191_487,
                ],
                0.313_180_347_043_843_2,
            ),
        ];
        for (arms, exact, maximum) in cases {
            assert!(
                error(arms, exact) < 1e-13,
                "{arms:?}: {:e}",
                error(arms, exact)
            );
            let got = reference(&shapes(arms)).expected_maximum;
            assert!(
                (got / maximum - 1.0).abs() < 1e-12,
                "{arms:?}: {got} against {maximum}"
            );
        }
    }
}
