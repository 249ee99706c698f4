//! A delay curve cut at the attribution window: later successes do not count, so all that will count are in by then.
//!
//! Invariant: the cut curve needs no other sums over sends than the whole one. How near it comes is stated and tested.
use super::{DelayCurve, TAU_HOURS, TERMS, decays, solve, weighted};

/// Ages at which the fit is made.
const AGES: usize = 140;
/// First of these ages, hours: half a minute; at younger ages practically nothing counts yet.
const FIRST_AGE_HOURS: f64 = 1.0 / 120.0;
/// The fit reaches so far into the window; beyond, the ceilings hold.
const FIT_UNTIL: f64 = 0.9;
/// Shares below this are fitted as if they were this large.
const SHARE_MIN: f64 = 0.01;
/// Higher ceilings would multiply the rounding of sums that are nearly nothing.
const CEILING_MAX: f64 = 1e4;
/// Rounds of reweighting.
const ROUNDS: usize = 40;

/// One age of the fit: what decays by then, what share is pending, and how much its error counts.
struct Point {
    basis: [f64; TERMS],
    pending: f64,
    scale: f64,
    weight: f64,
}

impl DelayCurve {
    /// The curve of the successes within a window: `F(min(age, W)) / F(W)`, on the same exponentials.
    ///
    /// Non-negative least squares of the relative error of the arrived share, reweighted by the error itself so that the largest one
    /// shrinks (Lawson 1961). Exponentials have no end, so beyond the fit a ceiling `c_j exp(-age / tau_j)` that lies above what is pending
    /// at any age takes over. The largest relative error of the published curves (measured): opens 1.8 % at 168 h, 1.3 % at 72 h,
    /// 3 % at 24 h; conversions, half of which come in the last days, 6.7 % at 168 h. Windows that are not positive change nothing.
    pub fn within(&self, window_hours: f64) -> Self {
        let whole = self.arrived_share(window_hours);
        if !(window_hours > 0.0 && whole > 0.0) {
            return *self;
        }
        let share = |age_hours: f64| (self.arrived_share(age_hours) / whole).min(1.0);
        let mut points = points(FIT_UNTIL * window_hours, share);
        let mut best = (f64::INFINITY, self.weights);
        for _ in 0..ROUNDS {
            let weights = least_squares(&points);
            let worst = reweight(&mut points, &weights);
            if worst < best.0 {
                best = (worst, weights);
            }
        }
        let sum: f64 = best.1.iter().sum();
        Self {
            ceilings: ceilings(window_hours, share),
            ..Self::from_valid(best.1.map(|weight| weight / sum.max(1.0)))
        }
    }
}

/// The least `c_j` with `1 - F(age) <= c_j exp(-age / tau_j)` at every age in the window.
fn ceilings(window_hours: f64, share: impl Fn(f64) -> f64) -> [f64; TERMS] {
    let ages = (0..=AGES).map(|step| window_hours * step as f64 / AGES as f64);
    let mut ceilings = [0.0f64; TERMS];
    for age_hours in ages {
        let pending = 1.0 - share(age_hours);
        for (ceiling, decay) in ceilings.iter_mut().zip(decays(age_hours)) {
            *ceiling = ceiling.max(pending / decay.max(f64::MIN_POSITIVE));
        }
    }
    let limited = |ceiling: f64| match ceiling <= CEILING_MAX {
        true => ceiling,
        false => super::NO_CEILING,
    };
    ceilings.map(limited)
}

fn points(until_hours: f64, share: impl Fn(f64) -> f64) -> Vec<Point> {
    let last = until_hours.max(2.0 * FIRST_AGE_HOURS);
    let point = |number: usize| {
        let at = number as f64 / (AGES - 1) as f64;
        let age_hours = FIRST_AGE_HOURS * (last / FIRST_AGE_HOURS).powf(at);
        let share = share(age_hours);
        Point {
            basis: decays(age_hours),
            pending: 1.0 - share,
            scale: 1.0 / share.max(SHARE_MIN),
            weight: 1.0,
        }
    };
    (0..AGES).map(point).collect()
}

/// Least squares without negative weights: of the solutions for every choice of terms that are non-negative, the best; with
/// five terms there are 31.
fn least_squares(points: &[Point]) -> [f64; TERMS] {
    let mut normal = [[0.0; TERMS]; TERMS];
    let mut right = [0.0; TERMS];
    for point in points {
        let weight = point.weight * point.scale * point.scale;
        for (row, (total, left)) in normal.iter_mut().zip(right.iter_mut().zip(point.basis)) {
            *total += weight * left * point.pending;
            for (entry, other) in row.iter_mut().zip(point.basis) {
                *entry += weight * left * other;
            }
        }
    }
    let solutions = (1u32..1 << TERMS).map(|chosen| {
        let is_in = |term: usize| chosen >> term & 1 == 1;
        let matrix = std::array::from_fn(|row| {
            std::array::from_fn(
                |column| match (row == column, is_in(row) && is_in(column)) {
                    (_, true) => normal[row][column],
                    (same, false) => f64::from(u8::from(same)),
                },
            )
        });
        let total = std::array::from_fn(|row| if is_in(row) { right[row] } else { 0.0 });
        solve(matrix, total)
    });
    // What a solution explains of the sum of squares; the more the better.
    let explained = |weights: &[f64; TERMS]| weighted(weights, &right);
    solutions
        .filter(|weights| weights.iter().all(|weight| *weight >= 0.0))
        .max_by(|one, other| explained(one).total_cmp(&explained(other)))
        .unwrap_or_default()
}

/// Gives the ages with large errors more weight; answers the largest relative error.
fn reweight(points: &mut [Point], weights: &[f64; TERMS]) -> f64 {
    let mut worst: f64 = 0.0;
    for point in points.iter_mut() {
        let fitted: f64 = point.basis.iter().zip(weights).map(|(b, w)| b * w).sum();
        let error = (fitted - point.pending).abs() * point.scale;
        worst = worst.max(error);
        point.weight *= error;
    }
    let sum: f64 = points.iter().map(|point| point.weight).sum();
    let even = 1.0 / points.len() as f64;
    for point in points {
        // A floor keeps ages that happen to fit from dropping out for good.
        point.weight = 0.9 * point.weight / sum.max(f64::MIN_POSITIVE) + 0.1 * even;
    }
    worst
}

/// The terms of [`TAU_HOURS`] as a curve each, the first arriving at once.
pub(super) fn component_share(component: usize, age_hours: f64) -> f64 {
    let tau_hours = component
        .checked_sub(1)
        .and_then(|term| TAU_HOURS.get(term));
    tau_hours.map_or(1.0, |tau_hours| 1.0 - (-age_hours / tau_hours).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(curve: &DelayCurve, window_hours: f64) -> (f64, f64) {
        let cut = curve.within(window_hours);
        let errors = (0..400).map(|step| {
            let age_hours = 0.02 * 1.026f64.powi(step);
            let whole = curve.arrived_share(window_hours);
            let exact = curve.arrived_share(age_hours.min(window_hours)) / whole;
            (
                (cut.arrived_share(age_hours) / exact - 1.0).abs(),
                age_hours,
            )
        });
        errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }

    #[test]
    fn the_cut_curve_is_near_what_arrives_within_the_window() {
        let open = DelayCurve::default_open();
        for (window_hours, limit) in [(24.0, 0.03), (72.0, 0.015), (168.0, 0.02), (720.0, 0.01)] {
            let (error, age_hours) = worst(&open, window_hours);
            assert!(error < limit, "{window_hours} h: {error} at {age_hours} h");
        }
    }

    #[test]
    fn all_that_counts_is_in_at_the_end_of_the_window() {
        let open = DelayCurve::default_open();
        assert!(open.arrived_share(72.0) < 0.89);
        assert!(open.within(72.0).arrived_share(72.0) > 0.98);
        assert_eq!(open.within(0.0), open);
        assert_eq!(open.within(f64::NAN), open);
        let instant = DelayCurve::instant();
        assert_eq!(instant.within(72.0).arrived_share(0.0), 1.0);
    }
}
