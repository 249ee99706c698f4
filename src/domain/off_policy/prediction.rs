//! Rewards predicted from earlier choices, for doubly robust scores.
//!
//! Invariant: a choice's prediction never saw its own reward, nor any later one; so the scores stay unbiased whatever the predictions.
use super::Choice;

/// Choices that the mean over all actions is worth against an action's own.
const OVERALL_WEIGHT: f64 = 20.0;

/// One logged choice among actions numbered from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The action chosen.
    pub action: usize,
    /// What it brought.
    pub reward: f64,
    /// Probability with which it was chosen, above 0.
    pub propensity: f64,
    /// Probabilities of all actions under the log's policy; empty where they are not known.
    pub logged: Vec<f64>,
    /// Probabilities of all actions under the other policy.
    pub target: Vec<f64>,
}

/// Means of the rewards so far, by action, each shrunken towards the mean of all: `(s_a + 20 m) / (n_a + 20)`.
#[derive(Clone, Debug, Default)]
pub struct RunningMeans {
    count: Vec<f64>,
    sum: Vec<f64>,
    total: (f64, f64),
}

// === impl RunningMeans ===

impl RunningMeans {
    /// The choices of a log in the order in which they were made, each with what was predicted before it.
    pub fn choices(samples: &[Sample]) -> Vec<Choice> {
        let mut means = Self::default();
        let mut choices = Vec::with_capacity(samples.len());
        for sample in samples {
            choices.push(means.choice(sample));
            means.add(sample.action, sample.reward);
        }
        choices
    }

    fn choice(&self, sample: &Sample) -> Choice {
        let targets = || sample.target.iter().enumerate();
        let known = sample.logged.len() == sample.target.len();
        let mean_square_weight = targets()
            .zip(&sample.logged)
            .filter(|((_, target), _)| **target > 0.0)
            .map(|((_, target), logged)| target * target / logged)
            .sum::<f64>();
        // Without all of the policy's probabilities there is no prediction of its value: then scores are those of IPS.
        let is_whole = (sample.target.iter().sum::<f64>() - 1.0).abs() < 1e-6;
        let predicted = |action: usize| {
            if is_whole {
                self.predicted(action)
            } else {
                0.0
            }
        };
        Choice {
            reward: sample.reward,
            logged: sample.propensity,
            target: sample.target.get(sample.action).copied().unwrap_or(0.0),
            predicted: predicted(sample.action),
            predicted_value: targets()
                .map(|(action, target)| target * predicted(action))
                .sum(),
            mean_square_weight: (known && mean_square_weight > 0.0).then_some(mean_square_weight),
        }
    }

    fn predicted(&self, action: usize) -> f64 {
        let (count, sum) = self.total;
        let overall = if count > 0.0 { sum / count } else { 0.0 };
        let of = |values: &[f64]| values.get(action).copied().unwrap_or(0.0);
        (of(&self.sum) + OVERALL_WEIGHT * overall) / (of(&self.count) + OVERALL_WEIGHT)
    }

    fn add(&mut self, action: usize, reward: f64) {
        if self.count.len() <= action {
            self.count.resize(action + 1, 0.0);
            self.sum.resize(action + 1, 0.0);
        }
        if let (Some(count), Some(sum)) = (self.count.get_mut(action), self.sum.get_mut(action)) {
            *count += 1.0;
            *sum += reward;
        }
        self.total = (self.total.0 + 1.0, self.total.1 + reward);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(action: usize, reward: f64) -> Sample {
        Sample {
            action,
            reward,
            propensity: 0.5,
            logged: vec![0.5, 0.5],
            target: vec![0.2, 0.8],
        }
    }

    #[test]
    fn a_choice_is_predicted_from_those_before_it_only() {
        let choices = RunningMeans::choices(&[sample(0, 1.0), sample(0, 0.0), sample(1, 1.0)]);
        assert_eq!(choices[0].predicted, 0.0);
        // After one reward of 1: (1 + 20) / 21; the other action has the mean of all, which is 1.
        assert!((choices[1].predicted - 1.0).abs() < 1e-12);
        // After 1 and 0: the other action has the mean of all, 1/2; this one (1 + 10) / 22.
        assert!((choices[2].predicted - 0.5).abs() < 1e-12);
        assert!((choices[2].predicted_value - (0.2 * 11.0 / 22.0 + 0.8 * 0.5)).abs() < 1e-12);
    }

    #[test]
    fn the_mean_square_weight_is_over_all_actions_and_needs_all_probabilities() {
        let known = RunningMeans::choices(&[sample(1, 0.0)]);
        assert!((known[0].mean_square_weight.unwrap() - (0.04 + 0.64) / 0.5).abs() < 1e-12);
        let unknown = Sample {
            logged: Vec::new(),
            ..sample(1, 0.0)
        };
        assert_eq!(
            RunningMeans::choices(&[unknown])[0].mean_square_weight,
            None
        );
    }
}
