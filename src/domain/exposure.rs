//! Additive sums over sends that make the delay correction exact without buckets or timers.
//!
//! Invariant: everything is a sum, so parts kept apart and advanced to one instant can be added and taken back in any
//! order. The instant the sums refer to is left to the caller.

use serde::{Deserialize, Serialize};

use super::delay::{DelayCurve, TERMS, decays, weighted};

/// Trials, successes and the decaying sums over trials of one cell for one objective, all as of one instant.
///
/// The delayed-feedback counts of Vernade, Cappe and Perchet (UAI 2017, arXiv 1706.09186), kept in O(1) for a delay
/// that is a mixture of exponentials.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
pub struct Exposure {
    /// Weight of the trials n begun by the instant.
    pub trials: f64,
    /// `D_j = sum over trials of exp(-age / tau_j)`, in the order of the time constants.
    pub pending: [f64; TERMS],
    /// Weight of the successes S that have arrived.
    pub successes: f64,
}

// === impl Exposure ===

impl Exposure {
    /// One trial of this weight, sent `age_hours` ago (0 for now; negative ages count as 0).
    pub fn trial(weight: f64, age_hours: f64) -> Self {
        Self {
            trials: weight,
            pending: decays(age_hours.max(0.0)).map(|decay| weight * decay),
            successes: 0.0,
        }
    }

    /// One success of this weight; its trial is counted separately, when the mail is sent.
    pub fn success(weight: f64) -> Self {
        Self {
            successes: weight,
            ..Self::default()
        }
    }

    /// Moves the instant forward: ages grow by `elapsed_hours`, and everything fades by `2^(-elapsed / half-life)`.
    ///
    /// Elapsed times that are negative or not numbers change nothing; so do half-lives that are not positive.
    pub fn advance(&mut self, elapsed_hours: f64, half_life_hours: Option<f64>) {
        let elapsed_hours = elapsed_hours.max(0.0);
        for (pending, decay) in self.pending.iter_mut().zip(decays(elapsed_hours)) {
            *pending *= decay;
        }
        if let Some(half_life_hours) = half_life_hours.filter(|hours| *hours > 0.0) {
            self.scale((-elapsed_hours / half_life_hours).exp2());
        }
    }

    /// Adds another exposure as of the same instant.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, 1.0);
    }

    /// Takes back another exposure as of the same instant.
    #[cfg(test)]
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, -1.0);
    }

    fn combine(&mut self, other: &Self, sign: f64) {
        self.trials += sign * other.trials;
        self.successes += sign * other.successes;
        for (pending, more) in self.pending.iter_mut().zip(other.pending) {
            *pending += sign * more;
        }
    }

    /// Multiplies all sums by a factor.
    pub fn scale(&mut self, factor: f64) {
        self.trials *= factor;
        self.successes *= factor;
        self.pending = self.pending.map(|pending| pending * factor);
    }

    /// Trials that count by now: n less those pending, which is the sum over trials of `F(age)`; from 0 to n.
    pub fn effective_trials(&self, curve: &DelayCurve) -> f64 {
        let trials = self.trials.max(0.0);
        (trials - curve.pending(&self.pending)).max(0.0).min(trials)
    }

    /// Sum over trials of `F(age)^2`, about `n - sum_j u_j D_j`; between `n_eff^2 / n` and `n_eff`, as it must be.
    pub fn squared_share(&self, curve: &DelayCurve) -> f64 {
        let effective = self.effective_trials(curve);
        let least = if self.trials > 0.0 {
            effective * effective / self.trials
        } else {
            0.0
        };
        let fitted = self.trials - weighted(&curve.squared_deficit_weights(), &self.pending);
        fitted.max(least).min(effective)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: &Exposure, other: &Exposure) -> bool {
        let mut difference = one.clone();
        difference.subtract(other);
        difference.trials.abs() < 1e-9
            && difference.successes.abs() < 1e-9
            && difference
                .pending
                .iter()
                .all(|pending| pending.abs() < 1e-9)
    }

    fn sends(ages_hours: &[f64]) -> Exposure {
        let mut sum = Exposure::default();
        for age_hours in ages_hours {
            sum.add(&Exposure::trial(1.0, *age_hours));
        }
        sum
    }

    #[test]
    fn effective_trials_are_the_sum_of_arrived_shares() {
        let (curve, ages_hours) = (
            DelayCurve::default_open(),
            [0.0, 0.3, 2.0, 7.5, 40.0, 300.0],
        );
        let exact: f64 = ages_hours.iter().map(|age| curve.arrived_share(*age)).sum();
        assert!((sends(&ages_hours).effective_trials(&curve) - exact).abs() < 1e-12);
    }

    #[test]
    fn squared_shares_are_close_to_their_sum() {
        let (curve, ages_hours) = (
            DelayCurve::default_open(),
            [0.1, 0.3, 2.0, 7.5, 40.0, 300.0],
        );
        let exact: f64 = ages_hours
            .iter()
            .map(|age| curve.arrived_share(*age).powi(2))
            .sum();
        let got = sends(&ages_hours).squared_share(&curve);
        assert!(
            (got - exact).abs() < 0.02 * ages_hours.len() as f64,
            "{got} against {exact}"
        );
        assert!(got < sends(&ages_hours).effective_trials(&curve));
    }

    #[test]
    fn advancing_ages_the_trials() {
        let mut early = sends(&[0.0, 1.0, 5.0]);
        early.advance(3.0, None);
        assert!(close(&early, &sends(&[3.0, 4.0, 8.0])));
        let curve = DelayCurve::default_open();
        assert!(early.effective_trials(&curve) > sends(&[0.0, 1.0, 5.0]).effective_trials(&curve));
    }

    #[test]
    fn a_half_life_halves_everything_besides_ageing() {
        let mut sum = sends(&[2.0, 2.0]);
        sum.add(&Exposure::success(1.0));
        sum.advance(24.0, Some(24.0));
        let mut expected = Exposure::trial(1.0, 26.0);
        expected.add(&Exposure::success(0.5));
        assert!(close(&sum, &expected), "{sum:?}");
    }

    #[test]
    fn advancing_twice_is_advancing_once() {
        let (mut once, mut twice) = (sends(&[0.0, 9.0]), sends(&[0.0, 9.0]));
        once.advance(7.0, Some(100.0));
        twice.advance(3.0, Some(100.0));
        twice.advance(4.0, Some(100.0));
        assert!(close(&once, &twice));
    }

    #[test]
    fn time_never_runs_backwards() {
        for elapsed_hours in [-5.0, f64::NAN] {
            let mut sum = sends(&[1.0]);
            sum.advance(elapsed_hours, Some(24.0));
            assert!(close(&sum, &sends(&[1.0])));
        }
        assert!(close(
            &Exposure::trial(1.0, -2.0),
            &Exposure::trial(1.0, 0.0)
        ));
    }

    #[test]
    fn what_was_added_can_be_taken_back() {
        let mut sum = sends(&[1.0, 2.0]);
        sum.add(&Exposure::trial(0.4, 6.0));
        sum.subtract(&Exposure::trial(0.4, 6.0));
        assert!(close(&sum, &sends(&[1.0, 2.0])));
    }

    #[test]
    fn nothing_sent_is_nothing_tried() {
        let (empty, curve) = (Exposure::default(), DelayCurve::default_open());
        assert_eq!(
            (empty.effective_trials(&curve), empty.squared_share(&curve)),
            (0.0, 0.0)
        );
        let fresh = Exposure::trial(1.0, 0.0);
        assert!(
            fresh.effective_trials(&curve) < 1e-3,
            "a mail just sent is no failure"
        );
    }
}
