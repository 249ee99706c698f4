//! Median and ends of a few turns.

use serde::Serialize;

/// What turns came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

// === impl Spread ===

impl Spread {
    /// Of these turns; zeros of none.
    pub fn of(turns: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = turns.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let middle = |at: usize| sorted.get(at).copied().unwrap_or_default();
        Self {
            median: (middle((sorted.len() - 1) / 2) + middle(sorted.len() / 2)) / 2.0,
            low: *low,
            high: *high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_ends_are_kept() {
        let odd = Spread::of([3.0, 1.0, 9.0]);
        assert_eq!((odd.median, odd.low, odd.high), (3.0, 1.0, 9.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).median, 3.0);
        assert_eq!(Spread::of([]), Spread::default());
    }
}
