//! Off-policy evaluation: what another policy would have got, from a log of choices with the probabilities they were made with.
//!
//! Invariant: every estimate is a weighted mean of per-choice scores with an interval that allows for an adaptive logging policy as far as
//! its own text says. Which choices are matured, and the probabilities themselves, are left to the callers.
use serde::Serialize;

mod prediction;

pub use prediction::{RunningMeans, Sample};

/// 97.5 % quantile of the standard normal: a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;
/// Below so many effective choices an estimate should not decide anything.
pub const EFFECTIVE_MIN: f64 = 200.0;

/// One logged choice, as far as an estimate looks at it. Choices must come in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What it brought.
    pub reward: f64,
    /// Probability with which the log's policy chose it, above 0.
    pub logged: f64,
    /// Probability with which the other policy would have.
    pub target: f64,
    /// The reward predicted for it, from choices before it only.
    pub predicted: f64,
    /// The reward predicted for the other policy here: `sum_a pi(a) r(a)`, from choices before it only.
    pub predicted_value: f64,
    /// `sum_a pi(a)^2 / p(a)`, the mean squared weight here; none where the other probabilities are not known.
    pub mean_square_weight: Option<f64>,
}

/// A value with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Value {
    /// The estimate.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Estimates of one policy's value per send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Choices in the log.
    pub choices: usize,
    /// Mean reward of the log itself.
    pub logged: Value,
    /// Inverse propensity score: `mean(w r)` with `w = pi / p` (Horvitz and Thompson 1952). Unbiased without clipping.
    pub ips: Value,
    /// Self-normalised: `sum(w r) / sum(w)` (Swaminathan and Joachims 2015). A little biased, less variable.
    pub snips: Value,
    /// Doubly robust: `mean(sum_a pi(a) r(a) + w (reward - r))` (Dudik, Langford and Li 2011), predictions from earlier choices.
    pub doubly_robust: Value,
    /// The same scores weighted by `h = (sum_a pi(a)^2 / p(a))^(-1/2)`, which evens out their variances, so that the interval
    /// holds under an adaptive log (Hadad, Hirshberg, Zhan, Wager and Athey, PNAS 2021); the interval to trust.
    pub adaptive: Value,
    /// Effective sample size `(sum w)^2 / sum w^2`.
    pub effective_choices: f64,
    /// Share of choices whose weight was cut.
    pub clipped_share: f64,
    /// Mean weight; far from 1, propensities are wrong or the log never chose what the policy wants.
    pub mean_weight: Value,
}

/// What to beware of in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// The policy is taken as it stands: one that learns from its own choices would have learned something else.
    StaticPolicy,
    /// The effective sample is small.
    SmallSample,
    /// Weights were cut, so the estimate is biased towards the log's own policy.
    Clipped,
    /// The mean weight is more than three standard errors from 1: propensities or overlap are wrong.
    NoOverlap,
}

// === impl Value ===

impl Value {
    fn around(mean: f64, standard_error: f64) -> Self {
        Self {
            mean,
            standard_error,
            low: mean - Z_95 * standard_error,
            high: mean + Z_95 * standard_error,
        }
    }

    /// The mean of scores with weights: `sum(h s) / sum(h)`, variance `sum(h^2 (s - mean)^2) / (sum h)^2`.
    fn weighted(scores: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let (all, sum) = scores
            .clone()
            .fold((0.0, 0.0), |(all, sum), (weight, score)| {
                (all + weight, sum + weight * score)
            });
        if all <= 0.0 {
            return Self::default();
        }
        let mean = sum / all;
        let squares: f64 = scores
            .map(|(weight, score)| (weight * (score - mean)).powi(2))
            .sum();
        Self::around(mean, squares.sqrt() / all)
    }

    /// The plain mean of scores.
    fn mean_of(scores: impl Iterator<Item = f64> + Clone) -> Self {
        Self::weighted(scores.map(|score| (1.0, score)))
    }

    /// Whether a truth lies in the interval.
    pub fn covers(&self, truth: f64) -> bool {
        (self.low..=self.high).contains(&truth)
    }
}

// === impl Choice ===

impl Choice {
    /// `w = pi / p`, cut at the maximum.
    fn weight(&self, weight_max: f64) -> f64 {
        (self.target / self.logged).min(weight_max)
    }

    /// `sum_a pi(a) r(a) + w (reward - r)`.
    fn doubly_robust(&self, weight_max: f64) -> f64 {
        self.predicted_value + self.weight(weight_max) * (self.reward - self.predicted)
    }
}

// === impl Evaluation ===

impl Evaluation {
    /// Evaluates a policy on logged choices; weights above `weight_max` are cut to it.
    pub fn of(choices: &[Choice], weight_max: f64) -> Self {
        let weights = choices.iter().map(|choice| choice.weight(weight_max));
        let (sum, squares) = weights
            .clone()
            .fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
        let clipped = choices
            .iter()
            .filter(|choice| choice.target / choice.logged > weight_max)
            .count();
        let rewards = choices.iter().map(|choice| choice.reward);
        let steady = |choice: &Choice| choice.mean_square_weight.map_or(1.0, |m| 1.0 / m.sqrt());
        Self {
            choices: choices.len(),
            logged: Value::mean_of(rewards.clone()),
            ips: Value::mean_of(weights.clone().zip(rewards.clone()).map(|(w, r)| w * r)),
            // The delta method: the variance of sum(w r) / sum(w) is that of a weighted mean.
            snips: Value::weighted(weights.clone().zip(rewards)),
            doubly_robust: Value::mean_of(
                choices
                    .iter()
                    .map(|choice| choice.doubly_robust(weight_max)),
            ),
            adaptive: Value::weighted(
                choices
                    .iter()
                    .map(|choice| (steady(choice), choice.doubly_robust(weight_max))),
            ),
            effective_choices: if squares > 0.0 {
                sum * sum / squares
            } else {
                0.0
            },
            clipped_share: clipped as f64 / choices.len().max(1) as f64,
            mean_weight: Value::mean_of(weights),
        }
    }

    /// What to beware of; a policy taken as it stands is always named.
    pub fn concerns(&self) -> Vec<Concern> {
        let far =
            (self.mean_weight.mean - 1.0).abs() > 3.0 * self.mean_weight.standard_error + 1e-9;
        let found = [
            (Concern::StaticPolicy, true),
            (Concern::SmallSample, self.effective_choices < EFFECTIVE_MIN),
            (Concern::Clipped, self.clipped_share > 0.0),
            (Concern::NoOverlap, far && self.choices > 0),
        ];
        found
            .into_iter()
            .filter(|(_, holds)| *holds)
            .map(|(concern, _)| concern)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(reward: f64, logged: f64, target: f64) -> Choice {
        Choice {
            reward,
            logged,
            target,
            predicted: 0.5,
            predicted_value: 0.25,
            mean_square_weight: Some(1.0 / logged),
        }
    }

    /// Three choices with weights 2, 0.5 and 4.
    fn log() -> [Choice; 3] {
        [
            choice(1.0, 0.25, 0.5),
            choice(0.0, 0.5, 0.25),
            choice(1.0, 0.125, 0.5),
        ]
    }

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-12, "{one} against {other}");
    }

    #[test]
    fn the_estimates_match_values_worked_out_by_hand() {
        let evaluation = Evaluation::of(&log(), 1_000.0);
        near(evaluation.logged.mean, 2.0 / 3.0);
        // Scores 2, 0, 4: mean 2, sum of squared deviations 8.
        near(evaluation.ips.mean, 2.0);
        near(evaluation.ips.standard_error, 8.0_f64.sqrt() / 3.0);
        near(evaluation.ips.high, 2.0 + Z_95 * 8.0_f64.sqrt() / 3.0);
        // (2 + 4) / 6.5; deviations 1/13, 12/13 and 1/13 times their weights.
        near(evaluation.snips.mean, 12.0 / 13.0);
        let squares: f64 = [2.0 / 13.0, 0.5 * 12.0 / 13.0, 4.0 / 13.0]
            .iter()
            .map(|deviation: &f64| deviation * deviation)
            .sum();
        near(evaluation.snips.standard_error, squares.sqrt() / 6.5);
        // 0.25 + 2 * 0.5, 0.25 - 0.5 * 0.5, 0.25 + 4 * 0.5.
        near(evaluation.doubly_robust.mean, (1.25 + 0.0 + 2.25) / 3.0);
        // h = sqrt(p): 0.5, sqrt(0.5), sqrt(0.125).
        let h = [0.5, 0.5_f64.sqrt(), 0.125_f64.sqrt()];
        let adaptive = (h[0] * 1.25 + h[2] * 2.25) / h.iter().sum::<f64>();
        near(evaluation.adaptive.mean, adaptive);
        near(evaluation.effective_choices, 6.5 * 6.5 / 20.25);
        near(evaluation.mean_weight.mean, 6.5 / 3.0);
    }

    #[test]
    fn weights_are_cut_and_said_to_be() {
        let evaluation = Evaluation::of(&log(), 2.0);
        near(evaluation.ips.mean, (2.0 + 0.0 + 2.0) / 3.0);
        near(evaluation.clipped_share, 1.0 / 3.0);
        assert!(evaluation.concerns().contains(&Concern::Clipped));
        assert!(evaluation.concerns().contains(&Concern::SmallSample));
    }

    #[test]
    fn the_logs_own_policy_is_worth_the_mean_of_the_log() {
        let own: Vec<Choice> = (0..1_000)
            .map(|at| choice(f64::from(at % 4 == 0), 0.3, 0.3))
            .collect();
        let evaluation = Evaluation::of(&own, 1_000.0);
        near(evaluation.ips.mean, 0.25);
        near(evaluation.snips.mean, 0.25);
        near(evaluation.effective_choices, 1_000.0);
        assert_eq!(evaluation.concerns(), [Concern::StaticPolicy]);
    }

    #[test]
    fn a_policy_that_the_log_never_followed_is_called_out() {
        let never: Vec<Choice> = (0..1_000).map(|_| choice(1.0, 0.5, 0.0)).collect();
        let evaluation = Evaluation::of(&never, 1_000.0);
        assert!(evaluation.concerns().contains(&Concern::NoOverlap));
        assert_eq!(Evaluation::of(&[], 1.0).ips, Value::default());
    }
}
