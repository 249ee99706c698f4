//! The proxy ladder: an earlier response as a first opinion on a later one, until the later one speaks for itself.
//!
//! Invariant: the opinion is a prior of limited weight, so that whatever many open and few click is found out. Whether earlier responses are
//! reported at all is checked here; counting them is left to the caller.

use super::pooling::CellCounts;
use super::{MEAN_MARGIN, Prior};
use crate::domain::shape::BetaShape;

/// Earlier responses needed over all variants before they are trusted as reported.
pub const PROXY_LEADS_MIN: f64 = 50.0;

/// kappa_c: earlier responses that the pooled share who go on is worth.
const CONTINUATION_WEIGHT: f64 = 50.0;

/// One variant's earlier and later responses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Follower {
    /// Posterior of the earlier response's rate.
    pub lead: BetaShape,
    /// Earlier responses.
    pub lead_counts: CellCounts,
    /// Later responses.
    pub counts: CellCounts,
}

/// Priors of the later response: `theta_open,k * CTOR`, the pooled share of openers who click worth 50 opens, as a Beta with the same moments.
///
/// Progressive feedback after Zhang et al. (arXiv 2501.07761). Mean `prod m_i`, second moment `prod (m_i (1 - m_i) / (n_i + 1) + m_i^2)`. None where
/// earlier responses are not reported: fewer than 50, or fewer than the later ones that must have come of them.
pub fn proxy_priors(variants: &[Follower]) -> Option<Vec<Prior>> {
    let mut pooled = [CellCounts::default(); 2];
    for variant in variants {
        for (sum, counts) in pooled.iter_mut().zip([variant.lead_counts, variant.counts]) {
            sum.trials += counts.trials;
            sum.successes += counts.successes;
        }
    }
    let [lead, later] = pooled;
    let reported = lead.successes >= PROXY_LEADS_MIN && lead.successes >= later.successes;
    if !reported || lead.trials <= 0.0 || later.trials <= 0.0 {
        return None;
    }
    let rate = |of: CellCounts| of.successes / of.trials;
    let continuing = rate(later) / rate(lead);
    (continuing > 0.0 && continuing < 1.0).then(|| {
        let prior = |variant: &Follower| product(&variant.lead, continuing);
        variants.iter().map(prior).collect()
    })
}

fn product(lead: &BetaShape, continuing: f64) -> Prior {
    let continuing = continuing.clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN);
    let mean = (lead.mean() * continuing).clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN);
    let square = |mean: f64, variance: f64| variance + mean * mean;
    let second = square(lead.mean(), lead.variance())
        * square(
            continuing,
            continuing * (1.0 - continuing) / (CONTINUATION_WEIGHT + 1.0),
        );
    let variance = (second - mean * mean).max(f64::MIN_POSITIVE);
    Prior {
        mean,
        weight: (mean * (1.0 - mean) / variance - 1.0).max(0.25 / mean),
    }
}
