//! Shares given beforehand, in the order of the arms.
//!
//! Total for any weights, since arms may be added or taken out after the weights were set.

use super::{PolicyError, normalised};

/// The weights scaled to sum to one; arms beyond them get none, and all arms alike if none is left with weight.
pub fn probabilities(arms: usize, weights: &[f64]) -> Vec<f64> {
    let weight = |arm: usize| {
        weights
            .get(arm)
            .copied()
            .filter(|w| w.is_finite())
            .unwrap_or(0.0)
            .max(0.0)
    };
    normalised((0..arms).map(weight).collect())
}

/// Checks that the weights are finite, not negative and not all zero.
pub fn validate(weights: &[f64]) -> Result<(), PolicyError> {
    if let Some((arm, weight)) = weights
        .iter()
        .enumerate()
        .find(|(_, w)| !(w.is_finite() && **w >= 0.0))
    {
        return Err(PolicyError::Weight {
            arm,
            weight: *weight,
        });
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        Err(PolicyError::NoWeight)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_shares() {
        assert_eq!(probabilities(3, &[3.0, 1.0]), vec![0.75, 0.25, 0.0]);
    }

    #[test]
    fn arms_without_any_weight_share_evenly() {
        assert_eq!(probabilities(2, &[]), vec![0.5, 0.5]);
        assert_eq!(probabilities(2, &[f64::NAN, -1.0]), vec![0.5, 0.5]);
    }

    #[test]
    fn bad_weights_are_named() {
        assert_eq!(
            validate(&[1.0, -2.0]),
            Err(PolicyError::Weight {
                arm: 1,
                weight: -2.0
            })
        );
        assert_eq!(validate(&[0.0]), Err(PolicyError::NoWeight));
        assert_eq!(validate(&[0.0, 2.0]), Ok(()));
    }
}
