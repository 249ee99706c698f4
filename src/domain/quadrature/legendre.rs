//! The 16-point Gauss-Legendre rule and its spectral integration matrix on [-1, 1].
//!
//! Exact for polynomials up to degree 31 (the rule) and 15 (the matrix). Scaling to a panel is left to the caller.

use std::sync::LazyLock;

/// Nodes per panel.
pub const NODES: usize = 16;

/// One number per node of a panel.
pub type PerNode = [f64; NODES];

/// Nodes, weights, and the matrix that turns values at the nodes into integrals from each node to the right end.
#[derive(Debug)]
pub struct Rule {
    /// Abscissae in (-1, 1), ascending.
    pub nodes: PerNode,
    /// Weights; they sum to 2.
    pub weights: PerNode,
    /// `to_right[k][m]` is the integral from `nodes[m]` to 1 of the k-th Lagrange polynomial.
    to_right: [PerNode; NODES],
}

/// The rule, computed once.
pub static RULE: LazyLock<Rule> = LazyLock::new(Rule::compute);

// === impl Rule ===

impl Rule {
    fn compute() -> Self {
        let nodes: PerNode = std::array::from_fn(|m| root(NODES - 1 - m));
        let weights = nodes.map(|x| {
            let slope = derivative(x);
            2.0 / ((1.0 - x * x) * slope * slope)
        });
        // Discrete orthogonality: l_k(x) = w_k sum_n (2n+1)/2 P_n(x_k) P_n(x), and
        // the integral of P_n from x to 1 is (P_{n-1}(x) - P_{n+1}(x)) / (2n+1).
        let at_nodes = nodes.map(polynomials);
        let to_right = std::array::from_fn(|k| {
            std::array::from_fn(|m| {
                let constant = (1.0 - nodes[m]) / 2.0;
                let rest: f64 = (1..NODES)
                    .map(|n| at_nodes[k][n] * (at_nodes[m][n - 1] - at_nodes[m][n + 1]) / 2.0)
                    .sum();
                weights[k] * (constant + rest)
            })
        });
        Self {
            nodes,
            weights,
            to_right,
        }
    }

    /// Integral over [-1, 1] of the function with these values at the nodes.
    pub fn integrate(&self, values: &PerNode) -> f64 {
        self.weights.iter().zip(values).map(|(w, v)| w * v).sum()
    }

    /// Integrals from each node to 1 of the function with these values at the nodes.
    pub fn integrate_to_right(&self, values: &PerNode) -> PerNode {
        let mut sums = [0.0; NODES];
        for (row, value) in self.to_right.iter().zip(values) {
            for (sum, entry) in sums.iter_mut().zip(row) {
                *sum += entry * value;
            }
        }
        sums
    }
}

/// Legendre polynomials P_0 to P_16 at `x`, by the three-term recurrence.
fn polynomials(x: f64) -> [f64; NODES + 1] {
    let mut p = [1.0; NODES + 1];
    p[1] = x;
    for n in 1..NODES {
        let degree = n as f64;
        p[n + 1] = ((2.0 * degree + 1.0) * x * p[n] - degree * p[n - 1]) / (degree + 1.0);
    }
    p
}

/// Derivative of P_16 at `x`.
fn derivative(x: f64) -> f64 {
    let p = polynomials(x);
    NODES as f64 * (x * p[NODES] - p[NODES - 1]) / (x * x - 1.0)
}

/// The root of P_16 with this index, 0 being the largest: Chebyshev's guess, refined by Newton's method.
fn root(index: usize) -> f64 {
    let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (NODES as f64 + 0.5)).cos();
    for _ in 0..8 {
        x -= polynomials(x)[NODES] / derivative(x);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_exact_for_degree_thirty_one() {
        for degree in 0..32 {
            let values = RULE.nodes.map(|x| x.powi(degree));
            let exact = if degree % 2 == 0 {
                2.0 / (f64::from(degree) + 1.0)
            } else {
                0.0
            };
            assert!(
                (RULE.integrate(&values) - exact).abs() < 1e-14,
                "degree {degree}"
            );
        }
    }

    #[test]
    fn the_matrix_integrates_from_each_node_to_the_right_end() {
        for degree in 0..16 {
            let power = degree + 1;
            let partial = RULE.integrate_to_right(&RULE.nodes.map(|x| x.powi(degree)));
            for (x, got) in RULE.nodes.iter().zip(partial) {
                let exact = (1.0 - x.powi(power)) / f64::from(power);
                assert!(
                    (got - exact).abs() < 1e-14,
                    "degree {degree} at {x}: {got} against {exact}"
                );
            }
        }
    }
}
