//! One world of the planner's scenario: what a user would ask, and what is true.
//!
//! Invariant: the mean rate over worlds is the one that the user states; everything else about the truth is hidden from the planner.
use rand_distr::{Beta, Distribution, LogNormal, StudentT};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::domain::beliefs::Belief;
use crate::domain::delay::DelayCurve;
use crate::domain::exposure::Exposure;
use crate::domain::planner::{Blast, EFFECT_SCALE};
use crate::domain::policy::Policy;
use crate::domain::posterior::Prior;
use crate::lab::LabError;
use crate::lab::streams::{Stream, StreamName};

use super::{Kind, Options};

/// Deadlines, hours.
const WINDOWS_HOURS: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 24.0, 72.0];
/// Usual rates, from clicks to opens.
const RATES: (f64, f64) = (0.01, 0.35);
/// Spread between campaigns, log-odds.
const LEVEL_SD: f64 = 0.35;
/// Published open delays: median in hours and log-sd.
const DELAY: (f64, f64) = (5.0, 2.3);
/// Quantiles that stand for the distribution of effects.
const QUANTILES: usize = 400;

/// What is asked and what is true.
pub struct World {
    /// Mails to send.
    pub audience: u64,
    /// Time until the deadline, hours.
    pub window_hours: f64,
    /// True rates of the variants.
    pub rates: Vec<f64>,
    /// Until an answer, hours.
    pub delay: LogNormal<f64>,
    usual_rate: f64,
    assumed_spread: f64,
    seed: u64,
}

/// A campaign to make a world of.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Mails to send.
    pub audience: u64,
    /// Time until the deadline, hours.
    pub window_hours: f64,
    /// Number of variants.
    pub variants: usize,
    /// The rate that campaigns of this sender have on average.
    pub usual_rate: f64,
    /// How far variants differ, as assumed and in truth: scale in log-odds.
    pub assumed_spread: f64,
    /// The same in truth.
    pub spread: f64,
    /// Median of the delays over the published one.
    pub delay_factor: f64,
    /// Its seed.
    pub seed: u64,
}

// === impl World ===

impl World {
    /// The world of a seed; the same size and rates in every kind but those that are about rates.
    pub fn new(options: &Options, kind: Kind, seed: u64) -> Result<Self, LabError> {
        let mut stream = stream(seed, "campaign");
        let largest = match kind {
            Kind::UseCases => options.use_case_audience_max,
            _ => options.audience_max,
        };
        let between = |low: f64, high: f64, unit: f64| low * (high / low).powf(unit);
        let audience = between(options.audience_min as f64, largest as f64, stream.unit());
        let window = stream.below(WINDOWS_HOURS.len());
        let variants = 2 + stream.below(9);
        let (delay_factor, effects) = match kind {
            Kind::AsAssumed | Kind::UseCases => (1.0, 1.0),
            Kind::Slower => (2.0, 1.0),
            Kind::Faster => (0.5, 1.0),
            Kind::Narrower => (1.0, 0.5),
            Kind::Wider => (1.0, 2.0),
        };
        Self::of(Campaign {
            audience: audience as u64,
            window_hours: WINDOWS_HOURS.get(window).copied().unwrap_or(24.0),
            variants,
            usual_rate: between(RATES.0, RATES.1, stream.unit()),
            assumed_spread: EFFECT_SCALE,
            spread: EFFECT_SCALE * effects,
            delay_factor,
            seed,
        })
    }

    /// The world of a campaign.
    pub fn of(campaign: Campaign) -> Result<Self, LabError> {
        let Campaign {
            audience,
            window_hours,
            variants,
            usual_rate,
            assumed_spread,
            spread,
            delay_factor,
            seed,
        } = campaign;
        let delay = LogNormal::new(f64::ln(DELAY.0 * delay_factor), DELAY.1)
            .map_err(|_| LabError::Defect("the delay has no valid shape"))?;
        let mut stream = stream(seed, "rates");
        Ok(Self {
            audience,
            window_hours,
            rates: rates(usual_rate, variants, spread, &mut stream)?,
            delay,
            usual_rate,
            assumed_spread,
            seed,
        })
    }

    /// What the user asks.
    pub fn question(&self) -> Blast {
        Blast {
            known: vec![Exposure::default(); self.rates.len()],
            belief: self.belief(),
            policy: Policy::default(),
            floor: 0.02,
            planned_sends: self.audience as f64,
            effect_scale: self.assumed_spread,
            holdout_share: 0.0,
            audience: self.audience,
            lead_hours: 0.0,
            window_hours: self.window_hours,
            sends_per_hour: None,
        }
    }

    /// What hermod believes at first.
    pub fn belief(&self) -> Belief {
        Belief {
            prior: Prior {
                mean: self.usual_rate,
                weight: (0.25 / self.usual_rate).max(10.0),
            },
            curve: DelayCurve::default_open(),
        }
    }

    /// Successes expected of sending evenly.
    pub fn evenly(&self) -> f64 {
        self.audience as f64 * self.rates.iter().sum::<f64>() / self.rates.len() as f64
    }

    /// A stream of this world.
    pub fn stream(&self, purpose: &str) -> Stream {
        stream(self.seed, purpose)
    }
}

fn stream(seed: u64, purpose: &str) -> Stream {
    Stream::new(StreamName {
        seed,
        world: "planner",
        purpose,
    })
}

/// A level for the campaign and an effect for each variant, Student's t with three degrees of freedom.
fn rates(
    usual: f64,
    variants: usize,
    scale: f64,
    stream: &mut Stream,
) -> Result<Vec<f64>, LabError> {
    let defect = |_| LabError::Defect("the rates have no valid shape");
    let kappa = (1.0 / (LEVEL_SD * LEVEL_SD * usual * (1.0 - usual)) - 1.0).max(2.0);
    let level = Beta::new(kappa * usual, kappa * (1.0 - usual))
        .map_err(|_| LabError::Defect("the level has no valid shape"))?;
    let level = level.sample(stream.generator()).clamp(1e-6, 1.0 - 1e-6);
    // Without a spread there is nothing to draw, and no distribution either.
    let shape = StudentsT::new(0.0, scale.max(1e-9), 3.0).map_err(defect)?;
    let quantiles: Vec<f64> = (0..QUANTILES)
        .map(|at| shape.inverse_cdf((at as f64 + 0.5) / QUANTILES as f64))
        .collect();
    let log_odds = (level / (1.0 - level)).ln();
    let sigmoid = |odds: f64| 1.0 / (1.0 + (-odds).exp());
    // Odds are not linear: lowered so that the mean over effects is the level.
    let (mut low, mut high) = (-3.0, 3.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        let sum: f64 = quantiles
            .iter()
            .map(|effect| sigmoid(log_odds + effect - middle))
            .sum();
        if sum / QUANTILES as f64 > level {
            low = middle;
        } else {
            high = middle;
        }
    }
    let student = StudentT::new(3.0).map_err(|_| LabError::Defect("no such Student's t"))?;
    Ok((0..variants)
        .map(|_| {
            let effect: f64 = student.sample(stream.generator());
            sigmoid(log_odds + scale * effect - 0.5 * (low + high))
        })
        .collect())
}
