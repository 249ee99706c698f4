//! Which hours of the last eight days a person's activity has counted in: a repeated report of one hour counts once.
//!
//! Invariant: an hour inside the window counts at most once, in whatever order reports come; older hours are too late to be told apart.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Hours remembered.
pub const HOURS_KEPT: u32 = 192;

/// A window of hours that ends with the newest one seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveHours {
    /// The newest hour seen, hours since 1970; 0 before the first.
    newest: u32,
    /// Bit i of the window: the hour `newest - i` has counted.
    counted: [u64; 3],
}

/// What became of a reported hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It counts.
    New,
    /// It had counted.
    Again,
    /// It lies before the window.
    TooOld,
}

// === impl ActiveHours ===

impl ActiveHours {
    /// Marks the hour of an instant.
    pub fn mark(&mut self, at: Timestamp) -> Marked {
        let hour = u32::try_from(at.as_second().div_euclid(3_600)).unwrap_or(0);
        if hour > self.newest {
            self.shift(hour - self.newest);
            self.newest = hour;
        }
        let back = self.newest - hour;
        let Some(word) = self.counted.get_mut((back / 64) as usize) else {
            return Marked::TooOld;
        };
        let bit = 1_u64 << (back % 64);
        let marked = if *word & bit == 0 {
            Marked::New
        } else {
            Marked::Again
        };
        *word |= bit;
        marked
    }

    fn shift(&mut self, hours: u32) {
        if hours >= HOURS_KEPT {
            self.counted = [0; 3];
            return;
        }
        for _ in 0..hours / 64 {
            let [first, second, _] = self.counted;
            self.counted = [0, first, second];
        }
        let bits = hours % 64;
        if bits > 0 {
            let [first, second, third] = self.counted;
            self.counted = [
                first << bits,
                second << bits | first >> (64 - bits),
                third << bits | second >> (64 - bits),
            ];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second((400_000 + hour) * 3_600).unwrap()
    }

    #[test]
    fn hours_before_the_window_are_too_old() {
        let mut hours = ActiveHours::default();
        assert_eq!(hours.mark(at(200)), Marked::New);
        assert_eq!(hours.mark(at(9)), Marked::New);
        assert_eq!(hours.mark(at(8)), Marked::TooOld);
    }

    proptest! {
        #[test]
        fn each_hour_counts_once_in_any_order(reports in proptest::collection::vec(0_i64..150, 1..60)) {
            let mut hours = ActiveHours::default();
            let counted = reports.iter().filter(|hour| hours.mark(at(**hour)) == Marked::New).count();
            let distinct: std::collections::BTreeSet<_> = reports.iter().collect();
            prop_assert_eq!(counted, distinct.len());
        }
    }
}
