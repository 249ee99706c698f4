//! The value remaining in an experiment: how much better than the leader the best variant may still be.
//!
//! `V = (max_j theta_j - theta_l) / theta_l` for the leader l (Scott, "Multi-armed bandit experiments", Google Analytics help, 2013).
//! Exact to 1e-9 by quadrature, where Scott draws from the posterior. When to stop is left to the callers.
use crate::domain::quadrature::density::Density;
use crate::domain::quadrature::logit_beta::{LogitBeta, LogitNode};
use crate::domain::quadrature::raised::Competitor;
use crate::domain::quadrature::{Arm, chance_of_first, cumulative};

/// Steps of the search for a quantile; each halves the bracket at least, and most do far better.
const STEPS_MAX: usize = 60;
/// The search ends once the logarithm of `1 + V` is known so well.
const LOG_TOLERANCE: f64 = 1e-12;

/// The arms of an experiment as seen from its leader.
#[derive(Clone, Debug)]
pub struct ValueRemaining<D = LogitBeta> {
    leader: D,
    others: Vec<D>,
}

// === impl ValueRemaining ===

impl<D: Density<Node = LogitNode> + Clone> ValueRemaining<D> {
    /// What remains beyond this leader; none when it is not among the arms.
    pub fn of<A: Arm<Density = D>>(arms: &[A], leader: usize) -> Option<Self> {
        let others = arms.iter().enumerate().filter(|(at, _)| *at != leader);
        Some(Self {
            leader: arms.get(leader)?.density(),
            others: others.map(|(_, arm)| arm.density()).collect(),
        })
    }

    /// Probability that some other arm is better than the leader by more than the relative `gain` (at least 0).
    ///
    /// `P(V > v) = 1 - integral of f_l prod_j F_j((1 + v) theta) dtheta`.
    pub fn exceedance(&self, gain: f64) -> f64 {
        self.beyond(gain.max(0.0).ln_1p())
    }

    /// The gain that the best arm exceeds with probability `1 - level` only; 0 when that is as likely to be none at all.
    pub fn quantile(&self, level: f64) -> f64 {
        let target = 1.0 - level.clamp(0.0, 1.0);
        let excess = |log_factor: f64| self.beyond(log_factor) - target;
        let (mut low, mut high) = ((0.0, excess(0.0)), (self.log_gain_max(), -target));
        if low.1 <= 0.0 || high.0 <= 0.0 {
            return 0.0;
        }
        // Ridders' method (1979): the root of the exponential through both ends and the middle.
        for _ in 0..STEPS_MAX {
            let middle = f64::midpoint(low.0, high.0);
            let at_middle = excess(middle);
            let curve = (at_middle * at_middle - low.1 * high.1).sqrt();
            let guess = middle + (middle - low.0) * at_middle / curve;
            let next = (guess > low.0 && guess < high.0).then_some(guess);
            for at in [Some(middle), next].into_iter().flatten() {
                if at <= low.0 || at >= high.0 {
                    continue;
                }
                let value = if at == middle { at_middle } else { excess(at) };
                if value > 0.0 {
                    low = (at, value);
                } else {
                    high = (at, value);
                }
            }
            if high.0 - low.0 <= LOG_TOLERANCE || low.1 <= LOG_TOLERANCE || -high.1 <= LOG_TOLERANCE
            {
                break;
            }
        }
        let nearer = if low.1 <= -high.1 { low.0 } else { high.0 };
        nearer.exp_m1()
    }

    /// Probability that the leader times `exp(log_factor)` is not the highest.
    fn beyond(&self, log_factor: f64) -> f64 {
        if self.others.is_empty() {
            return 0.0;
        }
        let leader = Competitor::raised(self.leader.clone(), log_factor);
        let others = self.others.iter().cloned().map(Competitor::plain);
        let competitors: Vec<Competitor<D>> = std::iter::once(leader).chain(others).collect();
        // A raised rate of one or more beats everything, and has no place on the axis.
        let certain = if log_factor > 0.0 {
            1.0 - cumulative::cumulative(&self.leader, -log_factor.exp_m1().ln())
        } else {
            0.0
        };
        (1.0 - certain - chance_of_first(&competitors)).clamp(0.0, 1.0)
    }

    /// No gain beyond this has a probability worth the name.
    fn log_gain_max(&self) -> f64 {
        let log_rate = |logit: f64| -(-logit).exp().ln_1p();
        let highs = self.others.iter().map(|other| other.support().high);
        let high = highs.fold(f64::NEG_INFINITY, f64::max);
        (log_rate(high) - log_rate(self.leader.support().low)).min(f64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::quadrature::best_arm;
    use crate::domain::shape::BetaShape;
    use proptest::prelude::*;

    fn shapes(arms: &[(f64, f64)]) -> Vec<BetaShape> {
        let shape = |(alpha, beta): &(f64, f64)| BetaShape::new(*alpha, *beta).unwrap();
        arms.iter().map(shape).collect()
    }

    fn remaining(arms: &[(f64, f64)]) -> ValueRemaining {
        ValueRemaining::of(&shapes(arms), 0).unwrap()
    }

    /// With Beta(a, 1), `-ln theta` is exponential with rate a, and the best of several rivals is one with the sum of their shapes:
    /// `P(V > v) = (1 + v)^(-a_l) A / (a_l + A)`.
    fn closed_form(leader: f64, rivals: f64, gain: f64) -> f64 {
        (1.0 + gain).powf(-leader) * rivals / (leader + rivals)
    }

    #[test]
    fn powers_of_uniform_rates_have_a_closed_form() {
        for (leader, rivals) in [
            (3.0, vec![2.0]),
            (50.0, vec![20.0, 15.0]),
            (1.0, vec![0.5, 0.25, 4.0]),
        ] {
            let arms: Vec<(f64, f64)> = std::iter::once(leader)
                .chain(rivals.iter().copied())
                .map(|a| (a, 1.0))
                .collect();
            let remaining = remaining(&arms);
            let sum = rivals.iter().sum();
            for gain in [0.0, 0.001, 0.05, 0.7, 12.0] {
                let (got, exact) = (remaining.exceedance(gain), closed_form(leader, sum, gain));
                assert!(
                    (got - exact).abs() < 1e-9,
                    "{arms:?} at {gain}: {got} against {exact}"
                );
            }
            let exact = (20.0 * sum / (leader + sum)).powf(1.0 / leader) - 1.0;
            let got = remaining.quantile(0.95);
            assert!(
                (got / exact.max(0.0) - 1.0).abs() < 1e-7,
                "{arms:?}: {got} against {exact}"
            );
        }
    }

    #[test]
    fn nothing_remains_of_a_certain_winner_and_of_a_single_arm() {
        assert_eq!(
            remaining(&[(600.0, 400.0), (500.0, 500.0)]).quantile(0.95),
            0.0
        );
        assert_eq!(remaining(&[(6.0, 4.0)]).quantile(0.95), 0.0);
        assert!(ValueRemaining::of(&shapes(&[(6.0, 4.0)]), 1).is_none());
    }

    #[test]
    fn a_normal_approximation_agrees_where_it_holds() {
        // theta_2 - 1.01 theta_1 is nearly normal for so many trials.
        let arms = [(50_000.0, 950_000.0), (49_900.0, 950_100.0)];
        let shapes = shapes(&arms);
        let mean = shapes[1].mean() - 1.01 * shapes[0].mean();
        let sd = (shapes[1].variance() + 1.01f64.powi(2) * shapes[0].variance()).sqrt();
        let normal = statrs::distribution::Normal::new(0.0, 1.0).unwrap();
        let exact = statrs::distribution::ContinuousCDF::cdf(&normal, mean / sd);
        let got = remaining(&arms).exceedance(0.01);
        assert!((got - exact).abs() < 1e-3, "{got} against {exact}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_gain_at_all_remains_with_the_probability_that_the_leader_is_best(
            logs in prop::collection::vec((-1.38f64..14.0, -1.38f64..14.0), 2..8),
        ) {
            let arms: Vec<(f64, f64)> = logs.iter().map(|(a, b)| (a.exp(), b.exp())).collect();
            let best = best_arm(&shapes(&arms)).probability[0];
            prop_assert!((remaining(&arms).exceedance(0.0) - (1.0 - best)).abs() < 1e-8);
        }

        #[test]
        fn the_quantile_is_exceeded_as_often_as_it_says(
            logs in prop::collection::vec((-1.0f64..9.0, 1.0f64..9.0), 2..6), level in 0.5f64..0.99,
        ) {
            let arms: Vec<(f64, f64)> = logs.iter().map(|(a, b)| (a.exp(), b.exp())).collect();
            let remaining = remaining(&arms);
            let gain = remaining.quantile(level);
            prop_assert!(gain >= 0.0);
            if gain > 0.0 {
                let got = remaining.exceedance(gain);
                prop_assert!((got - (1.0 - level)).abs() < 1e-8, "{got} at {gain}");
            } else {
                prop_assert!(remaining.exceedance(0.0) <= 1.0 - level + 1e-9);
            }
        }
    }
}
