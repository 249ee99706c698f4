//! A tenant's activity by hour of the week: the sums from which everybody's curve is learned.
//!
//! Additive and mergeable: parts kept by different partitions sum to the same curve in any order, up to rounding.
//! Turning sums into rates is left to `send_time::everyone`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::civil::{HourOfWeek, LocalHour, LocalTime};
use crate::domain::freshness::{FreshnessCurve, Waiting};

/// After this time an amount counts half.
pub const TENANT_HALF_LIFE_DAYS: f64 = 60.0;

/// Amounts by weekday (7, Monday first) and hour of day (24).
pub type WeekBins = [[f64; 24]; 7];

/// Opens, exposure and unsolicited activity of many recipients by local hour of the week, half-life 60 days.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantActivity {
    /// The second the sums refer to; `None` before the first amount.
    as_of_second: Option<i64>,
    /// Genuine opens.
    pub observed: WeekBins,
    /// Exposure in mails: the sum of `phi` over the waiting hours.
    pub exposed: WeekBins,
    /// Activity no mail caused.
    pub activity: WeekBins,
}

// === impl TenantActivity ===

impl TenantActivity {
    /// Adds an open at its local hour.
    pub fn record_open(&mut self, at: Timestamp, hour: LocalHour, weight: f64) {
        let amount = self.advance(at) * weight;
        add(&mut self.observed, hour, amount);
    }

    /// Adds activity at its local hour.
    pub fn record_activity(&mut self, at: Timestamp, hour: LocalHour, weight: f64) {
        let amount = self.advance(at) * weight;
        add(&mut self.activity, hour, amount);
    }

    /// Adds the exposure of a stretch of waiting; a negative weight takes it back.
    pub fn record_exposure(
        &mut self,
        at: Timestamp,
        curve: &FreshnessCurve,
        waiting: Waiting,
        weight: f64,
    ) {
        let amount = self.advance(at) * weight;
        if amount.is_finite() && amount != 0.0 {
            for (local, share) in exposure_by_week(curve, waiting) {
                add(&mut self.exposed, local, amount * share);
            }
        }
    }

    /// Adds another part's sums to these, both as of the later of the two.
    pub fn merge(&mut self, other: &TenantActivity) {
        let Some(second) = other.as_of_second else {
            return;
        };
        let factor = self.advance_to_second(second);
        for (mine, theirs) in [
            (&mut self.observed, &other.observed),
            (&mut self.exposed, &other.exposed),
            (&mut self.activity, &other.activity),
        ] {
            for (bin, amount) in mine.iter_mut().flatten().zip(theirs.iter().flatten()) {
                *bin += amount * factor;
            }
        }
    }

    fn advance(&mut self, at: Timestamp) -> f64 {
        self.advance_to_second(at.as_second())
    }

    /// Decays the sums to `second` if it is later; answers the factor that an amount of `second` carries.
    fn advance_to_second(&mut self, second: i64) -> f64 {
        let as_of = self.as_of_second.unwrap_or(second);
        let days = (second - as_of) as f64 / 86_400.0;
        self.as_of_second = Some(as_of.max(second));
        if days <= 0.0 {
            return (days / TENANT_HALF_LIFE_DAYS).exp2();
        }
        let keep = (-days / TENANT_HALF_LIFE_DAYS).exp2();
        for bins in [&mut self.observed, &mut self.exposed, &mut self.activity] {
            bins.iter_mut().flatten().for_each(|bin| *bin *= keep);
        }
        1.0
    }
}

fn add(bins: &mut WeekBins, at: LocalHour, amount: f64) {
    let row = bins.get_mut(usize::from(at.weekday % 7));
    let bin = row.and_then(|row| row.get_mut(usize::from(at.hour % 24)));
    if let (Some(bin), true) = (bin, amount.is_finite()) {
        *bin += amount;
    }
}

/// The exposure of a stretch of waiting, local hour by local hour, up to one week of them.
fn exposure_by_week(
    curve: &FreshnessCurve,
    waiting: Waiting,
) -> impl Iterator<Item = (LocalHour, f64)> + '_ {
    let LocalTime { hour, minute } = waiting.sent;
    let start = hour.hour_of_week().index();
    let into_hour = f64::from(minute) / 60.0;
    let until = waiting.until_age_hours.min(168.0);
    (0..=168usize).filter_map(move |passed| {
        let from = (passed as f64 - into_hour)
            .max(waiting.from_age_hours)
            .max(0.0);
        let to = (passed as f64 + 1.0 - into_hour).min(until);
        let local = HourOfWeek::new(((start + passed) % 168) as u8)?.local_hour();
        (to > from).then(|| (local, curve.remaining(from) - curve.remaining(to)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
    }

    fn waiting() -> Waiting {
        let hour = LocalHour {
            hour: 22,
            weekday: 6,
        };
        Waiting {
            sent: LocalTime { hour, minute: 40 },
            from_age_hours: 0.0,
            until_age_hours: 168.0,
        }
    }

    #[test]
    fn exposure_agrees_with_the_recipients_vector() {
        let curve = FreshnessCurve::default();
        let mut tenant = TenantActivity::default();
        tenant.record_exposure(day(0), &curve, waiting(), 1.0);
        let vector = curve.exposure(waiting());
        for (hour, expected) in vector.by_hour.iter().enumerate() {
            let sum: f64 = tenant.exposed.iter().map(|row| row[hour]).sum();
            assert!((sum - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn parts_merge_to_the_whole_in_any_order() {
        let hour = LocalHour {
            hour: 9,
            weekday: 2,
        };
        let (mut whole, mut left, mut right) =
            <(TenantActivity, TenantActivity, TenantActivity)>::default();
        for d in [50, 3, 80, 20] {
            whole.record_open(day(d), hour, 1.0);
            let part = if d % 20 == 0 { &mut left } else { &mut right };
            part.record_open(day(d), hour, 1.0);
        }
        let mut forward = left.clone();
        forward.merge(&right);
        right.merge(&left);
        for sum in [&forward, &right] {
            assert!((sum.observed[2][9] - whole.observed[2][9]).abs() < 1e-12);
        }
        assert!(
            (whole.observed[2][9] - (1.0 + 0.5 + 0.5f64.sqrt() + (-77.0f64 / 60.0).exp2())).abs()
                < 1e-9
        );
    }
}
