//! Guardrails: is a variant's rate of complaints, unsubscribes, bounces or negative replies above its limit?
//!
//! Invariant: the test is a posterior probability of sums alone, so it may be asked after every event; what follows from its
//! answer is left to `oversight`, how late harm comes to `lateness`. A single event never stops a variant.
use serde::{Deserialize, Serialize};
use statrs::function::gamma::checked_gamma_ur;

use crate::domain::cell::Harm;
use crate::domain::delay::{DelayCurve, TERMS, weighted};
use crate::domain::event::EventKind;
use crate::domain::experiment::Guardrails;

mod lateness;

pub use lateness::Lateness;

/// A variant whose rate is above its limit with more than this probability is quarantined.
pub const QUARANTINE_ABOVE: f64 = 0.9;
/// Above this probability people are warned.
pub const WARN_ABOVE: f64 = 0.5;
/// Below this probability a warning is over; in between it neither begins nor ends.
pub const CALM_BELOW: f64 = 0.3;
/// Events that the prior counts for: half of one, as Jeffreys' prior for a rate.
const PRIOR_EVENTS: f64 = 0.5;

/// Kinds of harm that have a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// Complaints.
    Complaint,
    /// Unsubscribes.
    Unsubscribe,
    /// Bounces.
    Bounce,
    /// Negative replies.
    NegativeReply,
}

/// What speaks for or against a variant: mails that left, and the harm they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HarmEvidence {
    /// Mails that left.
    pub mails: f64,
    /// The harm they did.
    pub harm: Harm,
    /// `D_j = sum over mails of exp(-age / tau_j)`: how young they are.
    pub pending: [f64; TERMS],
}

/// The reading of one guardrail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// What is measured.
    pub measure: Measure,
    /// Events counted.
    pub events: f64,
    /// Mails that left.
    pub mails: f64,
    /// Mails that these count for by their age: harm comes late.
    pub matured: f64,
    /// The limit of their rate.
    pub limit: f64,
    /// Posterior probability that the rate is above the limit.
    pub probability: f64,
}

// === impl Measure ===

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Complaint,
        Self::Unsubscribe,
        Self::Bounce,
        Self::NegativeReply,
    ];

    /// Its rate, in words.
    pub const fn rate_word(self) -> &'static str {
        match self {
            Self::Complaint => "complaint rate",
            Self::Unsubscribe => "unsubscribe rate",
            Self::Bounce => "bounce rate",
            Self::NegativeReply => "rate of negative replies",
        }
    }

    const fn events_word(self) -> &'static str {
        match self {
            Self::Complaint => "complaints",
            Self::Unsubscribe => "unsubscribes",
            Self::Bounce => "bounces",
            Self::NegativeReply => "negative replies",
        }
    }

    const fn of(self, harm: &Harm) -> f64 {
        match self {
            Self::Complaint => harm.complained,
            Self::Unsubscribe => harm.unsubscribed,
            Self::Bounce => harm.bounced,
            Self::NegativeReply => harm.replied_negative,
        }
    }

    /// Whether harm of this kind is known at once: mail servers answer, not people.
    const fn is_immediate(self) -> bool {
        matches!(self, Self::Bounce)
    }

    /// Whether events of this kind can move a guardrail.
    pub const fn is_moved_by(kind: EventKind) -> bool {
        matches!(
            kind,
            EventKind::Complained
                | EventKind::Unsubscribed
                | EventKind::Bounced
                | EventKind::Replied
        )
    }
}

// === impl Guardrails ===

impl Guardrails {
    const fn limit(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Complaint => self.complaint_rate_max,
            Measure::Unsubscribe => self.unsubscribe_rate_max,
            Measure::Bounce => self.bounce_rate_max,
            Measure::NegativeReply => self.negative_reply_rate_max,
        }
    }

    /// The readings of all guardrails that are on.
    pub fn readings(&self, evidence: &HarmEvidence, lateness: &Lateness) -> Vec<Reading> {
        let limited = Measure::ALL
            .into_iter()
            .map(|measure| (measure, self.limit(measure)));
        limited
            .filter(|(_, limit)| *limit > 0.0 && *limit < 1.0)
            .map(|(measure, limit)| Reading::of(measure, evidence, limit, lateness))
            .collect()
    }
}

// === impl HarmEvidence ===

impl HarmEvidence {
    /// What came after an earlier state of the same counts; both must have faded alike.
    pub fn since(&self, baseline: &Self) -> Self {
        let after = |now: f64, before: f64| (now - before).max(0.0);
        let (now, before) = (&self.harm, &baseline.harm);
        // Negative where mails have matured since: what they may still have brought then counts as tried now.
        let pending = std::array::from_fn(|j| self.pending[j] - baseline.pending[j]);
        Self {
            mails: after(self.mails, baseline.mails),
            pending,
            harm: Harm {
                unsubscribed: after(now.unsubscribed, before.unsubscribed),
                complained: after(now.complained, before.complained),
                bounced: after(now.bounced, before.bounced),
                replied_negative: after(now.replied_negative, before.replied_negative),
            },
        }
    }

    /// The same counts, faded.
    pub fn times(&self, kept: f64) -> Self {
        let harm = &self.harm;
        Self {
            mails: self.mails * kept,
            pending: self.pending.map(|pending| pending * kept),
            harm: Harm {
                unsubscribed: harm.unsubscribed * kept,
                complained: harm.complained * kept,
                bounced: harm.bounced * kept,
                replied_negative: harm.replied_negative * kept,
            },
        }
    }

    /// Mails that count by now, `n - sum_j w_j D_j`: each with the share of its harm that has come at its age.
    fn matured(&self, curve: &DelayCurve) -> f64 {
        (self.mails - weighted(&curve.weights(), &self.pending)).max(0.0)
    }
}

// === impl Reading ===

impl Reading {
    /// The least probability under the delays that are not refuted: harm that may yet prove quick does not stop a variant.
    fn of(measure: Measure, evidence: &HarmEvidence, limit: f64, lateness: &Lateness) -> Self {
        let events = measure.of(&evidence.harm).max(0.0);
        let mails = evidence.mails.max(events);
        let at_once = Lateness::none();
        let lateness = if measure.is_immediate() {
            &at_once
        } else {
            lateness
        };
        let counted = lateness.curves().map(|curve| evidence.matured(curve));
        // The probability falls with the mails that count.
        let matured = counted.fold(0.0, f64::max).max(events);
        Self {
            measure,
            events,
            mails,
            matured,
            limit,
            probability: probability_above(events, matured, limit),
        }
    }

    /// The reading for people, with its numbers.
    pub fn describe(&self) -> String {
        let Self {
            measure,
            events,
            mails,
            matured,
            limit,
            probability,
        } = self;
        let young = if matured.round() < mails.round() {
            format!(", as young as they are worth {} mails", matured.round())
        } else {
            String::new()
        };
        format!(
            "{} above its limit of {} % with probability {probability:.3}: {} {} in {} mails{young}",
            measure.rate_word(),
            percent(*limit),
            events.round(),
            measure.events_word(),
            mails.round(),
        )
    }
}

/// A share in percent, without the noise of binary fractions.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

/// Posterior probability that a rate is above its limit, after `events` in `mails`.
///
/// The rate is Gamma(1/2 + x, 1/limit + n): Jeffreys' half event in as many mails as bring one event at the limit, so the prior
/// mean is half the limit. `P(rate > limit) = Q(1/2 + x, 1 + n limit)` with the regularised upper incomplete gamma function Q.
pub fn probability_above(events: f64, mails: f64, limit: f64) -> f64 {
    let (shape, scaled) = (PRIOR_EVENTS + events.max(0.0), 1.0 + mails.max(0.0) * limit);
    checked_gamma_ur(shape, scaled).map_or(0.0, |above| above.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(complained: f64, mails: f64) -> HarmEvidence {
        let harm = Harm {
            complained,
            ..Harm::default()
        };
        HarmEvidence {
            mails,
            harm,
            ..HarmEvidence::default()
        }
    }

    fn readings(guardrails: &Guardrails, evidence: &HarmEvidence) -> Vec<Reading> {
        guardrails.readings(evidence, &Lateness::none())
    }

    #[test]
    fn the_probability_is_that_of_the_gamma_posterior() {
        // Q(a, x) for half-integer a: Q(1/2, x) = erfc(sqrt x), and Q(a + 1, x) = Q(a, x) + x^a e^-x / Gamma(a + 1).
        for (events, mails, exact) in [
            (0.0, 0.0, 0.157_299_207),
            (1.0, 0.0, 0.572_406_704),
            (3.0, 500.0, 0.885_002_231),
            (3.0, 0.0, 0.959_840_369),
        ] {
            let got = probability_above(events, mails, 0.001);
            assert!((got - exact).abs() < 1e-8, "{events} in {mails}: {got}");
        }
    }

    #[test]
    fn more_events_raise_it_and_more_mails_lower_it() {
        let at = |events, mails| probability_above(events, mails, 0.001);
        assert!(at(5.0, 1_000.0) > at(4.0, 1_000.0));
        assert!(at(5.0, 1_000.0) > at(5.0, 2_000.0));
        assert!(probability_above(5.0, 1_000.0, 0.001) > probability_above(5.0, 1_000.0, 0.002));
    }

    #[test]
    fn large_counts_agree_with_the_normal_law() {
        for mails in [1e6_f64, 1e8, 1e10] {
            let expected: f64 = mails * 0.001;
            let at = |z: f64| probability_above(expected + z * expected.sqrt(), mails, 0.001);
            assert!((at(0.0) - 0.5).abs() < 0.02, "{mails}: {}", at(0.0));
            assert!(at(4.0) > 0.999 && at(-4.0) < 0.001, "{mails}");
        }
    }

    #[test]
    fn one_event_never_stops_a_variant_and_three_early_ones_do() {
        let guardrails = Guardrails::default();
        let worst = |evidence| {
            let readings = readings(&guardrails, &evidence);
            readings.iter().map(|r| r.probability).fold(0.0, f64::max)
        };
        assert!(worst(complaints(1.0, 1.0)) < QUARANTINE_ABOVE);
        assert!(worst(complaints(2.0, 2.0)) < QUARANTINE_ABOVE);
        assert!(worst(complaints(3.0, 3.0)) > QUARANTINE_ABOVE);
    }

    #[test]
    fn a_limit_of_one_switches_a_guardrail_off() {
        let guardrails = Guardrails {
            complaint_rate_max: 1.0,
            ..Guardrails::default()
        };
        let readings = readings(&guardrails, &complaints(50.0, 60.0));
        assert_eq!(readings.len(), 3);
        assert!(readings.iter().all(|r| r.measure != Measure::Complaint));
    }

    #[test]
    fn a_reading_names_its_numbers() {
        let readings = readings(&Guardrails::default(), &complaints(7.0, 2_310.0));
        let text = readings.first().map(Reading::describe).unwrap_or_default();
        assert_eq!(
            text,
            "complaint rate above its limit of 0.1 % with probability 0.967: 7 complaints in 2310 mails"
        );
    }

    #[test]
    fn only_what_came_after_the_baseline_counts() {
        let since = complaints(7.0, 2_000.0).since(&complaints(5.0, 1_500.0));
        assert_eq!(since, complaints(2.0, 500.0));
        assert_eq!(complaints(5.0, 100.0).times(0.5), complaints(2.5, 50.0));
    }
}
