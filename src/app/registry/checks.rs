//! Which snapshot of an experiment was last looked at, and what for.
//!
//! Invariant: each snapshot is looked at once for each end. What is seen there is left to the oversight.
use std::sync::atomic::{AtomicU64, Ordering};

/// What an experiment is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The harm of each variant.
    Harm,
    /// Its results as a whole.
    Whole,
}

/// Versions of the snapshots last looked at; 0 for none.
#[derive(Debug, Default)]
pub struct Checks {
    harm: AtomicU64,
    whole: AtomicU64,
}

// === impl Checks ===

impl Checks {
    /// Whether this is another version than when this was last asked for the same end.
    pub fn begin(&self, check: Check, version: u64) -> bool {
        let checked = match check {
            Check::Harm => &self.harm,
            Check::Whole => &self.whole,
        };
        checked.swap(version, Ordering::AcqRel) != version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_looked_at_once_for_each_end() {
        let checks = Checks::default();
        for version in [1, 2] {
            for check in [Check::Harm, Check::Whole] {
                assert!(checks.begin(check, version));
                assert!(!checks.begin(check, version));
            }
        }
    }
}
