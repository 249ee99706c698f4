//! What is taken for the true rates of a real test, which nobody knows.
//!
//! Raw rates exaggerate differences and so flatter every learner; rates shrunk towards their test's level do not (empirical Bayes).
use serde::Serialize;
use statrs::function::gamma::ln_gamma;

use super::data::{Counts, HeadlineTest};

/// Bounds within which the concentration is sought.
const KAPPA_BOUNDS: (f64, f64) = (10.0, 1e6);

/// How rates are made of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// Shrunk towards the test's level as far as the archive says.
    #[default]
    Shrunken,
    /// Clicks over impressions as they are.
    Empirical,
}

/// A world to play in: the true rates, and how many mails will be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Names its random numbers.
    pub name: String,
    /// True rates of the arms.
    pub rates: Vec<f64>,
    /// Mails to send.
    pub sends: u64,
}

// === impl World ===

impl World {
    /// The rate of the best arm.
    pub fn best_rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// Successes to expect when every mail carries the best arm: `N theta*`.
    pub fn best_successes(&self) -> f64 {
        self.sends as f64 * self.best_rate()
    }

    /// Successes to expect to be lost by these sends: `sum_k n_k (theta* - theta_k)`.
    pub fn lost(&self, sends: &[u64]) -> f64 {
        let best = self.best_rate();
        sends
            .iter()
            .zip(&self.rates)
            .map(|(n, rate)| *n as f64 * (best - rate))
            .sum()
    }

    /// The true rate of an arm; 0 for one that is not there.
    pub fn rate(&self, arm: usize) -> f64 {
        self.rates.get(arm).copied().unwrap_or(0.0)
    }
}

/// The worlds of these tests: horizon the test's own impressions, rates `(c_k + kappa p) / (n_k + kappa)` with `p = sum c / sum n` of the test,
/// or `c_k / n_k`.
pub fn worlds(tests: &[HeadlineTest], truth: Truth, kappa: f64) -> Vec<World> {
    let kappa = match truth {
        Truth::Shrunken => kappa,
        Truth::Empirical => 0.0,
    };
    let world = |test: &HeadlineTest| {
        let (impressions, level) = level(&test.headlines);
        let rate = |counts: &Counts| {
            (counts.clicks as f64 + kappa * level) / (counts.impressions as f64 + kappa)
        };
        World {
            name: test.id.clone(),
            rates: test.headlines.iter().map(rate).collect(),
            sends: impressions,
        }
    };
    tests.iter().map(world).collect()
}

fn level(headlines: &[Counts]) -> (u64, f64) {
    let impressions: u64 = headlines.iter().map(|counts| counts.impressions).sum();
    let clicks: u64 = headlines.iter().map(|counts| counts.clicks).sum();
    (impressions, clicks as f64 / impressions.max(1) as f64)
}

/// The concentration of rates within a test, by maximum likelihood: `c_k ~ BetaBinomial(n_k, kappa p, kappa (1 - p))`, p the test's own pooled rate.
///
/// Golden section on `ln kappa`, in which the likelihood has one summit.
pub fn fit_kappa(tests: &[HeadlineTest]) -> f64 {
    let likelihood = |ln_kappa: f64| -> f64 {
        tests
            .iter()
            .map(|test| test_likelihood(test, ln_kappa.exp()))
            .sum()
    };
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (KAPPA_BOUNDS.0.ln(), KAPPA_BOUNDS.1.ln());
    for _ in 0..40 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if likelihood(left) < likelihood(right) {
            low = left;
        } else {
            high = right;
        }
    }
    f64::midpoint(low, high).exp()
}

fn test_likelihood(test: &HeadlineTest, kappa: f64) -> f64 {
    let (_, level) = level(&test.headlines);
    if level <= 0.0 || level >= 1.0 {
        return 0.0;
    }
    let (a, b) = (kappa * level, kappa * (1.0 - level));
    let ln_beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let of = |counts: &Counts| {
        let (clicks, rest) = (
            counts.clicks as f64,
            (counts.impressions - counts.clicks) as f64,
        );
        ln_beta(a + clicks, b + rest) - ln_beta(a, b)
    };
    test.headlines.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::streams::{Stream, StreamName};
    use rand_distr::{Beta, Binomial, Distribution};

    fn drawn(kappa: f64) -> Vec<HeadlineTest> {
        let mut stream = Stream::new(StreamName {
            seed: 1,
            world: "truth",
            purpose: "test",
        });
        let beta = Beta::new(0.015 * kappa, 0.985 * kappa).unwrap();
        let mut counts = || {
            let rate = beta.sample(stream.generator());
            let clicks = Binomial::new(4_000, rate)
                .unwrap()
                .sample(stream.generator());
            Counts {
                impressions: 4_000,
                clicks,
            }
        };
        let test = |id: usize, headlines| HeadlineTest {
            id: id.to_string(),
            headlines,
        };
        (0..400)
            .map(|id| test(id, (0..5).map(|_| counts()).collect()))
            .collect()
    }

    #[test]
    fn the_concentration_is_found_again() {
        // The test's own pooled rate stands in for its mean, which takes up a fifth of the spread of five headlines.
        for kappa in [500.0, 2_000.0] {
            let ratio = fit_kappa(&drawn(kappa)) / kappa;
            assert!((1.0..1.5).contains(&ratio), "{kappa}: {ratio}");
        }
    }

    #[test]
    fn shrunken_rates_lie_between_the_raw_ones_and_the_level() {
        let test = HeadlineTest {
            id: "a".into(),
            headlines: vec![
                Counts {
                    impressions: 1_000,
                    clicks: 10,
                },
                Counts {
                    impressions: 1_000,
                    clicks: 30,
                },
            ],
        };
        let shrunken = &worlds(std::slice::from_ref(&test), Truth::Shrunken, 1_000.0)[0];
        let empirical = &worlds(&[test], Truth::Empirical, 1_000.0)[0];
        assert_eq!(empirical.rates, [0.01, 0.03]);
        assert!(
            (shrunken.rates[0] - 0.015).abs() < 1e-12 && (shrunken.rates[1] - 0.025).abs() < 1e-12
        );
        assert!((empirical.lost(&[500, 1_500]) - 10.0).abs() < 1e-9);
        assert!((empirical.best_successes() - 60.0).abs() < 1e-9);
    }
}
