//! Half-lives of a flow's evidence: kept side by side, and weighed by how well each foretold what came.
//!
//! Invariant: weights are positive and sum to one; without scores they are those believed beforehand. Which cells are mixed by
//! them, and what came, is left to others.
use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use crate::domain::shape::BetaShape;

/// How many half-lives run side by side for a flow.
pub const TRACKS: usize = 5;

/// Half-lives besides the configured one, hours: five days, eleven days, sixty days, never.
///
/// Two days foretell the leader's level best, but leave too little evidence on the others (measured).
const OTHERS_HOURS: [Option<f64>; TRACKS - 1] = [Some(120.0), Some(264.0), Some(1_440.0), None];

/// Logarithms of the weights believed beforehand: most rates are steadier than one bad week suggests (measured: without this lead
/// a flow that never changes loses 1.3 times what it must).
const LOG_BELIEF: [f64; TRACKS] = [0.0, 0.0, 0.0, 1.0, 2.0];

/// Scores halve in so many days, so that a flow that begins to drift is soon judged by its drift.
const SCORE_HALF_LIFE_DAYS: f64 = 13.5;

/// Exponent of the predictive likelihood: days of one flow are not independent judgements (0.5 to 1 measured alike).
const SCORE_EXPONENT: f64 = 0.7;

/// Successes, come and foretold, that hold a track's level at one.
const LEVEL_WEIGHT: f64 = 100.0;

/// Highest rate that a level may lead to.
const RATE_MAX: f64 = 0.999;

/// One of the half-lives that run side by side; 0 is the configured one, which every experiment has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Track(pub u8);

/// The half-lives of one experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracks {
    /// The configured one, hours; none for a campaign, whose evidence never fades.
    configured_hours: Option<f64>,
}

/// How well each track foretold the days so far: discounted logarithms of predictive probabilities, in the order of the tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    logs: [f64; TRACKS],
    /// Successes that came.
    came: f64,
    /// Successes that each track foretold.
    foretold: [f64; TRACKS],
}

/// What came between two looks at one variant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrived {
    /// Effective trials that matured.
    pub trials: f64,
    /// Successes that arrived.
    pub successes: f64,
}

// === impl Track ===

impl Track {
    /// The configured half-life; the only track of a campaign.
    pub const CONFIGURED: Self = Self(0);
    /// Evidence that never fades.
    pub const NEVER: Self = Self(TRACKS as u8 - 1);

    /// Its position among the tracks.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

// === impl Tracks ===

impl Tracks {
    /// A campaign's: one, without end.
    pub fn campaign() -> Self {
        Self {
            configured_hours: None,
        }
    }

    /// A flow's: the configured one, hours, and the others.
    pub fn flow(configured_hours: f64) -> Self {
        Self {
            configured_hours: Some(configured_hours),
        }
    }

    /// Every track with its half-life in hours, none for evidence that never fades.
    pub fn each(self) -> impl Iterator<Item = (Track, Option<f64>)> {
        let others = self.configured_hours.map_or(0, |_| OTHERS_HOURS.len());
        let all =
            std::iter::once(self.configured_hours).chain(OTHERS_HOURS.into_iter().take(others));
        (0..).map(Track).zip(all)
    }
}

// === impl Scores ===

impl Scores {
    /// Lets older days count less.
    pub fn fade(&mut self, days: f64) {
        let kept = (-days.max(0.0) / SCORE_HALF_LIFE_DAYS).exp2();
        self.logs = self.logs.map(|score| score * kept);
        self.came *= kept;
        self.foretold = self.foretold.map(|foretold| foretold * kept);
    }

    /// Adds what came to the variants in one stretch; each with its posterior in every track, as of before it came.
    ///
    /// Each track is judged at its own usual level, `came / foretold` so far: a delay curve that is a little off shifts young evidence
    /// more than old, and the level decides nothing between variants.
    pub fn add(&mut self, variants: &[([BetaShape; TRACKS], Arrived)]) {
        let levels = self.levels();
        for (shapes, arrived) in variants.iter().filter(|(_, came)| came.trials > 0.0) {
            self.came += arrived.successes;
            let tracks = self.logs.iter_mut().zip(&mut self.foretold);
            for ((log, foretold), (shape, level)) in tracks.zip(shapes.iter().zip(levels)) {
                *log += log_predictive(at_level(*shape, level), *arrived);
                *foretold += shape.mean() * arrived.trials;
            }
        }
    }

    fn levels(&self) -> [f64; TRACKS] {
        self.foretold
            .map(|foretold| (self.came + LEVEL_WEIGHT) / (foretold + LEVEL_WEIGHT))
    }

    /// Scores in the order of the tracks, relative to the best one: 0 or less.
    pub fn relative(&self) -> [f64; TRACKS] {
        let best = self.logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.logs.map(|score| score - best)
    }

    /// Weights of the tracks: `w_j` proportional to `b_j exp(0.7 score_j)`, b the belief beforehand.
    ///
    /// Weighing forecasters by their discounted predictive likelihood is the forgetting of Raftery, Karny and Ettler (2010,
    /// dynamic model averaging).
    pub fn weights(&self) -> [f64; TRACKS] {
        let mut logs = LOG_BELIEF;
        for (log, score) in logs.iter_mut().zip(self.relative()) {
            *log += SCORE_EXPONENT * score;
        }
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = logs.map(|log| (log - top).exp());
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }
}

/// The same certainty around a mean that is so many times higher.
fn at_level(shape: BetaShape, level: f64) -> BetaShape {
    let weight = shape.alpha() + shape.beta();
    let mean = (shape.mean() * level).min(RATE_MAX);
    BetaShape::clamped(weight * mean, weight * (1.0 - mean))
}

/// `ln P(S | n, a, b)` of the Beta-binomial, up to the binomial coefficient, which all tracks share:
/// `ln B(a + S, b + n - S) - ln B(a, b)`.
pub fn log_predictive(shape: BetaShape, arrived: Arrived) -> f64 {
    let (a, b) = (shape.alpha(), shape.beta());
    let successes = arrived.successes.max(0.0);
    let failures = (arrived.trials - successes).max(0.0);
    ln_beta(a + successes, b + failures) - ln_beta(a, b)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_has_one_track_and_a_flow_has_all() {
        let campaign: Vec<_> = Tracks::campaign().each().collect();
        assert_eq!(campaign, [(Track::CONFIGURED, None)]);
        let flow: Vec<_> = Tracks::flow(504.0).each().collect();
        assert_eq!(flow.len(), TRACKS);
        assert_eq!(flow[0], (Track::CONFIGURED, Some(504.0)));
        assert_eq!(flow[TRACKS - 1], (Track::NEVER, None));
    }

    #[test]
    fn the_predictive_probabilities_of_all_outcomes_sum_to_one() {
        let shape = BetaShape::clamped(2.0, 5.0);
        let binomial = [1.0, 4.0, 6.0, 4.0, 1.0];
        let sum: f64 = (0..5)
            .map(|successes| {
                let arrived = Arrived {
                    trials: 4.0,
                    successes: f64::from(successes),
                };
                binomial[successes as usize] * log_predictive(shape, arrived).exp()
            })
            .sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        // One trial: the mean itself.
        let one = Arrived {
            trials: 1.0,
            successes: 1.0,
        };
        assert!((log_predictive(shape, one).exp() - 2.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn whoever_foretells_better_gains_weight_and_loses_it_again_with_time() {
        let mut scores = Scores::default();
        let beforehand = scores.weights();
        let mut foretold = [BetaShape::clamped(200.0, 800.0); TRACKS];
        foretold[1] = BetaShape::clamped(100.0, 900.0);
        let arrived = Arrived {
            trials: 1_000.0,
            successes: 100.0,
        };
        scores.add(&[(foretold, arrived)]);
        let weights = scores.weights();
        assert!(weights[1] > 0.99, "{weights:?}");
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(scores.relative()[1], 0.0);
        scores.fade(400.0);
        let faded = scores.weights();
        for (faded, before) in faded.iter().zip(beforehand) {
            assert!((faded - before).abs() < 1e-6, "{faded} {before}");
        }
    }

    #[test]
    fn nothing_that_came_teaches_nothing() {
        let mut scores = Scores::default();
        let alike = [BetaShape::clamped(1.0, 1.0); TRACKS];
        scores.add(&[(alike, Arrived::default())]);
        assert_eq!(scores, Scores::default());
        assert!(Scores::default().weights()[Track::NEVER.index()] > 0.5);
    }
}
