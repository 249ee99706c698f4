//! What is remembered about watching over one experiment: conditions that hold, and evidence that a person has dealt with.
//!
//! Invariant: a condition is new only when it begins to hold, and must have ended before it can be new again. Acting on it is left
//! to others.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Condition;
use crate::domain::cell::HOUR_MS;
use crate::domain::guardrail::{CALM_BELOW, HarmEvidence, Reading, WARN_ABOVE};
use crate::domain::name::VariantIndex;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It holds.
    Raised,
    /// In between: it neither begins nor ends.
    Unclear,
    /// It does not hold.
    Calm,
}

/// Evidence of harm as it was when a person put a quarantined variant back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Baseline {
    at_ms: i64,
    evidence: HarmEvidence,
}

/// What is remembered about watching over one experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Oversight {
    baselines: BTreeMap<VariantIndex, Baseline>,
    holding: BTreeSet<Condition>,
}

// === impl Signal ===

impl Signal {
    /// The signal of a guardrail's reading.
    pub fn of(reading: &Reading) -> Self {
        if reading.probability > WARN_ABOVE {
            Self::Raised
        } else if reading.probability < CALM_BELOW {
            Self::Calm
        } else {
            Self::Unclear
        }
    }
}

// === impl Oversight ===

impl Oversight {
    /// What was remembered earlier: evidence that a person has dealt with, with the instant in milliseconds since 1970, and conditions that hold.
    pub fn remembered(
        dealt_with: impl Iterator<Item = (VariantIndex, i64, HarmEvidence)>,
        holding: BTreeSet<Condition>,
    ) -> Self {
        let baseline = |(variant, at_ms, evidence)| (variant, Baseline { at_ms, evidence });
        Self {
            baselines: dealt_with.map(baseline).collect(),
            holding,
        }
    }

    /// The evidence that guardrails go by: all of it, less what a person has dealt with, faded like the rest.
    pub fn evidence(
        &self,
        variant: VariantIndex,
        total: &HarmEvidence,
        half_life_hours: Option<f64>,
        now: Timestamp,
    ) -> HarmEvidence {
        let Some(baseline) = self.baselines.get(&variant) else {
            return *total;
        };
        let hours = (now.as_millisecond() - baseline.at_ms).max(0) as f64 / HOUR_MS as f64;
        let kept = half_life_hours.map_or(1.0, |half_life| (-hours / half_life).exp2());
        total.since(&baseline.evidence.times(kept))
    }

    /// Remembers that a person has dealt with the evidence so far and put the variant back.
    pub fn start_afresh(&mut self, variant: VariantIndex, evidence: HarmEvidence, now: Timestamp) {
        let at_ms = now.as_millisecond();
        self.baselines.insert(variant, Baseline { at_ms, evidence });
        self.holding
            .retain(|condition| condition.variant != Some(variant));
    }

    /// Notes whether a condition holds; answers what changed: it began, it ended, or nothing.
    pub fn note(&mut self, condition: Condition, signal: Signal) -> Option<Signal> {
        let changed = match signal {
            Signal::Raised => self.holding.insert(condition),
            Signal::Calm => self.holding.remove(&condition),
            Signal::Unclear => false,
        };
        changed.then_some(signal)
    }

    /// Whether a condition is known to hold.
    pub fn holds(&self, condition: Condition) -> bool {
        self.holding.contains(&condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::AlertKind;
    use crate::domain::cell::Harm;

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

    #[test]
    fn a_condition_is_new_once_until_it_has_ended() {
        let mut oversight = Oversight::default();
        let condition = Condition::of(AlertKind::SampleRatio);
        let signals = [
            Signal::Raised,
            Signal::Raised,
            Signal::Unclear,
            Signal::Raised,
            Signal::Calm,
            Signal::Calm,
            Signal::Raised,
        ];
        let changed: Vec<bool> = signals
            .map(|signal| oversight.note(condition, signal).is_some())
            .to_vec();
        assert_eq!(changed, [true, false, false, false, true, false, true]);
    }

    #[test]
    fn what_a_person_has_dealt_with_fades_like_the_rest() {
        let variant = VariantIndex(2);
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap();
        let mut oversight = Oversight::default();
        let total = complaints(8.0, 1_000.0);
        assert_eq!(oversight.evidence(variant, &total, None, at(0)), total);
        oversight.start_afresh(variant, total, at(0));
        let more = complaints(9.0, 1_200.0);
        assert_eq!(
            oversight.evidence(variant, &more, None, at(5)),
            complaints(1.0, 200.0)
        );
        let faded = complaints(4.0, 500.0);
        assert_eq!(
            oversight.evidence(variant, &faded, Some(10.0), at(10)),
            complaints(0.0, 0.0)
        );
        let other = VariantIndex(1);
        assert_eq!(oversight.evidence(other, &more, None, at(5)), more);
    }
}
