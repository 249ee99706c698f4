//! Arithmetic on the circle of 24 hours: smoothing and bins that wrap at midnight.
//!
//! Smoothing keeps the sum, so counts stay counts. What is smoothed, and why, is left to the callers.

/// A normalised circular Gaussian kernel: weight by distance in hours, 0 to 12.
#[derive(Debug, Clone, PartialEq)]
pub struct CircularKernel {
    weights: [f64; 13],
}

// === impl CircularKernel ===

impl CircularKernel {
    /// A kernel of this standard deviation in hours; anything under a quarter of an hour leaves its input as it is.
    pub fn new(sd_hours: f64) -> CircularKernel {
        let mut weights = [0.0; 13];
        for (distance, weight) in weights.iter_mut().enumerate() {
            *weight = match distance {
                0 => 1.0,
                _ if sd_hours < 0.25 => 0.0,
                d => (-0.5 * (d as f64 / sd_hours).powi(2)).exp(),
            };
        }
        // Distances 1 to 11 occur on both sides, 0 and 12 once.
        let sum = 2.0 * weights.iter().sum::<f64>() - weights[0] - weights[12];
        CircularKernel {
            weights: weights.map(|w| w / sum),
        }
    }

    /// The smoothed bins; their sum is the sum of the input.
    pub fn smooth(&self, bins: &[f64; 24]) -> [f64; 24] {
        // Twice around, so that the weights of all hours as seen from one lie in a row, which the compiler turns into vectors.
        let twice: [f64; 48] = std::array::from_fn(|index| {
            let apart = index % 24;
            self.weights[apart.min(24 - apart)]
        });
        let mut smoothed = [0.0; 24];
        for (from, amount) in bins.iter().enumerate() {
            let seen = twice.iter().skip(24 - from);
            for (target, weight) in smoothed.iter_mut().zip(seen) {
                *target += amount * weight;
            }
        }
        smoothed
    }

    /// How many bins' worth of counts one smoothed bin rests on: the inverse of the sum of squared weights.
    pub fn effective_width(&self) -> f64 {
        let squares = self.weights.map(|w| w * w);
        1.0 / (2.0 * squares.iter().sum::<f64>() - squares[0] - squares[12])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_the_sum_and_wraps_at_midnight() {
        let kernel = CircularKernel::new(1.8);
        let mut bins = [0.0; 24];
        bins[0] = 6.0;
        let smoothed = kernel.smooth(&bins);
        assert!((smoothed.iter().sum::<f64>() - 6.0).abs() < 1e-12);
        assert!((smoothed[23] - smoothed[1]).abs() < 1e-12);
        assert!(smoothed[0] > smoothed[1] && smoothed[1] > smoothed[2]);
    }

    #[test]
    fn smoothing_is_bit_for_bit_the_sum_over_distances() {
        let kernel = CircularKernel::new(1.8);
        let bins: [f64; 24] = std::array::from_fn(|hour| (hour as f64 * 0.7).sin().exp());
        let mut sums = [0.0f64; 24];
        for (from, amount) in bins.iter().enumerate() {
            for (to, sum) in sums.iter_mut().enumerate() {
                let apart = from.abs_diff(to);
                *sum += amount * kernel.weights[apart.min(24 - apart)];
            }
        }
        assert_eq!(
            kernel.smooth(&bins).map(f64::to_bits),
            sums.map(f64::to_bits)
        );
    }

    #[test]
    fn the_width_of_a_gaussian_is_two_root_pi_standard_deviations() {
        let width = CircularKernel::new(1.8).effective_width();
        assert!((width - 2.0 * std::f64::consts::PI.sqrt() * 1.8).abs() < 0.05);
        assert_eq!(CircularKernel::new(0.0).effective_width(), 1.0);
    }
}
