//! Learning a delay curve from the delays of a tenant's own mails, however young these are.
//!
//! Invariant: a mail sent an hour ago can only show answers that took less than an hour; every step accounts for that. Without delays the
//! published curve holds. Which experiments share a curve, and when it is learned anew, is left to others.
use std::sync::LazyLock;

use statrs::function::gamma::ln_gamma;

use super::window::component_share;
use super::{DelayCurve, TAU_HOURS, TERMS, decays};
use crate::domain::arrivals::{DELAY_BINS, bin_hours};

/// The five exponentials and, first, what arrives at once.
const COMPONENTS: usize = TERMS + 1;
/// Delays that the prior curve is worth: the pseudo-observations of a Dirichlet prior.
const PRIOR_DELAYS: f64 = 200.0;
/// What "at once" means: seconds, taken as an exponential with this mean in hours. Its bins are the first few.
const AT_ONCE_HOURS: f64 = 15.0 / 3_600.0;
/// Rounds of expectation and maximisation, and the change of a share below which they stop.
const ROUNDS_MAX: usize = 300;
const SETTLED: f64 = 1e-6;

/// Probabilities, before any data, that delays are as published, minutes, or seconds.
const SHAPE_PROBABILITIES: [f64; 3] = [0.90, 0.05, 0.05];
/// Answers within minutes (triggered mail, web): median 8 min.
const MINUTES: [f64; TERMS] = [0.67, 0.20, 0.10, 0.02, 0.0];
/// Most terms of a series.
const SERIES_MAX: f64 = 20_000.0;
/// Answers within seconds; a tenth is as published.
const AT_ONCE_SHARE: f64 = 0.9;

/// What one experiment shows of its delays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DelayEvidence {
    /// Weight of its successes by bin of their delay.
    pub arrived: [f64; DELAY_BINS],
    /// Weight of its trials n.
    pub trials: f64,
    /// `D_j = sum over trials of exp(-age / tau_j)`.
    pub pending: [f64; TERMS],
    /// Weight of its successes; those not in `arrived` came before delays were kept.
    pub successes: f64,
    /// Longest delay that counts, hours: its attribution window.
    pub window_hours: f64,
    /// What it counts for, 0 to 1: old experiments count less.
    pub importance: f64,
}

/// What is expected before any delay is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayPrior {
    /// The curve as published, not cut at any attribution window.
    pub published: DelayCurve,
    /// A high rate of success for this objective, 0 to 1: rates are taken to be exponential with this mean.
    pub high_rate: f64,
}

/// A learned curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearnedDelay {
    /// The curve, not cut at any attribution window.
    pub curve: DelayCurve,
    /// Weight of the delays it rests on.
    pub delays: f64,
}

/// Shares of the components, summing to one.
type Shares = [f64; COMPONENTS];

/// The evidence as the fit needs it.
struct Seen {
    arrived: [f64; DELAY_BINS],
    delays: f64,
    trials: f64,
    /// Share of the answers of each component that could have been seen by now.
    visible: Shares,
}

/// Learns a curve by maximum a posteriori from delays seen so far.
///
/// Delays are a mixture of exponentials with mean `tau_j` and of "at once". A delay can be seen only if it is shorter than its mail's age and
/// than the window, so with `V_ej` the share of component j that is in sight in experiment e, and `N_e` delays seen there, the conditional
/// likelihood is `prod over delays of f(d) / prod over e of (sum_j p_j V_ej)^N_e`; expectation-maximisation imputes the unseen (Dempster,
/// Laird and Rubin 1977, section 4.2). That likelihood says nothing of what no mail is old enough to show, so the prior is the likeliest of
/// three shapes by their marginal likelihood, in which also counts how many mails have not been answered.
pub fn learn(prior: &DelayPrior, evidence: &[DelayEvidence]) -> LearnedDelay {
    let seen: Vec<Seen> = evidence.iter().filter_map(Seen::of).collect();
    let delays = seen.iter().map(|seen| seen.delays).sum();
    let shapes = shapes(&prior.published);
    let probabilities = log_probabilities(&shapes, prior.high_rate, &seen);
    let likeliest = shapes
        .iter()
        .zip(probabilities)
        .max_by(|(_, one), (_, other)| one.total_cmp(other));
    let fitted = likeliest.map(|(shape, _)| fitted(shape, &seen));
    LearnedDelay {
        curve: fitted
            .and_then(|shares| curve_of(&shares))
            .unwrap_or(prior.published),
        delays,
    }
}

/// Log likelihood of delays under a curve, given that they were short enough to be seen by now; 0 without trials.
pub fn log_conditional(curve: &DelayCurve, evidence: &DelayEvidence) -> f64 {
    let shares = shares_of(curve);
    let of = |seen: Seen| {
        let in_sight = weighted(&shares, &seen.visible).max(1e-12);
        seen.log_density(&shares) - seen.delays * in_sight.ln()
    };
    Seen::of(evidence).map_or(0.0, of)
}

/// Answers within minutes: median 8 min.
pub fn within_minutes() -> Option<DelayCurve> {
    DelayCurve::new(MINUTES).ok()
}

/// Answers within seconds but for a tenth, which takes its time as given.
pub fn within_seconds(rest: &DelayCurve) -> Option<DelayCurve> {
    let [_, _, seconds] = shapes(rest);
    curve_of(&seconds)
}

fn shares_of(curve: &DelayCurve) -> Shares {
    let weights = curve.weights();
    let later: f64 = weights.iter().sum();
    let mut shares = [0.0; COMPONENTS];
    for (share, weight) in shares.iter_mut().skip(1).zip(weights) {
        *share = weight;
    }
    shares[0] = (1.0 - later).max(0.0);
    shares
}

fn curve_of(shares: &Shares) -> Option<DelayCurve> {
    let sum: f64 = shares.iter().sum();
    let mut weights = [0.0; TERMS];
    for (weight, share) in weights.iter_mut().zip(shares.iter().skip(1)) {
        *weight = share / sum;
    }
    DelayCurve::new(weights).ok()
}

fn shapes(published: &DelayCurve) -> [Shares; 3] {
    let published = shares_of(published);
    let mut minutes = [0.0; COMPONENTS];
    minutes[0] = 1.0 - MINUTES.iter().sum::<f64>();
    for (share, weight) in minutes.iter_mut().skip(1).zip(MINUTES) {
        *share = weight;
    }
    let mut seconds = published.map(|share| (1.0 - AT_ONCE_SHARE) * share);
    seconds[0] += AT_ONCE_SHARE;
    [published, minutes, seconds]
}

/// Share of each component's delays in each bin.
static BIN_SHARES: LazyLock<[Shares; DELAY_BINS]> = LazyLock::new(|| {
    std::array::from_fn(|bin| {
        let (low, high) = bin_hours(bin);
        std::array::from_fn(|component| match component {
            0 => (-low / AT_ONCE_HOURS).exp() - (-high / AT_ONCE_HOURS).exp(),
            _ => component_share(component, high) - component_share(component, low),
        })
    })
});

fn weighted(shares: &Shares, values: &Shares) -> f64 {
    shares.iter().zip(values).map(|(p, v)| p * v).sum()
}

// === impl Seen ===

impl Seen {
    /// None when there is nothing to learn from. Trials whose successes came before delays were kept are left out in proportion.
    fn of(evidence: &DelayEvidence) -> Option<Self> {
        let kept: f64 = evidence.arrived.iter().sum();
        let known = if evidence.successes > kept {
            kept / evidence.successes
        } else {
            1.0
        };
        let importance = evidence.importance.clamp(0.0, 1.0);
        let (trials, delays) = (evidence.trials * known * importance, kept * importance);
        if !(trials > 0.0 && trials.is_finite() && delays.is_finite()) {
            return None;
        }
        let mut visible = [1.0; COMPONENTS];
        // exp(-age / 15 s) from the sum of exp(-age / 12 min): exact for mails of one age.
        let young = (evidence.pending[0] / evidence.trials).clamp(0.0, 1.0);
        visible[0] = 1.0 - young.powf(TAU_HOURS[0] / AT_ONCE_HOURS);
        let beyond_window = decays(evidence.window_hours.max(0.0));
        let hidden = evidence.pending.iter().zip(beyond_window);
        for (visible, (pending, beyond)) in visible.iter_mut().skip(1).zip(hidden) {
            // Exact while all mails are younger than the window or all older; between, a tenth of the slowest term at most.
            *visible = 1.0 - (pending / evidence.trials).clamp(0.0, 1.0).max(beyond);
        }
        Some(Self {
            arrived: evidence.arrived.map(|weight| weight * importance),
            delays,
            trials,
            visible,
        })
    }

    /// Log likelihood of the delays and of the silence under a curve, over all rates: with `x = sum over trials of F(age)` and rates
    /// exponential with mean m and at most 1, the density of each delay times the integral of `r^N exp(-r (x + 1/m))` over r.
    fn log_likelihood(&self, shares: &Shares, high_rate: f64) -> f64 {
        let effective = self.trials * weighted(shares, &self.visible) + 1.0 / high_rate;
        self.log_density(shares) + log_rate_integral(self.delays, effective)
    }

    /// Logarithm of the probability of the bins that the delays fell into.
    fn log_density(&self, shares: &Shares) -> f64 {
        let bins = self.arrived.iter().zip(BIN_SHARES.iter());
        bins.filter(|(weight, _)| **weight > 0.0)
            .map(|(weight, bin)| weight * weighted(shares, bin).max(1e-12).ln())
            .sum()
    }
}

/// Logarithm of the integral of `r^n exp(-r x)` over r from 0 to 1, for n of at least 0 and positive x.
fn log_rate_integral(n: f64, x: f64) -> f64 {
    let s = n + 1.0;
    if x >= s {
        // The rate is well below 1 then: the integral to infinity, too large by a factor of 2 at most.
        return ln_gamma(s) - s * x.ln();
    }
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > 1e-9 * sum && k < SERIES_MAX {
        term *= x / (s + k);
        sum += term;
        k += 1.0;
    }
    sum.ln() - x - s.ln()
}

/// Log probabilities of the shapes given the evidence, up to a constant.
fn log_probabilities(shapes: &[Shares; 3], high_rate: f64, seen: &[Seen]) -> [f64; 3] {
    let high_rate = high_rate.clamp(1e-6, 1.0);
    let mut logs = SHAPE_PROBABILITIES.map(f64::ln);
    for (log, shape) in logs.iter_mut().zip(shapes) {
        let likelihoods = seen
            .iter()
            .map(|seen| seen.log_likelihood(shape, high_rate));
        *log += likelihoods.sum::<f64>();
    }
    logs
}

/// Expectation-maximisation from one prior shape.
fn fitted(prior: &Shares, seen: &[Seen]) -> Shares {
    let mut arrived = [0.0; DELAY_BINS];
    for seen in seen {
        for (total, weight) in arrived.iter_mut().zip(seen.arrived) {
            *total += weight;
        }
    }
    let mut shares = *prior;
    for _ in 0..ROUNDS_MAX {
        let next = improved(&shares, prior, &arrived, seen);
        let change = next.iter().zip(shares).map(|(new, old)| (new - old).abs());
        let largest = change.fold(0.0, f64::max);
        shares = next;
        if largest < SETTLED {
            break;
        }
    }
    shares
}

/// One round: the components of the delays seen, those of the delays not yet seen, and the prior's.
fn improved(shares: &Shares, prior: &Shares, arrived: &[f64; DELAY_BINS], seen: &[Seen]) -> Shares {
    let mut counts = prior.map(|share| PRIOR_DELAYS * share);
    for (weight, bin) in arrived.iter().zip(BIN_SHARES.iter()) {
        let whole = weighted(shares, bin);
        if *weight > 0.0 && whole > 0.0 {
            for (count, (share, of_bin)) in counts.iter_mut().zip(shares.iter().zip(bin)) {
                *count += weight * share * of_bin / whole;
            }
        }
    }
    for seen in seen.iter().filter(|seen| seen.delays > 0.0) {
        let in_sight = weighted(shares, &seen.visible).max(1e-9);
        for (count, (share, visible)) in counts.iter_mut().zip(shares.iter().zip(seen.visible)) {
            *count += seen.delays * share * (1.0 - visible) / in_sight;
        }
    }
    let sum: f64 = counts.iter().sum();
    counts.map(|count| count / sum)
}

#[cfg(test)]
mod tests;
