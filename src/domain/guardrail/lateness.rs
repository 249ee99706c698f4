//! How late harm comes: the delay curves that the harm an experiment has seen does not speak against.
//!
//! Invariant: there is always one, and before any harm is seen there are all. A rate is above its limit only if it is under every one of
//! them, so a variant is stopped neither wrongly because harm comes sooner than clicks nor late because it takes hours, once that is seen.
use crate::domain::delay::DelayCurve;
use crate::domain::delay::learning::{
    DelayEvidence, log_conditional, within_minutes, within_seconds,
};

/// A curve is refuted once another makes the delays seen so much likelier: the logarithm of 20.
const REFUTED_BY: f64 = 3.0;
/// Harm within hours: median 1.3 h, with a tail of days.
const HOURS: [f64; 5] = [0.15, 0.40, 0.40, 0.05, 0.0];
/// Harm with one time constant each: minutes, an hour, some hours.
const PLAIN: [[f64; 5]; 3] = [
    [1.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.0],
];

/// The curves of the delay of harm that are not refuted.
#[derive(Clone, Debug, PartialEq)]
pub struct Lateness(Vec<DelayCurve>);

impl Lateness {
    /// Harm is known at once: every mail counts whole.
    pub fn none() -> Self {
        Self(vec![DelayCurve::instant()])
    }

    /// What an experiment's harm says of its delay, where clicks come as late as `of_clicks` has it.
    ///
    /// Seven curves, from seconds to the clicks', by the likelihood of the delays seen given that they could be seen,
    /// `prod over harm of f_h(delay) / F_h(age)`, averaged over the mails' ages: early harm alone does not pass for quick harm, as only quick
    /// harm can have been seen by then. Those whose likelihood is a twentieth of the best one's or more remain (Royall 1997).
    pub fn judged(of_clicks: &DelayCurve, evidence: &DelayEvidence) -> Self {
        let plain = PLAIN
            .into_iter()
            .map(|weights| DelayCurve::new(weights).ok());
        let curves = [
            within_seconds(of_clicks),
            within_minutes(),
            DelayCurve::new(HOURS).ok(),
            Some(*of_clicks),
        ];
        let curves = curves.into_iter().chain(plain).flatten();
        let judged: Vec<(f64, DelayCurve)> = curves
            .map(|curve| (log_conditional(&curve, evidence), curve))
            .collect();
        let most = judged.iter().map(|(log, _)| *log);
        let most = most.fold(f64::NEG_INFINITY, f64::max);
        let remain = judged
            .into_iter()
            .filter(|(log, _)| *log >= most - REFUTED_BY);
        let remain: Vec<DelayCurve> = remain.map(|(_, curve)| curve).collect();
        if remain.is_empty() {
            Self::none()
        } else {
            Self(remain)
        }
    }

    /// The curves.
    pub fn curves(&self) -> impl Iterator<Item = &DelayCurve> {
        self.0.iter()
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

    /// Shares of harm that have come within an hour, by the quickest and by the slowest curve that remains.
    fn within_an_hour(lateness: &Lateness) -> (f64, f64) {
        let shares = lateness.curves().map(|curve| curve.arrived_share(1.0));
        shares.fold((0.0, 1.0), |(most, least), share| {
            (most.max(share), least.min(share))
        })
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
    fn before_any_harm_nothing_is_refuted() {
        let lateness = judged(&DelayEvidence::default());
        assert_eq!(lateness.curves().count(), 7);
        let (quickest, slowest) = within_an_hour(&lateness);
        assert!(quickest > 0.9 && slowest < 0.3, "{quickest} {slowest}");
    }

    #[test]
    fn delays_of_seconds_and_of_hours_are_told_apart() {
        let seconds = [0.001, 0.002, 0.002, 0.003, 0.001, 0.002];
        let (_, slowest) = within_an_hour(&judged(&seen(5_000.0, 8.0, &seconds)));
        assert!(slowest > 0.9, "{slowest}");
        let hours = [0.2, 1.5, 4.0, 6.0, 7.0, 7.5];
        let (quickest, _) = within_an_hour(&judged(&seen(5_000.0, 8.0, &hours)));
        assert!(quickest < 0.6, "{quickest}");
    }

    #[test]
    fn early_harm_alone_does_not_pass_for_quick_harm() {
        // Within the first hour of a campaign both look alike but for the minutes.
        let delays = [0.2, 0.5, 0.6, 0.9];
        let (_, slowest) = within_an_hour(&judged(&seen(5_000.0, 1.0, &delays)));
        assert!(slowest < 0.3, "{slowest}");
    }

    #[test]
    fn harm_in_young_mails_stops_sooner_than_the_same_harm_in_old_ones() {
        let delays = [0.1, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9];
        let (young, old) = (seen(5_000.0, 1.0, &delays), seen(5_000.0, 500.0, &delays));
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
