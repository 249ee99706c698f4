//! The randomness of a decision: fixed by the store's seed, the experiment, the recipient and the occasion.
//!
//! Invariant: the same question gets the same draws on every machine and after every restart, so decisions can be replayed; draws of
//! different recipients, experiments or occasions are independent as far as keyed BLAKE3 is a random function.
use crate::domain::name::{ExperimentUid, RecipientKey};

/// The seed of all draws of one store.
#[derive(Clone, Copy)]
pub struct Seed(pub [u8; 32]);

/// The random numbers of one decision, each uniform over all 64-bit values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// Decides on the holdout; the same for all occasions of an experiment.
    pub holdout: u64,
    /// Chooses the variant.
    pub variant: u64,
    /// Spreads the send time.
    pub jitter: u64,
    /// Ties token and touch together.
    pub fingerprint: u64,
    /// Decides whether the hour is drawn at random, to learn.
    pub explore: u64,
    /// Which hour that is.
    pub hour: u64,
}

// === impl Seed ===

impl Seed {
    /// A seed from a number, for tests, simulations and configurations that want to repeat themselves.
    pub fn from_number(number: u64) -> Self {
        Self(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    /// The draws of one decision. `occasion` is a fingerprint, 0 for none; `attempt` counts earlier answers that can no longer hold.
    pub fn draws(
        &self,
        experiment: ExperimentUid,
        recipient: RecipientKey,
        occasion: u64,
        attempt: u64,
    ) -> Draws {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher
            .update(&experiment.0.to_le_bytes())
            .update(&recipient.0);
        let mut holdout = [0; 8];
        hasher.finalize_xof().fill(&mut holdout);
        hasher
            .update(&occasion.to_le_bytes())
            .update(&attempt.to_le_bytes());
        // The first words stay what they are when more are drawn: an extendable output.
        let mut bytes = [0; 40];
        hasher.finalize_xof().fill(&mut bytes);
        let word = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .rev()
                .fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
        };
        Draws {
            holdout: u64::from_le_bytes(holdout),
            variant: word(0),
            jitter: word(8),
            fingerprint: word(16),
            explore: word(24),
            hour: word(32),
        }
    }
}

/// A number in [0, 1) from 53 bits of a draw.
pub fn unit_interval(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(recipient: u8, occasion: u64) -> Draws {
        Seed::from_number(1).draws(ExperimentUid(1), RecipientKey([recipient; 16]), occasion, 0)
    }

    #[test]
    fn the_same_question_gets_the_same_draws() {
        assert_eq!(draws(1, 0), draws(1, 0));
    }

    #[test]
    fn another_occasion_redraws_the_variant_but_not_the_holdout() {
        assert_eq!(draws(1, 0).holdout, draws(1, 5).holdout);
        assert_ne!(draws(1, 0).variant, draws(1, 5).variant);
        assert_ne!(draws(1, 0).holdout, draws(2, 0).holdout);
    }

    #[test]
    fn draws_fill_the_unit_interval_evenly() {
        let seed = Seed::from_number(3);
        let mut counts = [0_u32; 10];
        for i in 0..20_000_u32 {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&i.to_le_bytes());
            let draw = seed.draws(ExperimentUid(1), RecipientKey(key), 0, 0);
            counts[(unit_interval(draw.variant) * 10.0) as usize] += 1;
        }
        let chi_square: f64 = counts
            .iter()
            .map(|n| (f64::from(*n) - 2000.0).powi(2) / 2000.0)
            .sum();
        assert!(chi_square < 27.9, "p below 0.001: {chi_square}");
    }
}
