//! Thompson sampling: each arm is chosen with the probability that it is best (Thompson 1933).
//!
//! Drawing from these probabilities is the same as sampling all posteriors and taking the highest. Computing them is
//! left to the quadrature.

use super::normalised;

/// The probabilities of being best, as they are.
pub fn probabilities(best: &[f64]) -> Vec<f64> {
    normalised(best.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arm_gets_its_probability_of_being_best() {
        assert_eq!(probabilities(&[0.5, 0.25, 0.25]), [0.5, 0.25, 0.25]);
    }
}
