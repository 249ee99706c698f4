//! Thompson sampling: each arm is chosen with the probability that it is best (Thompson 1933).
//!
//! Drawing from these probabilities is the same as sampling all posteriors and taking the highest. Computing them is
//! left to the quadrature.

use super::normalised;

/// Exponent of the probabilities; 1 is Thompson sampling.
const SHARPENING: f64 = 1.0;

/// The probabilities of being best, as they are.
pub fn probabilities(best: &[f64]) -> Vec<f64> {
    sharpened(best, SHARPENING)
}

/// `p_i` proportional to `P_i^exponent`: above 1 greedier than Thompson sampling, below 1 more exploring, 0 uniform.
///
/// Probabilities are scaled by the largest first, so that no exponent underflows all of them.
pub fn sharpened(best: &[f64], exponent: f64) -> Vec<f64> {
    let largest = best.iter().copied().fold(0.0, f64::max);
    if exponent == 1.0 || largest <= 0.0 {
        return normalised(best.to_vec());
    }
    normalised(
        best.iter()
            .map(|chance| (chance.max(0.0) / largest).powf(exponent))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_chosen_as_often_as_they_are_best() {
        assert_eq!(probabilities(&[0.5, 0.25, 0.25]), vec![0.5, 0.25, 0.25]);
    }

    #[test]
    fn sharpening_squares_the_odds() {
        let chosen = sharpened(&[0.75, 0.25], 2.0);
        assert!((chosen[0] / chosen[1] - 9.0).abs() < 1e-12, "{chosen:?}");
        assert_eq!(sharpened(&[0.75, 0.25], 0.0), vec![0.5, 0.5]);
        let tiny = sharpened(&[1e-200, 1e-220], 4.0);
        assert!(
            tiny[0] == 1.0 && (tiny[1] / 1e-80 - 1.0).abs() < 1e-12,
            "{tiny:?}"
        );
    }
}
