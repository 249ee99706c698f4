//! The classical test: every arm alike, whatever is known.
//!
//! Depends on the number of arms only.

/// `1 / K` for each of `arms` arms.
pub fn probabilities(arms: usize) -> Vec<f64> {
    vec![1.0 / arms.max(1) as f64; arms]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_arms_get_a_quarter_each() {
        assert_eq!(probabilities(4), vec![0.25; 4]);
    }
}
