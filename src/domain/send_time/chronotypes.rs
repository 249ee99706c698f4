//! Chronotypes: a few curves of activity that a tenant's people fall into, and which of them one person's record speaks for.
//!
//! Invariant: without a record of one's own the mixture is everybody's curve exactly, so a newcomer is never harmed. How the curves are
//! found is left to `fit`; what one person's record adds beyond them to `personal`.
use serde::{Deserialize, Serialize};

use crate::domain::activity::ActivityReading;

use super::Segments;
use super::everyone::EveryoneCurve;

pub mod fit;

/// Most chronotypes of a tenant.
pub const CHRONOTYPES_MAX: usize = 8;
/// Most segments with weights of their own.
pub const SEGMENTS_MAX: usize = 64;
/// Opens and mails that the tenant's level is worth against the recipient's own: the shape of the Gamma of levels.
pub(super) const LEVEL_KAPPA: f64 = 2.0;

/// One chronotype: how many people it has, and its activity relative to the mean of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chronotype {
    /// Share of the tenant's people, 0 to 1.
    pub weight: f64,
    /// Activity by local hour over the weighted mean of all chronotypes.
    pub relative: [f64; 24],
}

/// What was fitted to a tenant's people; empty before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chronotypes {
    /// When it was fitted, milliseconds since 1970; 0 for never.
    pub fitted_at_ms: i64,
    /// People it was fitted to.
    pub people: u32,
    /// The curves; none where they predicted people no better than everybody's.
    pub kinds: Vec<Chronotype>,
    /// Observations that the mixture is worth against a person's own record, over the whole day; none if too little was known to tell.
    pub kappa: Option<f64>,
    /// Weights of the kinds by segment, in the order of the names.
    pub segments: Vec<SegmentWeights>,
}

/// How the people of one segment fall into the chronotypes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentWeights {
    /// Name of the segment.
    pub segment: String,
    /// Share of each chronotype, as many as there are kinds.
    pub weights: Vec<f64>,
}

/// The chronotypes on top of everybody's curve, ready for decisions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kinds(Vec<Kind>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kind {
    log_weight: f64,
    weight: f64,
    /// Activity by hour, mean 1.
    activity: [f64; 24],
    log_activity: [f64; 24],
}

/// Counts by hour with the exposure behind the opens among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub opened: &'a [f64; 24],
    pub active: &'a [f64; 24],
    pub exposed: &'a [f64; 24],
}

impl<'a> Evidence<'a> {
    pub fn of(reading: &'a ActivityReading) -> Self {
        Self {
            opened: &reading.observed.by_hour,
            active: &reading.active.by_hour,
            exposed: &reading.exposed.by_hour,
        }
    }
}

// === impl Chronotypes ===

impl Chronotypes {
    /// The weights of a segment, if it has any.
    pub fn segment(&self, name: &str) -> Option<&[f64]> {
        let found = self
            .segments
            .binary_search_by(|known| known.segment.as_str().cmp(name));
        let weights = self.segments.get(found.ok()?)?;
        Some(weights.weights.as_slice())
    }

    /// The weights of the first of these segments that has any.
    pub fn first(&self, segments: Segments<'_>) -> Option<&[f64]> {
        let known = segments.known.iter().map(String::as_str);
        segments
            .asked
            .into_iter()
            .chain(known)
            .find_map(|name| self.segment(name))
    }

    /// The curves on top of everybody's: `T_g(u) = lambda0(u) R_g(u)`, scaled to a mean of 1.
    pub fn on(&self, everyone: &EveryoneCurve) -> Kinds {
        let kind = |chronotype: &Chronotype| {
            let raw: [f64; 24] =
                std::array::from_fn(|u| everyone.by_hour[u] * chronotype.relative[u].max(1e-6));
            let mean = raw.iter().sum::<f64>() / 24.0;
            let activity = raw.map(|rate| (rate / mean).max(1e-9));
            Kind {
                log_weight: chronotype.weight.max(1e-12).ln(),
                weight: chronotype.weight,
                activity,
                log_activity: activity.map(f64::ln),
            }
        };
        Kinds(self.kinds.iter().map(kind).collect())
    }
}

// === impl Kinds ===

impl Kinds {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Share of the people and activity by hour, mean 1, of each.
    pub(super) fn each(&self) -> impl Iterator<Item = (f64, &[f64; 24])> {
        self.0.iter().map(|kind| (kind.weight, &kind.activity))
    }

    /// Everybody's curve as these weights of the kinds would have it: `lambda0 sum_g p_g T_g / sum_g w_g T_g`.
    pub(super) fn mixture(&self, everyone: &[f64; 24], weights: &[f64]) -> [f64; 24] {
        if self.0.len() != weights.len() || self.0.is_empty() {
            return *everyone;
        }
        let (mut own, mut all) = ([0.0; 24], [0.0; 24]);
        for (kind, weight) in self.0.iter().zip(weights) {
            for ((own, all), rate) in own.iter_mut().zip(&mut all).zip(&kind.activity) {
                *own += weight * rate;
                *all += kind.weight * rate;
            }
        }
        std::array::from_fn(|u| everyone[u] * own[u] / all[u].max(1e-12))
    }

    /// How likely each kind is for a person, given the weights of the group the person comes from; the level `c` is integrated out.
    ///
    /// `p_g ~ w_g prod_u T_g(u)^(O_u + A_u) (k + c sum_u E_u T_g(u))^-(k + O)`: opens are Poisson with mean `level E_u T_g(u)`, the level
    /// Gamma with shape k = 2 and mean c, and activity without a mail falls on hours in proportion to `T_g`.
    pub(super) fn posterior(
        &self,
        evidence: Evidence<'_>,
        level: f64,
        group: Option<&[f64]>,
    ) -> [f64; CHRONOTYPES_MAX] {
        let mut logs = [f64::NEG_INFINITY; CHRONOTYPES_MAX];
        let opened: f64 = evidence.opened.iter().sum();
        for (at, (log, kind)) in logs.iter_mut().zip(&self.0).enumerate() {
            let (mut fit, mut expected) = (0.0, 0.0);
            for u in 0..24 {
                fit += (evidence.opened[u] + evidence.active[u]) * kind.log_activity[u];
                expected += evidence.exposed[u] * kind.activity[u];
            }
            let prior = group
                .and_then(|weights| weights.get(at))
                .map_or(kind.log_weight, |weight| weight.max(1e-12).ln());
            *log = prior + fit - (LEVEL_KAPPA + opened) * (LEVEL_KAPPA + level * expected).ln();
        }
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = logs.map(|log| (log - most).exp());
        let sum: f64 = weights.iter().sum();
        if sum.is_finite() && sum > 0.0 {
            weights.map(|weight| weight / sum)
        } else {
            [0.0; CHRONOTYPES_MAX]
        }
    }

    /// The mixture of kinds that a person's record speaks for, as a curve by hour; everybody's where nothing is known.
    pub(super) fn personal(
        &self,
        everyone: &EveryoneCurve,
        evidence: Evidence<'_>,
        group: Option<&[f64]>,
    ) -> [f64; 24] {
        if self.0.is_empty() {
            return everyone.by_hour;
        }
        let posterior = self.posterior(evidence, everyone.level, group);
        let known = posterior.get(..self.0.len()).unwrap_or_default();
        self.mixture(&everyone.by_hour, known)
    }
}

#[cfg(test)]
mod tests;
