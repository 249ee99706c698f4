//! The policies that are compared, each playing one world from the first mail to the last.
//!
//! Invariant: all players of one world and seed meet the same luck: mail j of any player is answered when the j-th number is below the rate of
//! its variant. How hermod itself is run is left to `hermod`.
use rand_distr::{Beta, Distribution};

use crate::domain::allocation::Allocation;
use crate::domain::quadrature::best_arm;
use crate::domain::shape::BetaShape;
use crate::lab::LabError;
use crate::lab::streams::{Stream, StreamName};

use super::truth::World;

/// A game: a world, its luck, and how often feedback is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Game<'a> {
    /// The world.
    pub world: &'a World,
    /// Fixes the luck.
    pub seed: u64,
    /// Equal batches; feedback of one is known before the next.
    pub batches: u64,
}

/// What is known of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Mails sent.
    pub sends: u64,
    /// Of these answered.
    pub successes: u64,
}

/// Answers to mails, in their order.
pub struct Luck<'a> {
    world: &'a World,
    stream: Stream,
}

// === impl Game ===

impl Game<'_> {
    /// A stream of this game.
    pub fn stream(&self, purpose: &'static str) -> Stream {
        Stream::new(StreamName {
            seed: self.seed,
            world: &self.world.name,
            purpose,
        })
    }

    /// The luck that all players of this game share.
    pub fn luck(&self) -> Luck<'_> {
        Luck {
            world: self.world,
            stream: self.stream("answers"),
        }
    }

    /// Numbers of mails in each batch; they differ by at most one.
    pub fn batch_sizes(&self) -> impl Iterator<Item = u64> {
        let (sends, batches) = (self.world.sends, self.batches.max(1));
        let until =
            move |batch: u64| (u128::from(sends) * u128::from(batch) / u128::from(batches)) as u64;
        (0..batches).map(move |batch| until(batch + 1) - until(batch))
    }

    fn tallies(&self) -> Vec<Tally> {
        vec![Tally::default(); self.world.rates.len()]
    }

    /// Plays in batches: `allocate` is asked before each what to draw it from.
    pub fn in_batches(
        &self,
        mut allocate: impl FnMut(&[Tally]) -> Result<Allocation, LabError>,
    ) -> Result<Vec<Tally>, LabError> {
        let (mut luck, mut choices) = (self.luck(), self.stream("choices"));
        let mut tallies = self.tallies();
        for size in self.batch_sizes() {
            let allocation = allocate(&tallies)?;
            for _ in 0..size {
                let arm = allocation.draw(choices.bits());
                luck.count(&mut tallies, arm);
            }
        }
        Ok(tallies)
    }

    /// Thompson sampling from Beta(1 + S, 1 + n - S), looked at in batches.
    pub fn thompson_in_batches(&self) -> Result<Vec<Tally>, LabError> {
        self.in_batches(|tallies| {
            let shapes: Vec<BetaShape> = tallies.iter().map(flat_posterior).collect();
            allocation(&best_arm(&shapes).probability)
        })
    }

    /// Thompson sampling from Beta(1 + S, 1 + n - S), looked at after each mail: the customary yardstick, kinder than any real feedback.
    pub fn thompson_at_once(&self) -> Result<Vec<Tally>, LabError> {
        let (mut luck, mut choices) = (self.luck(), self.stream("choices"));
        let mut tallies = self.tallies();
        let distribution = |tally: &Tally| {
            let shape = flat_posterior(tally);
            Beta::new(shape.alpha(), shape.beta())
                .map_err(|_| LabError::Defect("a posterior has no valid shape"))
        };
        let mut posteriors: Vec<Beta<f64>> =
            tallies.iter().map(distribution).collect::<Result<_, _>>()?;
        for _ in 0..self.world.sends {
            let mut best = (0, f64::NEG_INFINITY);
            for (arm, posterior) in posteriors.iter().enumerate() {
                let rate = posterior.sample(choices.generator());
                if rate > best.1 {
                    best = (arm, rate);
                }
            }
            luck.count(&mut tallies, best.0);
            if let (Some(slot), Some(tally)) = (posteriors.get_mut(best.0), tallies.get(best.0)) {
                *slot = distribution(tally)?;
            }
        }
        Ok(tallies)
    }

    /// All arms alike.
    pub fn uniform(&self) -> Result<Vec<Tally>, LabError> {
        self.in_batches(|tallies| allocation(&vec![1.0; tallies.len()]))
    }

    /// All arms in turn for this share of the mails, then only the one with the highest rate.
    pub fn explore_then_commit(&self, share: f64) -> Vec<Tally> {
        let mut luck = self.luck();
        let mut tallies = self.tallies();
        let arms = tallies.len().max(1);
        let explored = (share * self.world.sends as f64).ceil() as u64;
        for mail in 0..explored.min(self.world.sends) {
            luck.count(&mut tallies, (mail % arms as u64) as usize);
        }
        let rate = |tally: &Tally| tally.successes as f64 / tally.sends.max(1) as f64;
        let leader = (0..arms)
            .rev()
            .max_by(|one, other| {
                let of = |arm: &usize| tallies.get(*arm).map_or(0.0, rate);
                of(one).total_cmp(&of(other))
            })
            .unwrap_or(0);
        for _ in explored..self.world.sends {
            luck.count(&mut tallies, leader);
        }
        tallies
    }
}

fn flat_posterior(tally: &Tally) -> BetaShape {
    let successes = tally.successes as f64;
    BetaShape::clamped(1.0 + successes, 1.0 + tally.sends as f64 - successes)
}

fn allocation(weights: &[f64]) -> Result<Allocation, LabError> {
    Allocation::new(weights, 0.0).map_err(|_| LabError::Defect("chances do not make an allocation"))
}

// === impl Luck ===

impl Luck<'_> {
    /// Whether the next mail is answered when it carries this arm.
    pub fn answers(&mut self, arm: usize) -> bool {
        self.stream.unit() < self.world.rate(arm)
    }

    fn count(&mut self, tallies: &mut [Tally], arm: usize) {
        let answered = self.answers(arm);
        if let Some(tally) = tallies.get_mut(arm) {
            tally.sends += 1;
            tally.successes += u64::from(answered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World {
            name: "obvious".into(),
            rates: vec![0.05, 0.5, 0.1],
            sends: 3_001,
        }
    }

    fn game(world: &World) -> Game<'_> {
        Game {
            world,
            seed: 1,
            batches: 20,
        }
    }

    fn sends(tallies: &[Tally]) -> u64 {
        tallies.iter().map(|tally| tally.sends).sum()
    }

    #[test]
    fn every_player_sends_every_mail_and_learners_find_the_obvious_best() {
        let world = world();
        let game = game(&world);
        assert_eq!(game.batch_sizes().sum::<u64>(), 3_001);
        let uniform = game.uniform().unwrap();
        assert_eq!(sends(&uniform), 3_001);
        assert!(
            uniform
                .iter()
                .all(|tally| (850..1_150).contains(&tally.sends))
        );
        for learner in [
            game.thompson_at_once().unwrap(),
            game.thompson_in_batches().unwrap(),
            game.explore_then_commit(0.1),
        ] {
            assert_eq!(sends(&learner), 3_001);
            assert!(learner[1].sends > 2_700, "{learner:?}");
        }
    }

    #[test]
    fn the_same_seed_plays_the_same_game_and_another_another() {
        let world = world();
        let again = |seed| {
            Game {
                seed,
                ..game(&world)
            }
            .thompson_at_once()
            .unwrap()
        };
        assert_eq!(again(1), again(1));
        assert_ne!(again(1), again(2));
    }

    #[test]
    fn exploring_a_tenth_shows_all_arms_alike() {
        let world = World {
            sends: 1_000,
            ..world()
        };
        let tallies = game(&world).explore_then_commit(0.1);
        assert_eq!((tallies[0].sends, tallies[2].sends), (34, 33));
    }
}
