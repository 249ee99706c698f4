//! Finding a tenant's chronotypes: expectation and maximisation on people's observed and expected opens, judged on events held out.
//!
//! Invariant: curves are kept only if they predict the held-out half of people's events better than everybody's curve does; with hours
//! dealt at random nothing is claimed. Deterministic: the same people give the same curves. Reading people is left to the use cases.
use crate::domain::activity::ActivityReading;

use super::super::Parameters;
use super::super::circle::CircularKernel;
use super::super::everyone::EveryoneCurve;
use super::super::personal::{Whole, relative_activity};
use super::{CHRONOTYPES_MAX, Chronotype, Chronotypes, Evidence, Kinds, SEGMENTS_MAX};
use super::{LEVEL_KAPPA, SegmentWeights};

/// Turns of expectation and maximisation.
const TURNS: usize = 40;
/// Expected events per hour of day that everybody's curve is worth within each kind.
const CURVE_KAPPA: f64 = 5.0;
/// Standard deviation of the smoothing of the kinds, hours: less than a person's, as many people speak for each.
const SMOOTHING_SD_HOURS: f64 = 1.0;
/// Height of the bumps the search starts from: flat ones leave the kinds alike for too long.
const BUMP: f64 = 1.5;
/// People that equal weights of the kinds are worth.
const WEIGHT_KAPPA: f64 = 16.0;
/// People that the tenant's weights are worth in a segment.
const SEGMENT_KAPPA: f64 = 50.0;
/// Fewest people with events for a fit.
const PEOPLE_MIN: usize = 50;
/// Most people whose held-out events are predicted.
const JUDGED_MAX: usize = 4_000;
/// Candidates for what the mixture is worth against a person's own record, observations over the day.
const KAPPAS: [f64; 10] = [
    4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 128.0, 512.0, 100_000.0,
];

/// What a fit knows of one person: decayed amounts by local hour, and the segments.
#[derive(Debug, Clone, PartialEq)]
pub struct Habits {
    /// Genuine opens.
    pub opened: [f64; 24],
    /// Activity without a mail.
    pub active: [f64; 24],
    /// Exposure, in mails.
    pub exposed: [f64; 24],
    /// Segments the person belongs to.
    pub segments: Vec<String>,
}

// === impl Habits ===

impl Habits {
    /// The habits of a record; none if nothing was observed, as only events tell people apart.
    pub fn of(reading: &ActivityReading, segments: &[String]) -> Option<Self> {
        let habits = Self {
            opened: reading.observed.by_hour,
            active: reading.active.by_hour,
            exposed: reading.exposed.by_hour,
            segments: segments.to_vec(),
        };
        (habits.events() > 0.0).then_some(habits)
    }

    fn events(&self) -> f64 {
        self.opened.iter().chain(&self.active).sum()
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            opened: &self.opened,
            active: &self.active,
            exposed: &self.exposed,
        }
    }

    /// Two halves of the events, each event falling into one by a coin; exposure is halved. Halves of Poisson counts are independent.
    fn halves(&self, person: u64) -> (Self, Self) {
        let mut coin = Coin(person.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let exposed = self.exposed.map(|amount| amount / 2.0);
        let (mut one, mut other) = (self.clone(), self.clone());
        for u in 0..24 {
            (one.opened[u], other.opened[u]) = coin.split(self.opened[u]);
            (one.active[u], other.active[u]) = coin.split(self.active[u]);
        }
        (one.exposed, other.exposed) = (exposed, exposed);
        (one, other)
    }
}

/// A coin with a fixed sequence (splitmix64; Steele, Lea and Flood 2014).
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) & 1 == 0
    }

    /// Splits an amount event by event; the rest of a faded event stays whole.
    fn split(&mut self, amount: f64) -> (f64, f64) {
        let (mut one, mut left) = (0.0, amount);
        while left > 0.0 {
            let part = left.min(1.0);
            if self.toss() {
                one += part;
            }
            left -= part;
        }
        (one, amount - one)
    }
}

/// Fits chronotypes to people. Empty without kinds and kappa when there are too few people to tell.
pub fn fit(
    people: &[Habits],
    everyone: &EveryoneCurve,
    parameters: &Parameters,
    fitted_at_ms: i64,
) -> Chronotypes {
    let none = Chronotypes {
        fitted_at_ms,
        people: people.len() as u32,
        ..Chronotypes::default()
    };
    if people.len() < PEOPLE_MIN {
        return none;
    }
    let (kappa, is_worth_it) = judge(people, everyone, parameters);
    if !is_worth_it {
        return Chronotypes {
            kappa: Some(kappa),
            ..none
        };
    }
    let kinds = maximised(people, everyone);
    let segments = segment_weights(people, everyone, &kinds);
    Chronotypes {
        kinds,
        kappa: Some(kappa),
        segments,
        ..none
    }
}

/// Which kappa predicts held-out events best, and whether the kinds help to.
fn judge(people: &[Habits], everyone: &EveryoneCurve, parameters: &Parameters) -> (f64, bool) {
    let halves: Vec<(Habits, Habits)> = people
        .iter()
        .enumerate()
        .map(|(person, habits)| habits.halves(person as u64))
        .collect();
    let known: Vec<Habits> = halves.iter().map(|(known, _)| known.clone()).collect();
    let fitted = Chronotypes {
        kinds: maximised(&known, everyone),
        ..Chronotypes::default()
    };
    let step = (halves.len() / JUDGED_MAX).max(1);
    let judged: Vec<&(Habits, Habits)> = halves.iter().step_by(step).collect();
    let kernel = CircularKernel::new(parameters.smoothing_sd_hours);
    let best = |kinds: &Kinds| {
        let scored = KAPPAS.map(|kappa| {
            let parameters = Parameters {
                kappa,
                ..*parameters
            };
            let whole = Whole {
                curve: everyone,
                kinds,
                kernel: &kernel,
                parameters: &parameters,
            };
            let scores: Vec<f64> = judged
                .iter()
                .map(|(known, held)| predicted(known, held, whole))
                .collect();
            (kappa, scores)
        });
        let sum = |scores: &[f64]| scores.iter().sum::<f64>();
        scored
            .into_iter()
            .max_by(|one, other| sum(&one.1).total_cmp(&sum(&other.1)))
    };
    let (with, without) = (best(&fitted.on(everyone)), best(&Kinds::default()));
    let (Some((kappa_with, with)), Some((kappa_without, without))) = (with, without) else {
        return (parameters.kappa, false);
    };
    // The gain per person must be beyond doubt: two standard errors above nothing.
    let gains: Vec<f64> = with.iter().zip(&without).map(|(w, o)| w - o).collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / n;
    if mean > 2.0 * (variance / n).sqrt() {
        (kappa_with, true)
    } else {
        (kappa_without, false)
    }
}

/// Log likelihood of where held-out events fall, given that they happen: `sum_u O_u ln a_u - O ln sum_u E_u a_u + sum_u A_u ln a_u`.
fn predicted(known: &Habits, held: &Habits, whole: Whole<'_>) -> f64 {
    let everyone = whole.curve;
    let relative = relative_activity(whole, known.evidence(), None);
    let activity: [f64; 24] =
        std::array::from_fn(|u| (everyone.by_hour[u] * relative.by_hour[u]).max(1e-9));
    let mean = activity.iter().sum::<f64>() / 24.0;
    let mut score = 0.0;
    let (mut opened, mut expected) = (0.0, 0.0);
    for (u, rate) in activity.iter().enumerate() {
        score += (held.opened[u] + held.active[u]) * (rate / mean).ln();
        opened += held.opened[u];
        expected += held.exposed[u] * rate / mean;
    }
    if expected > 0.0 {
        score - opened * expected.ln()
    } else {
        score
    }
}

/// The kinds by expectation and maximisation (Dempster, Laird and Rubin 1977) from eight phases of the day.
fn maximised(people: &[Habits], everyone: &EveryoneCurve) -> Vec<Chronotype> {
    let kernel = CircularKernel::new(SMOOTHING_SD_HOURS);
    let mut kinds = phases();
    for _ in 0..TURNS {
        kinds = turned(people, everyone, &kinds, &kernel);
    }
    kinds
}

/// Where the search starts: everybody's curve with a bump every three hours.
fn phases() -> Vec<Chronotype> {
    let kind = |phase: usize| {
        let centre = phase as f64 * 24.0 / CHRONOTYPES_MAX as f64;
        let bump = |u: usize| {
            let apart = (u as f64 + 0.5 - centre).rem_euclid(24.0);
            let apart = apart.min(24.0 - apart);
            (BUMP * (-0.5 * (apart / 2.5).powi(2)).exp()).exp()
        };
        Chronotype {
            weight: 1.0 / CHRONOTYPES_MAX as f64,
            relative: std::array::from_fn(bump),
        }
    };
    (0..CHRONOTYPES_MAX).map(kind).collect()
}

/// One turn: `R_g = (kappa + sum_i p_ig (O_i + A_i)~) / (kappa + sum_i p_ig ((c_ig E_i + A_i total / 24) lambda0)~)`.
fn turned(
    people: &[Habits],
    everyone: &EveryoneCurve,
    kinds: &[Chronotype],
    kernel: &CircularKernel,
) -> Vec<Chronotype> {
    let ready = Chronotypes {
        kinds: kinds.to_vec(),
        ..Chronotypes::default()
    }
    .on(everyone);
    let mut sums = [Sums::default(); CHRONOTYPES_MAX];
    for habits in people {
        let posterior = ready.posterior(habits.evidence(), everyone.level, None);
        let opened: f64 = habits.opened.iter().sum();
        let active = habits.active.iter().sum::<f64>() / 24.0;
        for ((sums, share), kind) in sums.iter_mut().zip(posterior).zip(&ready.0) {
            if share < 1e-4 {
                continue;
            }
            let waited: f64 = (0..24).map(|u| habits.exposed[u] * kind.activity[u]).sum();
            let level =
                everyone.level * (opened + LEVEL_KAPPA) / (everyone.level * waited + LEVEL_KAPPA);
            sums.people += share;
            for u in 0..24 {
                sums.seen[u] += share * (habits.opened[u] + habits.active[u]);
                sums.expected[u] += share * (level * habits.exposed[u] + active);
            }
        }
    }
    let all: f64 = sums.iter().map(|sums| sums.people).sum();
    let equal = WEIGHT_KAPPA / kinds.len() as f64;
    let new = sums.iter().take(kinds.len()).map(|sums| Chronotype {
        weight: (sums.people + equal) / (all + WEIGHT_KAPPA),
        relative: sums.relative(everyone, kernel),
    });
    centred(new.collect())
}

#[derive(Clone, Copy, Default)]
struct Sums {
    people: f64,
    seen: [f64; 24],
    expected: [f64; 24],
}

impl Sums {
    fn relative(&self, everyone: &EveryoneCurve, kernel: &CircularKernel) -> [f64; 24] {
        let expected = std::array::from_fn(|u| self.expected[u] * everyone.by_hour[u]);
        let (seen, expected) = (kernel.smooth(&self.seen), kernel.smooth(&expected));
        std::array::from_fn(|u| (CURVE_KAPPA + seen[u]) / (CURVE_KAPPA + expected[u]))
    }
}

/// Relative to the weighted mean of all, so that the weights give everybody's curve back.
fn centred(kinds: Vec<Chronotype>) -> Vec<Chronotype> {
    let mean: [f64; 24] = std::array::from_fn(|u| {
        kinds
            .iter()
            .map(|kind| kind.weight * kind.relative[u])
            .sum()
    });
    let centre = |kind: Chronotype| Chronotype {
        relative: std::array::from_fn(|u| kind.relative[u] / mean[u].max(1e-9)),
        ..kind
    };
    kinds.into_iter().map(centre).collect()
}

/// The weights of every segment: a Dirichlet around the tenant's, worth fifty people. Only the largest segments are kept.
fn segment_weights(
    people: &[Habits],
    everyone: &EveryoneCurve,
    kinds: &[Chronotype],
) -> Vec<SegmentWeights> {
    let ready = Chronotypes {
        kinds: kinds.to_vec(),
        ..Chronotypes::default()
    }
    .on(everyone);
    let mut sums: std::collections::BTreeMap<&str, (f64, [f64; CHRONOTYPES_MAX])> =
        std::collections::BTreeMap::new();
    for habits in people.iter().filter(|habits| !habits.segments.is_empty()) {
        let posterior = ready.posterior(habits.evidence(), everyone.level, None);
        for segment in &habits.segments {
            let (count, sum) = sums.entry(segment.as_str()).or_default();
            *count += 1.0;
            sum.iter_mut().zip(posterior).for_each(|(s, p)| *s += p);
        }
    }
    let mut largest: Vec<_> = sums.into_iter().collect();
    largest.sort_by(|one, other| other.1.0.total_cmp(&one.1.0));
    largest.truncate(SEGMENTS_MAX);
    largest.sort_by_key(|(segment, _)| *segment);
    let weights = |(segment, (count, sum)): (&str, (f64, [f64; CHRONOTYPES_MAX]))| SegmentWeights {
        segment: segment.to_owned(),
        weights: kinds
            .iter()
            .zip(sum)
            .map(|(kind, sum)| (SEGMENT_KAPPA * kind.weight + sum) / (SEGMENT_KAPPA + count))
            .collect(),
    };
    largest.into_iter().map(weights).collect()
}
