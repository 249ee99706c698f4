//! Everybody's curve: a tenant's activity by hour and weekday, shrunk towards a default curve of waking hours.
//!
//! Rates are observed over expected, never plain counts: an hour with many opens because many mails wait in it gains nothing.
//! One recipient's deviation from this curve is left to `personal`.

use serde::{Deserialize, Serialize};

use crate::domain::activity::TenantActivity;
use crate::domain::activity::tenant::WeekBins;

/// Expected observations per hour of day that the default curve is worth.
const HOUR_KAPPA: f64 = 25.0;
/// Expected observations per weekday that "all days alike" is worth.
const WEEKDAY_KAPPA: f64 = 100.0;
/// Expected observations per hour of the week that the product of both is worth.
const CELL_KAPPA: f64 = 200.0;
/// Opens per mail before anything is known, and the mails this is worth.
const DEFAULT_LEVEL: f64 = 0.25;
const LEVEL_KAPPA: f64 = 10.0;

/// Default activity of waking hours by local hour, relative: published heat maps agree on quiet nights, a rise from seven, a
/// plateau through the day (GetResponse: noon to six best) and a slow evening (MailerMailer: evening highest).
const WAKING_HOURS: [f64; 24] = [
    0.45, 0.30, 0.20, 0.15, 0.15, 0.25, 0.55, 0.90, 1.20, 1.40, 1.50, 1.45, //
    1.45, 1.45, 1.45, 1.45, 1.45, 1.40, 1.40, 1.40, 1.40, 1.30, 1.05, 0.70,
];

/// A tenant's curve: relative activity by hour of the week (mean 1), and the level of opening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EveryoneCurve {
    /// Relative activity by local hour of day, mean 1: `lambda0`.
    pub by_hour: [f64; 24],
    /// Relative activity by weekday, Monday first, mean 1.
    pub by_weekday: [f64; 7],
    /// Relative activity by weekday and hour, mean 1, shrunk to the product of the two above.
    pub surface: WeekBins,
    /// Opens per mail that waits for ever at average activity: `c`.
    pub level: f64,
    /// Decayed opens and activity behind the curve; 0 for the default.
    pub observations: f64,
}

// === impl EveryoneCurve ===

impl Default for EveryoneCurve {
    /// The curve of a tenant without data.
    fn default() -> EveryoneCurve {
        EveryoneCurve::learned(&TenantActivity::default())
    }
}

impl EveryoneCurve {
    /// The curve behind a tenant's sums, shrunk towards the default of waking hours (25 expected observations per hour).
    ///
    /// `lambda(u) = (kappa default(u) + O(u) + A(u)) / (kappa + c E(u) + A_total / 24)`, with `c` and `lambda` in turn.
    pub fn learned(sums: &TenantActivity) -> EveryoneCurve {
        let observed = Margins::of(&sums.observed);
        let exposed = Margins::of(&sums.exposed);
        let active = Margins::of(&sums.activity);
        let default = mean_one(WAKING_HOURS);
        let (mut by_hour, mut level) = (default, DEFAULT_LEVEL);
        // Fixed point of two smooth shrunken ratios: five turns leave less than a thousandth.
        for _ in 0..5 {
            let expected: f64 = zip(&exposed.by_hour, &by_hour).map(|(e, l)| e * l).sum();
            level = (observed.total + DEFAULT_LEVEL * LEVEL_KAPPA) / (expected + LEVEL_KAPPA);
            by_hour = std::array::from_fn(|u| {
                let seen = observed.by_hour[u] + active.by_hour[u];
                let expected = level * exposed.by_hour[u] + active.total / 24.0;
                (HOUR_KAPPA * default[u] + seen) / (HOUR_KAPPA + expected)
            });
            by_hour = mean_one(by_hour);
        }
        let by_weekday = weekday_factors(sums, &by_hour, level);
        let surface = shrunken_surface(sums, &by_hour, &by_weekday, level);
        let observations = observed.total + active.total;
        EveryoneCurve {
            by_hour,
            by_weekday,
            surface,
            level,
            observations,
        }
    }
}

/// Sums of one table of the week over days and over hours.
struct Margins {
    by_hour: [f64; 24],
    total: f64,
}

impl Margins {
    fn of(bins: &WeekBins) -> Margins {
        // Taking back may leave a tiny negative rest.
        let by_hour = std::array::from_fn(|u| bins.iter().map(|row| row[u].max(0.0)).sum());
        Margins {
            by_hour,
            total: by_hour.iter().sum(),
        }
    }
}

fn weekday_factors(sums: &TenantActivity, by_hour: &[f64; 24], level: f64) -> [f64; 7] {
    let active_per_day = sums
        .activity
        .iter()
        .flatten()
        .map(|a| a.max(0.0))
        .sum::<f64>()
        / 7.0;
    mean_one(std::array::from_fn(|d| {
        let seen: f64 = sums.observed[d]
            .iter()
            .chain(&sums.activity[d])
            .map(|v| v.max(0.0))
            .sum();
        let waited: f64 = zip(&sums.exposed[d], by_hour)
            .map(|(e, l)| e.max(0.0) * l)
            .sum();
        (WEEKDAY_KAPPA + seen) / (WEEKDAY_KAPPA + level * waited + active_per_day)
    }))
}

/// `cell = product * (kappa + O + A) / (kappa + expected under the product)`.
fn shrunken_surface(
    sums: &TenantActivity,
    by_hour: &[f64; 24],
    by_weekday: &[f64; 7],
    level: f64,
) -> WeekBins {
    let active_per_cell = sums
        .activity
        .iter()
        .flatten()
        .map(|a| a.max(0.0))
        .sum::<f64>()
        / 168.0;
    let mut surface: WeekBins = std::array::from_fn(|d| {
        std::array::from_fn(|u| {
            let product = by_hour[u] * by_weekday[d];
            let seen = sums.observed[d][u].max(0.0) + sums.activity[d][u].max(0.0);
            let expected = product * (level * sums.exposed[d][u].max(0.0) + active_per_cell);
            product * (CELL_KAPPA + seen) / (CELL_KAPPA + expected)
        })
    });
    let mean = surface.iter().flatten().sum::<f64>() / 168.0;
    surface.iter_mut().flatten().for_each(|cell| *cell /= mean);
    surface
}

fn zip<'a>(left: &'a [f64; 24], right: &'a [f64; 24]) -> impl Iterator<Item = (f64, f64)> + 'a {
    left.iter().copied().zip(right.iter().copied())
}

/// Scales positive bins to a mean of one.
fn mean_one<const N: usize>(bins: [f64; N]) -> [f64; N] {
    let mean = bins.iter().sum::<f64>() / N as f64;
    bins.map(|bin| bin / mean)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::civil::{HourOfWeek, LocalTime};
    use crate::domain::freshness::{FreshnessCurve, Waiting};

    fn at() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    #[test]
    fn without_data_the_curve_is_the_default_with_mean_one() {
        let curve = EveryoneCurve::default();
        let mean: f64 = curve.surface.iter().flatten().sum::<f64>() / 168.0;
        assert!((mean - 1.0).abs() < 1e-12);
        assert!((curve.by_hour[10] / curve.by_hour[3] - 10.0).abs() < 1e-9);
        assert!((curve.level - 0.25).abs() < 1e-12 && curve.observations == 0.0);
        assert!(curve.by_weekday.iter().all(|d| (d - 1.0).abs() < 1e-12));
    }

    #[test]
    fn much_activity_overrules_the_default() {
        let mut sums = TenantActivity::default();
        for index in 0..168 {
            let hour = HourOfWeek::new(index).unwrap().local_hour();
            let weight = if hour.hour == 3 { 3_000.0 } else { 100.0 };
            sums.record_activity(at(), hour, weight);
        }
        let curve = EveryoneCurve::learned(&sums);
        assert!(curve.by_hour[3] > 10.0 * curve.by_hour[12]);
    }

    #[test]
    fn an_hour_with_many_mails_and_the_opens_they_should_bring_gains_nothing() {
        let mut sums = TenantActivity::default();
        let freshness = FreshnessCurve::default();
        let default = EveryoneCurve::default();
        for index in 0..168 {
            let hour = HourOfWeek::new(index).unwrap().local_hour();
            if hour.hour == 10 {
                let sent = LocalTime { hour, minute: 0 };
                let waiting = Waiting {
                    sent,
                    from_age_hours: 0.0,
                    until_age_hours: 168.0,
                };
                sums.record_exposure(at(), &freshness, waiting, 1e5);
            }
        }
        for index in 0..168 {
            let hour = HourOfWeek::new(index).unwrap().local_hour();
            let (d, u) = (usize::from(hour.weekday), usize::from(hour.hour));
            sums.record_open(at(), hour, 0.2 * sums.exposed[d][u] * default.by_hour[u]);
        }
        let curve = EveryoneCurve::learned(&sums);
        for (learned, expected) in zip(&curve.by_hour, &default.by_hour) {
            assert!(
                (learned / expected - 1.0).abs() < 0.02,
                "{learned} {expected}"
            );
        }
        assert!((curve.level - 0.2).abs() < 0.005);
    }
}
