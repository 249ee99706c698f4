//! The families of posteriors, behind one type for whoever compares variants: rates, values per mail, utilities per mail.
//!
//! Invariant: every answer is finite, and all candidates of one experiment are of one family. How they come about is left to the others here.
use serde::{Deserialize, Serialize};

use crate::domain::gamma_shape::GammaShape;
use crate::domain::quadrature::{BestArm, best_arm};
use crate::domain::shape::{BetaShape, Interval};

/// The posterior of what one mail brings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Posterior {
    /// A rate, 0 to 1.
    Rate(BetaShape),
    /// A value above 0, in the caller's money.
    Value(ValuePosterior),
    /// A utility, in the caller's units; may be negative.
    Utility(UtilityPosterior),
}

/// A Gamma posterior of the value per mail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValuePosterior {
    /// The distribution.
    pub shape: GammaShape,
    /// How many trials it is worth, prior included.
    pub trials: f64,
}

/// A Beta posterior stretched to a range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UtilityPosterior {
    /// Where in the range the utility lies, as a share of it.
    pub share: BetaShape,
    /// The range, the same for all candidates of an experiment: all harm and no benefit, to all benefit and no harm.
    pub range: Interval,
    /// How many trials it is worth, prior included.
    pub trials: f64,
}

// === impl Posterior ===

impl Posterior {
    /// The mean, per mail.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Rate(shape) => shape.mean(),
            Self::Value(value) => value.shape.mean(),
            Self::Utility(utility) => utility.at(utility.share.mean()),
        }
    }

    /// The variance of the mean per mail.
    pub fn variance(&self) -> f64 {
        match self {
            Self::Rate(shape) => shape.variance(),
            Self::Value(value) => value.shape.variance(),
            Self::Utility(utility) => utility.share.variance() * utility.width().powi(2),
        }
    }

    /// The equal-tailed credible interval that holds the share `mass` (0 to 1) of the probability.
    pub fn credible_interval(&self, mass: f64) -> Interval {
        match self {
            Self::Rate(shape) => shape.credible_interval(mass),
            Self::Value(value) => value.shape.credible_interval(mass),
            Self::Utility(utility) => {
                let share = utility.share.credible_interval(mass);
                Interval {
                    low: utility.at(share.low),
                    high: utility.at(share.high),
                }
            }
        }
    }

    /// How many trials it is worth, prior included.
    pub fn trials(&self) -> f64 {
        match self {
            Self::Rate(shape) => shape.alpha() + shape.beta(),
            Self::Value(ValuePosterior { trials, .. })
            | Self::Utility(UtilityPosterior { trials, .. }) => *trials,
        }
    }

    /// The same mean known `scale` times as well: the variance is divided by about `scale`.
    pub fn narrowed(&self, scale: f64) -> Self {
        let narrower =
            |shape: &BetaShape| BetaShape::clamped(scale * shape.alpha(), scale * shape.beta());
        match self {
            Self::Rate(shape) => Self::Rate(narrower(shape)),
            Self::Value(value) => Self::Value(ValuePosterior {
                shape: GammaShape::clamped(scale * value.shape.shape(), value.shape.mean()),
                trials: scale * value.trials,
            }),
            Self::Utility(utility) => Self::Utility(UtilityPosterior {
                share: narrower(&utility.share),
                trials: scale * utility.trials,
                ..*utility
            }),
        }
    }
}

impl From<BetaShape> for Posterior {
    fn from(shape: BetaShape) -> Self {
        Self::Rate(shape)
    }
}

// === impl UtilityPosterior ===

impl UtilityPosterior {
    fn width(&self) -> f64 {
        self.range.high - self.range.low
    }

    fn at(&self, share: f64) -> f64 {
        self.range.low + self.width() * share
    }
}

/// Who is best among posteriors of one family, by the quadrature on that family's coordinate.
///
/// Different families cannot be compared: then all are called equally likely, and nothing is lost by any. Utilities are compared as shares of
/// their common range, the first one's; losses come back in its units.
pub fn best_posterior(posteriors: &[Posterior]) -> BestArm {
    let rates = posteriors.iter().map(|posterior| match posterior {
        Posterior::Rate(shape) => Some(*shape),
        _ => None,
    });
    let values = posteriors.iter().map(|posterior| match posterior {
        Posterior::Value(value) => Some(value.shape),
        _ => None,
    });
    let shares = posteriors.iter().map(|posterior| match posterior {
        Posterior::Utility(utility) => Some(utility.share),
        _ => None,
    });
    if let Some(rates) = rates.collect::<Option<Vec<BetaShape>>>() {
        best_arm(&rates)
    } else if let Some(values) = values.collect::<Option<Vec<GammaShape>>>() {
        best_arm(&values)
    } else if let (Some(shares), Some(Posterior::Utility(first))) = (
        shares.collect::<Option<Vec<BetaShape>>>(),
        posteriors.first(),
    ) {
        let best = best_arm(&shares);
        BestArm {
            expected_maximum: first.at(best.expected_maximum),
            expected_loss: best
                .expected_loss
                .iter()
                .map(|loss| loss * first.width())
                .collect(),
            probability: best.probability,
        }
    } else {
        alike(posteriors)
    }
}

fn alike(posteriors: &[Posterior]) -> BestArm {
    let means = posteriors.iter().map(Posterior::mean);
    BestArm {
        probability: vec![1.0 / posteriors.len().max(1) as f64; posteriors.len()],
        expected_loss: vec![0.0; posteriors.len()],
        expected_maximum: means.fold(f64::NEG_INFINITY, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(alpha: f64, beta: f64) -> Posterior {
        BetaShape::clamped(alpha, beta).into()
    }

    fn stretched(alpha: f64, beta: f64, low: f64, high: f64) -> Posterior {
        Posterior::Utility(UtilityPosterior {
            share: BetaShape::clamped(alpha, beta),
            range: Interval { low, high },
            trials: alpha + beta,
        })
    }

    #[test]
    fn a_stretched_rate_is_as_likely_best_and_loses_in_the_units_of_its_range() {
        let plain = best_posterior(&[rate(20.0, 980.0), rate(30.0, 970.0)]);
        let wide = [
            stretched(20.0, 980.0, -5.0, 15.0),
            stretched(30.0, 970.0, -5.0, 15.0),
        ];
        let best = best_posterior(&wide);
        assert!((plain.probability[0] - best.probability[0]).abs() < 1e-12);
        assert!((best.expected_loss[0] - 20.0 * plain.expected_loss[0]).abs() < 1e-12);
        assert!((best.expected_maximum - (-5.0 + 20.0 * plain.expected_maximum)).abs() < 1e-12);
        assert!((wide[0].mean() - (-5.0 + 20.0 * 0.02)).abs() < 1e-12);
        let interval = wide[0].credible_interval(0.95);
        assert!(interval.low < wide[0].mean() && wide[0].mean() < interval.high);
    }

    #[test]
    fn narrowing_keeps_the_mean_and_divides_the_variance() {
        let value = Posterior::Value(ValuePosterior {
            shape: GammaShape::clamped(12.0, 3.0),
            trials: 600.0,
        });
        for posterior in [rate(200.0, 800.0), value, stretched(2e6, 3e6, -110.0, 1.0)] {
            let narrowed = posterior.narrowed(4.0);
            assert!((narrowed.mean() - posterior.mean()).abs() < 1e-9);
            let ratio = posterior.variance() / narrowed.variance();
            assert!((ratio - 4.0).abs() < 0.02, "{posterior:?}: {ratio}");
            assert!((narrowed.trials() / posterior.trials() - 4.0).abs() < 1e-9);
        }
    }

    #[test]
    fn families_that_cannot_be_compared_are_alike() {
        let mixed = [rate(1.0, 9.0), stretched(1.0, 9.0, 0.0, 1.0)];
        assert_eq!(best_posterior(&mixed).probability, [0.5, 0.5]);
        assert!(best_posterior(&[]).probability.is_empty());
    }
}
