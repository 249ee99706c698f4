//! Independent streams of random numbers, each named by what it is for.
//!
//! Invariant: a stream depends on its name alone, never on the thread or the order in which streams are used; so policies can be given
//! the same luck.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};

use crate::domain::draws::unit_interval;

use super::LabError;

/// A stream of random numbers.
pub struct Stream(ChaCha8Rng);

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub struct StreamName<'a> {
    /// The run's seed.
    pub seed: u64,
    /// The world within the run.
    pub world: &'a str,
    /// What the numbers decide.
    pub purpose: &'a str,
}

impl Stream {
    /// The stream of this name.
    pub fn new(name: StreamName<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&name.seed.to_le_bytes())
            .update(&(name.world.len() as u64).to_le_bytes())
            .update(name.world.as_bytes())
            .update(name.purpose.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The next number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        unit_interval(self.bits())
    }

    /// The next number below a bound, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Puts a slice in random order (Fisher and Yates 1938).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// How many of so many trials succeed, each with the same chance.
    pub fn successes(&mut self, trials: u64, chance: f64) -> Result<u64, LabError> {
        let binomial = Binomial::new(trials, chance.clamp(0.0, 1.0))
            .map_err(|_| LabError::Defect("a chance is no probability"))?;
        Ok(binomial.sample(&mut self.0))
    }

    /// How many of so many mails each arm gets, with these probabilities.
    pub fn shared_out(&mut self, mails: u64, shares: &[f64]) -> Result<Vec<u64>, LabError> {
        let (mut left, mut mass): (u64, f64) = (mails, shares.iter().sum());
        let mut counts = Vec::with_capacity(shares.len());
        for share in shares {
            let count = self.successes(left, share / mass.max(f64::MIN_POSITIVE))?;
            (left, mass) = (left - count, mass - share);
            counts.push(count);
        }
        if let Some(last) = counts.last_mut() {
            *last += left;
        }
        Ok(counts)
    }

    /// The generator itself, for distributions.
    pub fn generator(&mut self) -> &mut impl Rng {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, world: &str, purpose: &str) -> u64 {
        Stream::new(StreamName {
            seed,
            world,
            purpose,
        })
        .bits()
    }

    #[test]
    fn a_name_fixes_its_stream_and_no_other_has_it() {
        assert_eq!(first(1, "a", "b"), first(1, "a", "b"));
        assert_ne!(first(1, "a", "b"), first(2, "a", "b"));
        assert_ne!(first(1, "ab", ""), first(1, "a", "b"));
    }

    #[test]
    fn shuffling_keeps_everything() {
        let mut items: Vec<u32> = (0..50).collect();
        Stream::new(StreamName {
            seed: 1,
            world: "",
            purpose: "",
        })
        .shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
