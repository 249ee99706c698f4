//! An exact allocation: probabilities with a floor, drawn in constant time from an alias table.
//!
//! Invariant: the stated propensity of each arm is the probability with which it is drawn, to 2^-53. Where the
//! probabilities and the random bits come from is left to others.

/// Draws that fill one column of the alias table; a column is chosen uniformly, then split between two arms.
const COLUMN_UNITS: u128 = 1 << 64;

/// Why numbers are no allocation.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum AllocationError {
    /// There is nothing to choose from.
    #[error("no arms to choose from")]
    Empty,
    /// More arms than a table holds.
    #[error("{arms} arms, at most {} fit", u32::MAX)]
    TooMany {
        /// Number of arms given.
        arms: usize,
    },
    /// A weight is negative or not finite.
    #[error("weight {weight} of arm {arm} is not a finite number of at least 0")]
    Weight {
        /// Position of the arm.
        arm: usize,
        /// The weight given.
        weight: f64,
    },
    /// The weights sum to zero, or to more than a number holds.
    #[error("the weights sum to {sum}")]
    Sum {
        /// Their sum.
        sum: f64,
    },
    /// The floor is not a share.
    #[error("floor {floor} is not within 0 to 1")]
    Floor {
        /// The floor given.
        floor: f64,
    },
}

/// One column: below the threshold its own arm, else the alias.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Column {
    /// Units of this column that belong to its own arm; `u64::MAX` in a full column, whose alias is the arm itself.
    threshold: u64,
    alias: u32,
}

/// Probabilities of the arms and the table to draw from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    probabilities: Vec<f64>,
    columns: Vec<Column>,
}

// === impl Allocation ===

impl Allocation {
    /// Normalises the weights to P and mixes in the floor: `p_k = floor / K + (1 - floor) P_k`.
    ///
    /// # Errors
    /// [`AllocationError`] if there are no arms, a weight is negative or not finite, all are zero, or the floor is not
    /// within 0 to 1.
    pub fn new(weights: &[f64], floor: f64) -> Result<Self, AllocationError> {
        if !(0.0..=1.0).contains(&floor) {
            return Err(AllocationError::Floor { floor });
        }
        if weights.is_empty() {
            return Err(AllocationError::Empty);
        }
        if u32::try_from(weights.len()).is_err() {
            return Err(AllocationError::TooMany {
                arms: weights.len(),
            });
        }
        if let Some((arm, weight)) = weights
            .iter()
            .enumerate()
            .find(|(_, w)| !(w.is_finite() && **w >= 0.0))
        {
            return Err(AllocationError::Weight {
                arm,
                weight: *weight,
            });
        }
        let sum: f64 = weights.iter().sum();
        if !(sum > 0.0 && sum.is_finite()) {
            return Err(AllocationError::Sum { sum });
        }
        let even = floor / weights.len() as f64;
        let floored: Vec<f64> = weights
            .iter()
            .map(|weight| even + (1.0 - floor) * (weight / sum))
            .collect();
        Ok(Self::stated(&floored))
    }

    /// The same with the arms of a group held to a share together.
    ///
    /// If the group has more than `share_max`, its arms are scaled to it by one factor and all others by another that fills the
    /// rest, so that within either the proportions stay: `p_k share_max / P(group)` and `p_k (1 - share_max) / (1 - P(group))`.
    /// Nothing changes where the others have no share to be scaled.
    pub fn capped(&self, is_in_group: impl Fn(usize) -> bool, share_max: f64) -> Self {
        let of_group = |arm: &usize| is_in_group(*arm);
        let arms = 0..self.probabilities.len();
        let group: f64 = arms
            .clone()
            .filter(of_group)
            .map(|arm| self.propensity(arm))
            .sum();
        let others: f64 = arms
            .clone()
            .filter(|arm| !of_group(arm))
            .map(|arm| self.propensity(arm))
            .sum();
        if !(0.0..1.0).contains(&share_max) || group <= share_max || others <= 0.0 {
            return self.clone();
        }
        let (down, up) = (share_max / group, (1.0 - share_max) / others);
        let held: Vec<f64> = arms
            .map(|arm| self.propensity(arm) * if is_in_group(arm) { down } else { up })
            .collect();
        Self::stated(&held)
    }

    /// The table of probabilities that sum to one but for rounding.
    fn stated(probabilities: &[f64]) -> Self {
        let units = whole_units(probabilities);
        // Stated as the table has them, so that the rounding of the sum is part of the statement.
        let total = COLUMN_UNITS as f64 * units.len() as f64;
        let probabilities = units.iter().map(|own| *own as f64 / total).collect();
        Self {
            probabilities,
            columns: alias_table(units),
        }
    }

    /// The arm that this uniform 64-bit number draws, in constant time.
    ///
    /// One number serves twice: of its product with the number of arms K the high half is the column and the low half
    /// the coin. Each arm's probability is off by at most 2 K 2^-64 (1.1e-16 for 1,000 arms), since 2^64 numbers
    /// spread over the columns and their parts differ by at most one number each.
    pub fn draw(&self, uniform: u64) -> usize {
        let product = u128::from(uniform) * self.columns.len() as u128;
        let (index, coin) = ((product >> 64) as usize, product as u64);
        match self.columns.get(index) {
            Some(column) if coin >= column.threshold => column.alias as usize,
            _ => index,
        }
    }

    /// Probability with which this arm is drawn; 0 for an arm that is not there.
    pub fn propensity(&self, arm: usize) -> f64 {
        self.probabilities.get(arm).copied().unwrap_or(0.0)
    }

    /// Probabilities of all arms, in their order; they sum to one.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }
}

/// The table of Walker (1977) by Vose's method (1991), in whole units of 2^-64 of a column so that nothing drifts.
fn alias_table(mut units: Vec<u128>) -> Vec<Column> {
    let mut columns: Vec<Column> = (0..units.len())
        .map(|arm| Column {
            threshold: u64::MAX,
            alias: arm as u32,
        })
        .collect();
    let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
        (0..units.len()).partition(|arm| units.get(*arm).is_some_and(|own| *own < COLUMN_UNITS));
    while let (Some(receiver), Some(giver)) = (poor.pop(), rich.last().copied()) {
        let own = units.get(receiver).copied().unwrap_or(0);
        if let Some(column) = columns.get_mut(receiver) {
            *column = Column {
                threshold: u64::try_from(own).unwrap_or(u64::MAX),
                alias: giver as u32,
            };
        }
        if let Some(left) = units.get_mut(giver) {
            *left -= COLUMN_UNITS - own;
            if *left < COLUMN_UNITS {
                rich.pop();
                poor.push(giver);
            }
        }
    }
    columns
}

/// Probabilities in units of 2^-64 of a column, summing exactly to all columns; the likeliest arm takes the rounding.
fn whole_units(probabilities: &[f64]) -> Vec<u128> {
    let total = COLUMN_UNITS * probabilities.len() as u128;
    let mut units: Vec<u128> = probabilities
        .iter()
        .map(|p| (p * total as f64) as u128)
        .collect();
    let sum: u128 = units.iter().sum();
    if let Some(most) = units.iter_mut().max() {
        *most = (*most + total).saturating_sub(sum);
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Probabilities with which the table draws, added up from its columns.
    fn realised(allocation: &Allocation) -> Vec<f64> {
        let mut units = vec![0_u128; allocation.columns.len()];
        for (arm, column) in allocation.columns.iter().enumerate() {
            let own = if column.alias as usize == arm {
                COLUMN_UNITS
            } else {
                u128::from(column.threshold)
            };
            units[arm] += own;
            units[column.alias as usize] += COLUMN_UNITS - own;
        }
        units
            .iter()
            .map(|own| *own as f64 / (COLUMN_UNITS as f64 * units.len() as f64))
            .collect()
    }

    #[test]
    fn the_floor_is_shared_evenly() {
        let allocation = Allocation::new(&[3.0, 1.0, 0.0, 0.0], 0.02).unwrap();
        for (got, exact) in allocation
            .probabilities()
            .iter()
            .zip([0.74, 0.25, 0.005, 0.005])
        {
            assert!((got - exact).abs() < 1e-15, "{allocation:?}");
        }
        assert_eq!(allocation.propensity(4), 0.0);
    }

    #[test]
    fn a_single_arm_is_always_drawn() {
        let allocation = Allocation::new(&[0.3], 0.02).unwrap();
        assert_eq!(
            [0, 1 << 63, u64::MAX].map(|uniform| allocation.draw(uniform)),
            [0, 0, 0]
        );
        assert_eq!(allocation.probabilities(), [1.0]);
    }

    #[test]
    fn an_arm_without_probability_is_never_drawn() {
        let allocation = Allocation::new(&[0.0, 1.0, 0.0, 2.0], 0.0).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let edges = (0..4_u64).flat_map(|quarter| [quarter << 62, (quarter << 62).wrapping_sub(1)]);
        let drawn: Vec<u64> = (0..10_000)
            .map(|_| random.next_u64())
            .chain(edges)
            .collect();
        assert!(
            drawn
                .into_iter()
                .all(|uniform| allocation.draw(uniform) % 2 == 1)
        );
    }

    #[test]
    fn a_million_draws_pass_a_chi_square_test() {
        let weights: Vec<f64> = (1..=20).map(f64::from).collect();
        let allocation = Allocation::new(&weights, 0.02).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let (draws, mut counts) = (1_000_000_u32, [0_u32; 20]);
        for _ in 0..draws {
            counts[allocation.draw(random.next_u64())] += 1;
        }
        let chi_square: f64 = counts
            .iter()
            .zip(allocation.probabilities())
            .map(|(count, p)| {
                (f64::from(*count) - p * f64::from(draws)).powi(2) / (p * f64::from(draws))
            })
            .sum();
        // 0.999 quantile with 19 degrees of freedom.
        assert!(chi_square < 43.82, "{chi_square}");
    }

    #[test]
    fn a_capped_group_gets_its_share_and_all_proportions_stay() {
        let allocation = Allocation::new(&[0.1, 0.3, 0.4, 0.2], 0.0).unwrap();
        let capped = allocation.capped(|arm| arm >= 2, 0.12);
        for (got, exact) in capped.probabilities().iter().zip([0.22, 0.66, 0.08, 0.04]) {
            assert!((got - exact).abs() < 1e-15, "{capped:?}");
        }
        for (stated, drawn) in capped.probabilities().iter().zip(realised(&capped)) {
            assert!((stated - drawn).abs() < 1e-15, "{capped:?}");
        }
        assert_eq!(allocation.capped(|arm| arm >= 2, 0.7), allocation);
        assert_eq!(
            allocation.capped(|_| true, 0.1),
            allocation,
            "there is nobody else"
        );
        assert_eq!(allocation.capped(|arm| arm >= 2, 1.0), allocation);
    }

    #[test]
    fn nonsense_is_refused_with_the_facts() {
        assert_eq!(Allocation::new(&[], 0.02), Err(AllocationError::Empty));
        assert_eq!(
            Allocation::new(&[1.0, -0.5], 0.0),
            Err(AllocationError::Weight {
                arm: 1,
                weight: -0.5
            })
        );
        assert!(matches!(
            Allocation::new(&[f64::NAN], 0.0),
            Err(AllocationError::Weight { arm: 0, .. })
        ));
        assert_eq!(
            Allocation::new(&[0.0, 0.0], 0.5),
            Err(AllocationError::Sum { sum: 0.0 })
        );
        assert!(matches!(
            Allocation::new(&[f64::MAX, f64::MAX], 0.0),
            Err(AllocationError::Sum { .. })
        ));
        assert!(matches!(
            Allocation::new(&[1.0], f64::NAN),
            Err(AllocationError::Floor { .. })
        ));
        assert_eq!(
            Allocation::new(&[1.0], 1.5),
            Err(AllocationError::Floor { floor: 1.5 })
        );
    }

    proptest! {
        #[test]
        fn the_table_draws_what_the_propensities_say(
            logs in prop::collection::vec(-60.0f64..0.0, 1..200), floor in 0.0f64..0.2,
        ) {
            let weights: Vec<f64> = logs.iter().map(|log| log.exp()).collect();
            let allocation = Allocation::new(&weights, floor).unwrap();
            for (stated, drawn) in allocation.probabilities().iter().zip(realised(&allocation)) {
                prop_assert!((stated - drawn).abs() <= f64::EPSILON / 2.0, "{stated} against {drawn}");
            }
            prop_assert!((allocation.probabilities().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
