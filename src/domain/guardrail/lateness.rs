//! How late harm comes: a few delay curves with their probabilities, judged by the harm an experiment has seen and by its silence.
//!
//! Invariant: probabilities sum to one, and what has been seen decides between the curves however young the mails are. A rate tested under
//! all of them is stopped neither late because harm takes hours nor wrongly because it comes sooner than clicks do.
use crate::domain::delay::DelayCurve;
use crate::domain::delay::learning::{DelayEvidence, log_evidence, within_minutes, within_seconds};

/// Probabilities, before any harm is seen, that it comes as late as clicks, within hours, minutes, or seconds.
const PROBABILITIES: [f64; 4] = [0.4, 0.2, 0.2, 0.2];
/// Harm within hours: median 1.3 h.
const HOURS: [f64; 5] = [0.15, 0.40, 0.40, 0.05, 0.0];
/// Rates of harm are taken to be exponential with this mean.
const HIGH_RATE: f64 = 0.01;

/// Curves of the delay of harm with their probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Lateness(Vec<(f64, DelayCurve)>);

impl Lateness {
    /// Harm is known at once: every mail counts whole.
    pub fn none() -> Self {
        Self(vec![(1.0, DelayCurve::instant())])
    }

    /// What an experiment's harm says of its delay, where clicks come as late as `of_clicks` has it.
    ///
    /// Bayes' rule over four curves: `P(h) ~ prior(h) prod over harm of f_h(delay) integral of r^N exp(-r (sum over mails of F_h(age) + 1/m)) dr`.
    /// The silence of young mails speaks for late harm as loudly as the delays seen speak against it, so early harm alone does not
    /// pass for quick harm: only quick harm can have been seen by then.
    pub fn judged(of_clicks: &DelayCurve, evidence: &DelayEvidence) -> Self {
        let curves = [
            Some(*of_clicks),
            DelayCurve::new(HOURS).ok(),
            within_minutes(),
            within_seconds(of_clicks),
        ];
        let known = PROBABILITIES.into_iter().zip(curves);
        let weighed: Vec<(f64, DelayCurve)> = known
            .filter_map(|(prior, curve)| Some((prior, curve?)))
            .map(|(prior, curve)| {
                let log = prior.ln() + log_evidence(&curve, evidence, HIGH_RATE);
                (log, curve)
            })
            .collect();
        let most = weighed.iter().map(|(log, _)| *log);
        let most = most.fold(f64::NEG_INFINITY, f64::max);
        let likely = |log: f64| (log - most).exp();
        let sum: f64 = weighed.iter().map(|(log, _)| likely(*log)).sum();
        if !(sum.is_finite() && sum > 0.0) {
            return Self::none();
        }
        let share = |(log, curve): (f64, DelayCurve)| (likely(log) / sum, curve);
        Self(weighed.into_iter().map(share).collect())
    }

    /// The curves with their probabilities.
    pub fn beliefs(&self) -> impl Iterator<Item = (f64, &DelayCurve)> {
        self.0.iter().map(|(likely, curve)| (*likely, curve))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::arrivals::{DELAY_BINS, bin_of};
    use crate::domain::cell::Harm;
    use crate::domain::delay::decays;
    use crate::domain::experiment::Guardrails;
    use crate::domain::guardrail::{HarmEvidence, Measure, QUARANTINE_ABOVE};

    /// Mails that all left so long ago, and the harm they did after these delays.
    fn seen(mails: f64, age_hours: f64, delays_hours: &[f64]) -> DelayEvidence {
        let mut arrived = [0.0; DELAY_BINS];
        for delay_hours in delays_hours {
            arrived[bin_of(*delay_hours)] += 1.0;
        }
        DelayEvidence {
            arrived,
            trials: mails,
            pending: decays(age_hours).map(|decay| mails * decay),
            successes: delays_hours.len() as f64,
            window_hours: 720.0,
            importance: 1.0,
        }
    }

    fn judged(evidence: &DelayEvidence) -> Lateness {
        Lateness::judged(&DelayCurve::default_click().within(72.0), evidence)
    }

    fn first(lateness: &Lateness) -> f64 {
        lateness.beliefs().next().map_or(0.0, |(likely, _)| likely)
    }

    fn complaint_probability(evidence: &DelayEvidence, lateness: &Lateness) -> f64 {
        let harm = Harm {
            complained: evidence.successes,
            ..Harm::default()
        };
        let sums = HarmEvidence {
            mails: evidence.trials,
            pending: evidence.pending,
            harm,
        };
        let readings = Guardrails::default().readings(&sums, lateness);
        let complaint = readings.iter().find(|r| r.measure == Measure::Complaint);
        complaint.map_or(0.0, |reading| reading.probability)
    }

    #[test]
    fn before_any_harm_the_prior_holds_and_silence_moves_it_little() {
        let lateness = judged(&DelayEvidence::default());
        assert!((first(&lateness) - PROBABILITIES[0]).abs() < 1e-12);
        let sum: f64 = lateness.beliefs().map(|(likely, _)| likely).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn delays_of_seconds_and_of_hours_are_told_apart() {
        let seconds = [0.001, 0.002, 0.002, 0.003, 0.001, 0.002];
        assert!(first(&judged(&seen(5_000.0, 8.0, &seconds))) < 0.01);
        let hours = [0.2, 1.5, 4.0, 6.0, 7.0, 7.5];
        assert!(first(&judged(&seen(5_000.0, 8.0, &hours))) > 0.6);
    }

    #[test]
    fn harm_in_young_mails_stops_sooner_than_the_same_harm_in_old_ones() {
        let delays = [0.1, 0.4, 0.6, 0.8];
        let (young, old) = (seen(3_000.0, 1.0, &delays), seen(3_000.0, 500.0, &delays));
        let of_young = complaint_probability(&young, &judged(&young));
        let of_old = complaint_probability(&old, &judged(&old));
        let raw = complaint_probability(&young, &Lateness::none());
        assert!(of_young > QUARANTINE_ABOVE, "{of_young}");
        assert!(of_young > raw + 0.05 && raw < QUARANTINE_ABOVE, "{raw}");
        assert!((of_old - raw).abs() < 0.02, "{of_old} {raw}");
    }

    #[test]
    fn harm_that_comes_at_once_is_not_multiplied_by_the_youth_of_the_mails() {
        let delays = [0.001, 0.002, 0.002, 0.003];
        let young = seen(6_000.0, 1.0, &delays);
        let corrected = complaint_probability(&young, &judged(&young));
        let raw = complaint_probability(&young, &Lateness::none());
        assert!((corrected - raw).abs() < 0.05, "{corrected} {raw}");
    }

    #[test]
    fn bounces_are_known_at_once() {
        let young = seen(100.0, 0.1, &[]);
        let harm = Harm {
            bounced: 6.0,
            ..Harm::default()
        };
        let sums = HarmEvidence {
            mails: young.trials,
            pending: young.pending,
            harm,
        };
        let readings = Guardrails::default().readings(&sums, &judged(&young));
        let bounce = readings.iter().find(|r| r.measure == Measure::Bounce);
        assert_eq!(bounce.map(|reading| reading.matured), Some(100.0));
    }
}
