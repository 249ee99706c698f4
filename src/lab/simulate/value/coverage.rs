//! How often the 95 % interval of the value per mail holds the truth, by the number of orders and the spread of their values.
//!
//! Invariant: the interval is the one that results show; the truth is the world's. Deciding by values is left to the parent.
use rand_distr::{Distribution, LogNormal, Poisson};
use serde::Serialize;

use crate::domain::cell::Cell;
use crate::domain::experiment::Objective;
use crate::domain::exposure::Exposure;
use crate::domain::standing::{Purpose, Terms};
use crate::lab::LabError;
use crate::lab::campaign::campaign_settings;
use crate::lab::estimate::Estimate;
use crate::lab::simulate::funnel::newcomers_beliefs;
use crate::lab::streams::{Stream, StreamName};

/// Orders per mail of an average variant.
const ORDER_RATE: f64 = 0.01;

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// How many variants share the campaign.
    pub variants: u32,
    /// Standard deviation of the logarithm of an order's value.
    pub sigma: f64,
    /// Orders expected of an average variant by the time of the look.
    pub orders: f64,
    /// Age of all mails at the look, hours: young mails have orders to come.
    pub age_hours: f64,
}

/// How often intervals held the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// In which world.
    pub setting: Setting,
    /// Share of intervals that held it, percent, with the interval over campaigns.
    pub covered_percent: Estimate,
    /// Share that lay wholly below the truth, percent.
    pub below_percent: f64,
    /// Mean width of the interval over the truth.
    pub relative_width: f64,
}

/// One campaign: shares of the variants covered, of those below, and the mean relative width.
struct Look {
    covered: f64,
    below: f64,
    width: f64,
}

/// Measures one combination over so many campaigns.
///
/// # Errors
/// The combination makes no world.
pub fn measure(setting: Setting, campaigns: u64, seed: u64) -> Result<Coverage, LabError> {
    let mut stream = Stream::new(StreamName {
        seed,
        world: "value",
        purpose: &format!("{setting:?}"),
    });
    let looks = (0..campaigns)
        .map(|_| look(&setting, &mut stream))
        .collect::<Result<Vec<Look>, LabError>>()?;
    let over =
        |of: fn(&Look) -> f64| Estimate::over_runs(&looks.iter().map(of).collect::<Vec<_>>());
    Ok(Coverage {
        setting,
        covered_percent: over(|look| 100.0 * look.covered),
        below_percent: 100.0 * over(|look| look.below).mean,
        relative_width: over(|look| look.width).mean,
    })
}

/// The value per mail of a variant: they differ by up to a fifth either way, half in the rate of orders and half in their size.
fn factor(setting: &Setting, variant: u32) -> f64 {
    let place = f64::from(variant) / f64::from(setting.variants.max(2) - 1);
    (0.4 * (place - 0.5)).exp()
}

fn look(setting: &Setting, stream: &mut Stream) -> Result<Look, LabError> {
    let no_world = |_| LabError::Nothing("orders and sigma must make a world".to_owned());
    let no_size = |_| LabError::Nothing("sigma must be a spread".to_owned());
    let beliefs = newcomers_beliefs();
    let arrived = beliefs.conversion.curve.arrived_share(setting.age_hours);
    let trials = setting.orders / (ORDER_RATE * arrived);
    let size = LogNormal::new(-setting.sigma * setting.sigma / 2.0, setting.sigma);
    let size = size.map_err(no_size)?;
    let (mut cells, mut truths) = (Vec::new(), Vec::new());
    for variant in 0..setting.variants {
        let half = factor(setting, variant).sqrt();
        let count = Poisson::new(setting.orders * half).map_err(no_world)?;
        let mut cell = Cell {
            conversion: Exposure::trial(trials, setting.age_hours),
            ..Cell::default()
        };
        let orders: f64 = count.sample(stream.generator());
        cell.conversion.successes = orders;
        for _ in 0..orders as u64 {
            let value = 50.0 * half * size.sample(stream.generator());
            cell.value_sum += value;
            cell.value_square_sum += value * value;
        }
        cells.push(cell);
        truths.push(ORDER_RATE * 50.0 * half * half);
    }
    let settings = campaign_settings(Objective::Value, 0);
    let terms = Terms {
        settings: &settings,
        beliefs: &beliefs,
        purpose: Purpose::Reporting,
    };
    let mut sum = Look {
        covered: 0.0,
        below: 0.0,
        width: 0.0,
    };
    let share = 1.0 / f64::from(setting.variants.max(1));
    for (standing, truth) in terms.standings(&cells).iter().zip(truths) {
        let interval = standing.posterior.credible_interval(0.95);
        sum.covered += share * f64::from(u8::from(interval.contains(truth)));
        sum.below += share * f64::from(u8::from(interval.high < truth));
        sum.width += share * (interval.high - interval.low) / truth;
    }
    Ok(sum)
}
