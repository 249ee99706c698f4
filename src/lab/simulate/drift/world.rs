//! Rates that stay, wander or jump, day by day.
//!
//! Invariant: a seed and a regime fix the rates, whoever plays.
use rand_distr::{Distribution, LogNormal, Normal};
use serde::Serialize;

use crate::domain::experiment::{ExperimentKind, Objective, Settings};
use crate::domain::policy::Policy;
use crate::lab::LabError;
use crate::lab::campaign::campaign_settings;
use crate::lab::streams::{Stream, StreamName};

use super::Options;

/// The half-life that a flow is configured with by default, hours.
pub const CONFIGURED_HOURS: f64 = 504.0;
/// Answers later than this do not come, hours.
const ATTRIBUTION_HOURS: f64 = 167.0;
/// Standard deviation of the logarithm of the delay.
const DELAY_SIGMA: f64 = 2.3;

/// How rates move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// Not at all.
    Stationary,
    /// Ornstein-Uhlenbeck in log-odds with a correlation time of 112 days.
    SlowDrift,
    /// The same with 18 days.
    FastDrift,
    /// All redrawn at random instants, 30 days apart on average.
    RareJumps,
    /// All redrawn at random instants, 7 days apart on average.
    FrequentJumps,
}

/// How late answers come.
pub struct Delay(Option<LogNormal<f64>>);

/// A seed's rates.
pub struct World<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// The regime.
    pub regime: Regime,
    /// The seed.
    pub seed: u64,
    /// Rates by day, then by arm.
    pub rates: Vec<Vec<f64>>,
}

// === impl Regime ===

impl Regime {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Stationary,
        Self::SlowDrift,
        Self::FastDrift,
        Self::RareJumps,
        Self::FrequentJumps,
    ];

    /// Its name, also of its random numbers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stationary => "stationary",
            Self::SlowDrift => "wanders, 112 days",
            Self::FastDrift => "wanders, 18 days",
            Self::RareJumps => "jumps, every 30 days",
            Self::FrequentJumps => "jumps, every 7 days",
        }
    }

    fn correlation_days(self) -> Option<f64> {
        match self {
            Self::SlowDrift => Some(112.0),
            Self::FastDrift => Some(18.0),
            _ => None,
        }
    }

    fn days_between_jumps(self) -> Option<f64> {
        match self {
            Self::RareJumps => Some(30.0),
            Self::FrequentJumps => Some(7.0),
            _ => None,
        }
    }
}

// === impl World ===

impl<'a> World<'a> {
    /// Draws the rates.
    pub fn new(options: &'a Options, regime: Regime, seed: u64) -> Result<Self, LabError> {
        let mut stream = Stream::new(StreamName {
            seed,
            world: regime.as_str(),
            purpose: "rates",
        });
        let effect = Normal::new(0.0, options.effect_sd)
            .map_err(|_| LabError::Defect("effects have no valid shape"))?;
        let base = (options.base_rate / (1.0 - options.base_rate)).ln();
        let draw = |stream: &mut Stream| -> Vec<f64> {
            let generator = stream.generator();
            (0..options.arms)
                .map(|_| effect.sample(generator))
                .collect()
        };
        let mut effects = draw(&mut stream);
        let mut rates = Vec::new();
        for _ in 0..options.days {
            if let Some(days) = regime.correlation_days() {
                let kept = (-1.0 / days).exp();
                let fresh = (1.0 - kept * kept).sqrt();
                for (effect, new) in effects.iter_mut().zip(draw(&mut stream)) {
                    *effect = kept * *effect + fresh * new;
                }
            }
            let chance = regime.days_between_jumps().map_or(0.0, |days| 1.0 / days);
            if stream.unit() < chance {
                effects = draw(&mut stream);
            }
            let rate = |effect: &f64| 1.0 / (1.0 + (-(base + effect)).exp());
            rates.push(effects.iter().map(rate).collect());
        }
        Ok(Self {
            options,
            regime,
            seed,
            rates,
        })
    }

    /// Thompson sampling with the default floor.
    pub fn settings() -> Settings {
        Settings {
            kind: ExperimentKind::Flow,
            policy: Policy::Thompson,
            half_life_hours: CONFIGURED_HOURS,
            ..campaign_settings(Objective::Open, 0)
        }
    }

    /// The rates of the mails after a look.
    pub fn rates_at(&self, look: u64) -> Result<&[f64], LabError> {
        let day = look / u64::from(self.options.looks_per_day);
        let rates = self.rates.get(day as usize);
        rates
            .map(Vec::as_slice)
            .ok_or(LabError::Defect("a day has no rates"))
    }

    /// A stream of random numbers of this world.
    pub fn stream(&self, purpose: &str) -> Stream {
        Stream::new(StreamName {
            seed: self.seed,
            world: self.regime.as_str(),
            purpose,
        })
    }
}

// === impl Delay ===

impl Delay {
    /// Lognormal around its median, or at once where that is 0.
    pub fn of(options: &Options) -> Result<Self, LabError> {
        let median = options.delay_median_hours;
        let delay = (median > 0.0).then(|| LogNormal::new(median.ln(), DELAY_SIGMA));
        let delay = delay.transpose();
        delay
            .map(Self)
            .map_err(|_| LabError::Defect("the delay has no valid shape"))
    }

    /// The next delay, hours.
    pub fn hours(&self, stream: &mut Stream) -> f64 {
        let Some(delay) = &self.0 else { return 0.0 };
        loop {
            let hours = delay.sample(stream.generator());
            if hours <= ATTRIBUTION_HOURS {
                return hours;
            }
        }
    }
}
