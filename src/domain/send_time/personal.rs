//! One recipient's relative activity: everybody's curve, moved by as much as the recipient's own record can bear.
//!
//! With too little of it the answer is everybody's curve to the last bit. The search for the best instant is left to `search`.

use crate::domain::activity::{ActivityReading, Amounts};

use super::chronotypes::{Evidence, Kinds, LEVEL_KAPPA};
use super::circle::CircularKernel;
use super::everyone::EveryoneCurve;
use super::{Interval, Parameters};

/// The 90 % quantile of the standard normal, for a central 80 % interval.
const Z_80: f64 = 1.281_551_565_544_6;

/// Relative activity by hour of the week (mean about 1) and the level of opening, for one recipient or for everybody.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates {
    /// By hour of the week, Monday 00 first.
    pub by_week: [f64; 168],
    /// Opens per mail that waits for ever at average activity.
    pub level: f64,
    /// The recipient's activity over everybody's by hour of day; ones for everybody.
    pub relative: [f64; 24],
    /// Observations behind each hour of `relative`, the prior's included: the shape of its Gamma.
    pub shapes: [f64; 24],
}

/// What a tenant's people have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'a> {
    /// Everybody's curve.
    pub curve: &'a EveryoneCurve,
    /// The chronotypes on top of it.
    pub kinds: &'a Kinds,
    /// How hours are smoothed: by [`Parameters::smoothing_sd_hours`].
    pub kernel: &'a CircularKernel,
    /// How far one person may differ.
    pub parameters: &'a Parameters,
}

impl Rates {
    /// Everybody's rates.
    pub fn everyone(
        curve: &EveryoneCurve,
        kernel: &CircularKernel,
        parameters: &Parameters,
    ) -> Rates {
        let width = kernel.effective_width();
        Rates {
            by_week: week_of(curve, &[1.0; 24], &[1.0; 7]),
            level: curve.level,
            relative: [1.0; 24],
            shapes: curve.by_hour.map(|l| width * parameters.kappa * l / 24.0),
        }
    }

    /// A recipient's rates, from the record and the group the recipient comes from.
    pub fn recipient(whole: Whole<'_>, reading: &ActivityReading, group: Option<&[f64]>) -> Rates {
        let curve = whole.curve;
        let relative = relative_activity(whole, Evidence::of(reading), group);
        let kappa = whole.parameters.weekday_kappa;
        let weekday = weekday_factors(curve, reading, relative.level, kappa);
        Rates {
            by_week: week_of(curve, &relative.by_hour, &weekday),
            level: relative.level,
            relative: relative.by_hour,
            shapes: relative.shapes,
        }
    }

    /// The rates of somebody of whom only the group is known, from everybody's.
    pub fn of_group(&self, curve: &EveryoneCurve, kinds: &Kinds, weights: &[f64]) -> Rates {
        let mixture = kinds.mixture(&curve.by_hour, weights);
        let relative = std::array::from_fn(|u| mixture[u] / curve.by_hour[u]);
        Rates {
            by_week: week_of(curve, &relative, &[1.0; 7]),
            level: self.level,
            relative,
            shapes: self.shapes,
        }
    }

    /// The central 80 % interval of the relative activity at an hour of day: a Gamma with the hour's mean and shape.
    ///
    /// Quantiles by the cube root of Wilson and Hilferty (1931), within 3 % for shapes from 1 on.
    pub fn interval(&self, hour: u8) -> Interval {
        let hour = usize::from(hour % 24);
        let (mean, shape) = (self.relative[hour], self.shapes[hour].max(0.5));
        let quantile = |z: f64| {
            let root = 1.0 - 1.0 / (9.0 * shape) + z / (3.0 * shape.sqrt());
            mean * root.max(0.0).powi(3)
        };
        Interval {
            low: quantile(-Z_80),
            mean,
            high: quantile(Z_80),
        }
    }
}

/// One person's activity by hour over everybody's, with what it rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relative {
    /// Over everybody's, by hour of day.
    pub by_hour: [f64; 24],
    /// Opens per mail that waits for ever at average activity.
    pub level: f64,
    /// Observations behind each hour, the prior's included.
    pub shapes: [f64; 24],
}

/// A person's relative activity. The chronotypes and activity form the prior by hour, opens over expected opens move it:
///
/// `a(u) = (kappa mix(u) + 24 A~(u)) / (kappa + A_total)`, `mix` the chronotypes that the record speaks for,
/// `c_r = c (O_total + 2) / (c sum_u E(u) a(u) + 2)`,
/// `r(u) = a(u) (kappa / 24 + O~(u)) / (kappa / 24 + c_r (E a)~(u))`, `~` the circular smoothing.
///
/// Gamma-Poisson shrinkage of a standardised ratio (Clayton and Kaldor, Biometrics 1987).
pub(super) fn relative_activity(
    whole: Whole<'_>,
    evidence: Evidence<'_>,
    group: Option<&[f64]>,
) -> Relative {
    let Whole {
        curve,
        kinds,
        kernel,
        parameters,
    } = whole;
    let kappa = parameters.kappa;
    let mix = kinds.personal(curve, evidence, group);
    let active = kernel.smooth(evidence.active);
    let active_total: f64 = evidence.active.iter().sum();
    let prior: [f64; 24] =
        std::array::from_fn(|u| (kappa * mix[u] + 24.0 * active[u]) / (kappa + active_total));
    let waited: [f64; 24] = std::array::from_fn(|u| evidence.exposed[u] * prior[u]);
    let expected = curve.level * waited.iter().sum::<f64>();
    let observed: f64 = evidence.opened.iter().sum();
    let level = curve.level * (observed + LEVEL_KAPPA) / (expected + LEVEL_KAPPA);
    let opened = kernel.smooth(evidence.opened);
    let waited = kernel.smooth(&waited);
    let by_hour = std::array::from_fn(|u| {
        let ratio = (kappa / 24.0 + opened[u]) / (kappa / 24.0 + level * waited[u]);
        prior[u] / curve.by_hour[u] * ratio
    });
    let width = kernel.effective_width();
    let shapes =
        std::array::from_fn(|u| width * (kappa * curve.by_hour[u] / 24.0 + active[u] + opened[u]));
    Relative {
        by_hour,
        level,
        shapes,
    }
}

/// The recipient's weekday over everybody's: `(kappa + O_d + A_d) / (kappa + expected_d)`, mean left as it falls.
fn weekday_factors(
    curve: &EveryoneCurve,
    reading: &ActivityReading,
    level: f64,
    kappa: f64,
) -> [f64; 7] {
    let Amounts {
        by_weekday: exposed,
        ..
    } = &reading.exposed;
    let active_total: f64 = reading.active.by_weekday.iter().sum();
    std::array::from_fn(|d| {
        let seen = reading.observed.by_weekday[d] + reading.active.by_weekday[d];
        let expected = curve.by_weekday[d] * (level * exposed[d] + active_total / 7.0);
        (kappa + seen) / (kappa + expected)
    })
}

fn week_of(curve: &EveryoneCurve, by_hour: &[f64; 24], by_weekday: &[f64; 7]) -> [f64; 168] {
    std::array::from_fn(|index| {
        let (weekday, hour) = (index / 24, index % 24);
        curve.surface[weekday][hour] * by_hour[hour] * by_weekday[weekday]
    })
}
