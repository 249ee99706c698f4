//! One campaign in one world: waves leave, answers arrive, shares are renewed.
//!
//! Invariant: the shares are those that a snapshot of the same sums would give (tested), and answers arrive by the delay curve: of the
//! successes that wait in a term of the curve, `1 - exp(-t / tau_j)` arrive within t.
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};

use crate::domain::delay::{TAU_HOURS, TERMS};
use crate::domain::exposure::Exposure;
use crate::domain::policy::horizon::Progress;
use crate::domain::policy::{Arms, LazyBest, Policy};
use crate::domain::posterior::{CellCounts, Posterior, campaign_prior, posterior};

use super::Blast;
use super::schedule::{Schedule, Wave};

/// Points and weights of a wave's progress at which shares are computed: Gauss and Legendre's three, since the shares of the last wave
/// sharpen towards its end.
const LAST_WAVE: [(f64, f64); 3] = [
    (0.112_701_665_379_258_3, 5.0 / 18.0),
    (0.5, 8.0 / 18.0),
    (0.887_298_334_620_741_7, 5.0 / 18.0),
];
const OTHER_WAVE: [(f64, f64); 1] = [(0.5, 1.0)];
/// A wave that takes longer than this part of the window is played in parts, between which answers count.
const PART_OF_WINDOW: f64 = 0.1;
/// Most parts of one wave.
const PARTS_MAX: f64 = 5.0;

/// What came of a campaign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Successes expected of the mails as they were shared out.
    pub expected: f64,
    /// Successes drawn.
    pub drawn: f64,
    /// For each wave the largest share and the share of the best variant.
    pub waves: Vec<(f64, f64)>,
}

/// A campaign as it goes.
pub struct Campaign<'a> {
    blast: &'a Blast,
    rates: &'a [f64],
    arms: Vec<Arm>,
    sent: f64,
    outcome: Outcome,
}

struct Arm {
    exposure: Exposure,
    /// Successes on their way, by the term of the delay curve they wait in.
    waiting: [u64; TERMS],
}

// === impl Campaign ===

impl<'a> Campaign<'a> {
    /// At the first mail.
    pub fn new(blast: &'a Blast, rates: &'a [f64], random: &mut ChaCha8Rng) -> Self {
        let arm = |(known, rate): (&Exposure, &f64)| {
            let mut arm = Arm {
                exposure: known.clone(),
                waiting: [0; TERMS],
            };
            // Mails of before whose answer is still to come.
            let weights = blast.belief.curve.weights();
            for ((waiting, pending), weight) in
                arm.waiting.iter_mut().zip(known.pending).zip(weights)
            {
                *waiting = binomial((weight * pending).max(0.0) as u64, *rate, random);
            }
            arm
        };
        let mut campaign = Self {
            blast,
            rates,
            arms: blast.known.iter().zip(rates).map(arm).collect(),
            sent: 0.0,
            outcome: Outcome::default(),
        };
        campaign.pass(blast.lead_hours, random);
        campaign
    }

    /// Plays a schedule by the policy.
    pub fn waves(mut self, schedule: &Schedule, random: &mut ChaCha8Rng) -> Outcome {
        let mut now_hours = 0.0;
        let count = schedule.waves.len();
        for (at, wave) in schedule.waves.iter().enumerate() {
            let parts = self.parts(wave);
            let (mut leader, mut best) = (0.0, 0.0);
            let mut left = wave.mails;
            for part in 0..parts {
                let mails = left / u64::from(parts - part);
                left -= mails;
                let middle = (f64::from(part) + 0.5) / f64::from(parts);
                let sent_hours = wave.at_hours + wave.lasts_hours * middle;
                self.pass(sent_hours - now_hours, random);
                now_hours = sent_hours;
                let last = at + 1 == count && part + 1 == parts;
                let shares = self.shares(mails, last);
                let weight = mails as f64 / wave.mails.max(1) as f64;
                leader += weight * shares.iter().copied().fold(0.0, f64::max);
                best += weight * self.best_of(&shares);
                self.send(mails, &shares, random);
            }
            self.outcome.waves.push((leader, best));
        }
        self.outcome
    }

    /// Plays a test of a share of the audience, and the winner for the rest.
    pub fn test(mut self, test_share: f64, wait_hours: f64, random: &mut ChaCha8Rng) -> Outcome {
        let all = self.blast.sendable();
        let tested = ((test_share * all as f64).round() as u64).clamp(1, all);
        let even = vec![1.0 / self.rates.len() as f64; self.rates.len()];
        self.send(tested, &even, random);
        self.pass(
            wait_hours + self.blast.lasting_hours(tested as f64) / 2.0,
            random,
        );
        let curve = &self.blast.belief.curve;
        let rate = |arm: &Arm| {
            let counts = CellCounts::of(&arm.exposure, curve);
            counts.successes / counts.trials.max(1e-9)
        };
        let rates: Vec<f64> = self.arms.iter().map(rate).collect();
        let most = rates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let winner = rates.iter().position(|rate| *rate == most).unwrap_or(0);
        let shares: Vec<f64> = (0..rates.len())
            .map(|at| f64::from(u8::from(at == winner)))
            .collect();
        self.send(all - tested, &shares, random);
        self.outcome
    }

    fn parts(&self, wave: &Wave) -> u32 {
        let part_hours = PART_OF_WINDOW * self.blast.window_hours.max(1e-9);
        (wave.lasts_hours / part_hours).ceil().clamp(1.0, PARTS_MAX) as u32
    }

    /// Time passes and answers arrive.
    fn pass(&mut self, hours: f64, random: &mut ChaCha8Rng) {
        if hours <= 0.0 {
            return;
        }
        for arm in &mut self.arms {
            let mut arrived = 0;
            for (waiting, tau_hours) in arm.waiting.iter_mut().zip(TAU_HOURS) {
                let now = binomial(*waiting, -(-hours / tau_hours).exp_m1(), random);
                *waiting -= now;
                arrived += now;
            }
            arm.exposure.advance(hours, None);
            arm.exposure.successes += arrived as f64;
        }
    }

    /// The policy's shares of the next mails, averaged over their progress.
    fn shares(&self, mails: u64, last: bool) -> Vec<f64> {
        let curve = &self.blast.belief.curve;
        let counts: Vec<CellCounts> = self
            .arms
            .iter()
            .map(|arm| CellCounts::of(&arm.exposure, curve))
            .collect();
        let prior = match self.blast.policy {
            Policy::HorizonThompson => campaign_prior(self.blast.belief.prior.mean, &counts),
            _ => self.blast.belief.prior,
        };
        let posteriors: Vec<Posterior> = self
            .arms
            .iter()
            .map(|arm| posterior(prior, &arm.exposure, curve).into())
            .collect();
        let best = LazyBest::default();
        let points: &[(f64, f64)] = if last { &LAST_WAVE } else { &OTHER_WAVE };
        let mut shares = vec![0.0; posteriors.len()];
        for (progress, weight) in points {
            let sends = self.blast.sent_before() + self.sent + progress * mails as f64;
            let progress = Progress {
                sends,
                planned_sends: self.blast.planned_sends,
            };
            let floor = self.blast.floor * progress.remaining_share().unwrap_or(1.0);
            let arms = Arms {
                posteriors: &posteriors,
                best: &best,
                progress,
            };
            let even = floor / posteriors.len() as f64;
            let chosen = self.blast.policy.probabilities(&arms);
            for (share, probability) in shares.iter_mut().zip(chosen) {
                *share += weight * (even + (1.0 - floor) * probability);
            }
        }
        shares
    }

    fn best_of(&self, shares: &[f64]) -> f64 {
        let pairs = self.rates.iter().zip(shares);
        let best = pairs.max_by(|(one, _), (other, _)| one.total_cmp(other));
        best.map_or(0.0, |(_, share)| *share)
    }

    /// Sends mails by shares, those of the holdout evenly.
    fn send(&mut self, mails: u64, shares: &[f64], random: &mut ChaCha8Rng) {
        let held = binomial(mails, self.blast.holdout_share, random);
        let evenly = self.rates.iter().sum::<f64>() / self.rates.len().max(1) as f64;
        self.outcome.expected += held as f64 * evenly;
        self.outcome.drawn += binomial(held, evenly, random) as f64;
        self.send_by_policy(mails - held, shares, random);
    }

    /// Sends mails by shares; whole mails, as many as there are.
    fn send_by_policy(&mut self, mails: u64, shares: &[f64], random: &mut ChaCha8Rng) {
        let (mut until, mut given) = (random.random::<f64>(), 0);
        let weights = self.blast.belief.curve.weights();
        let arms = self.arms.iter_mut().zip(self.rates).zip(shares);
        for ((arm, rate), share) in arms {
            until += share * mails as f64;
            let goal = (until.floor() as u64).min(mails);
            let own = goal.saturating_sub(given);
            given = given.max(goal);
            self.outcome.expected += own as f64 * rate;
            arm.exposure.add(&Exposure::trial(own as f64, 0.0));
            let mut successes = binomial(own, *rate, random);
            self.outcome.drawn += successes as f64;
            let mut rest = 1.0;
            for (waiting, weight) in arm.waiting.iter_mut().zip(weights) {
                let share = if rest > 0.0 { weight / rest } else { 1.0 };
                let here = binomial(successes, share, random);
                *waiting += here;
                successes -= here;
                rest -= weight;
            }
            // What no term holds back arrives at once.
            arm.exposure.successes += successes as f64;
        }
        self.sent += mails as f64;
    }
}

fn binomial(trials: u64, rate: f64, random: &mut ChaCha8Rng) -> u64 {
    if trials == 0 {
        return 0;
    }
    Binomial::new(trials, rate.clamp(0.0, 1.0)).map_or(0, |shape| shape.sample(random))
}

#[cfg(test)]
mod tests;
