//! Whether variants get the shares that they should, under any allocation and however often one looks.
//!
//! Invariant: what is compared is what happened with what was to be expected of each decision or hour by itself, so shares that
//! change with the allocation raise no alarm. What to do about an alarm is left to others.
use std::collections::BTreeMap;

use crate::domain::name::VariantIndex;

/// Evidence this strong against the shares raises the alarm: by Ville's inequality at most one in so many experiments without a
/// fault ever does, however often it is looked at.
pub const ALARM_FROM: f64 = 1_000.0;
/// Below this the alarm is over.
pub const CALM_BELOW: f64 = 10.0;
/// Bets at `lambda = 2^-j` for j below this.
const BETS: i32 = 12;
/// Hours after which a decision's mail is confirmed or never will be.
const HOURS_KEPT: i32 = 14 * 24;

/// How far a count is from what was to be expected, and how far it could be by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Observed less expected.
    pub excess: f64,
    /// Sum of the variances of the single outcomes, given what came before.
    pub variance: f64,
}

/// Decisions of one hour and variant, and how many of their mails were confirmed to have left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Row {
    decided: f64,
    confirmed: f64,
}

/// Deviations of one experiment's variants: of decisions from their propensities, and of mails from decisions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleRatio {
    decisions: BTreeMap<VariantIndex, Deviation>,
    hours: BTreeMap<i32, BTreeMap<VariantIndex, Row>>,
    settled: BTreeMap<VariantIndex, Deviation>,
}

/// Decisions that were drawn with the same propensities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    decisions: f64,
    chosen: BTreeMap<VariantIndex, f64>,
}

// === impl Drawn ===

impl Drawn {
    /// Counts one more.
    pub fn count(&mut self, chosen: VariantIndex) {
        self.decisions += 1.0;
        *self.chosen.entry(chosen).or_default() += 1.0;
    }
}

// === impl Deviation ===

impl Deviation {
    fn add(&mut self, other: Self) {
        self.excess += other.excess;
        self.variance += other.variance;
    }
}

// === impl SampleRatio ===

impl SampleRatio {
    /// Counts decisions: each candidate with its propensity, and how often each of them was chosen.
    pub fn decide(&mut self, candidates: impl Iterator<Item = (VariantIndex, f64)>, drawn: &Drawn) {
        for (variant, propensity) in candidates {
            let observed = drawn.chosen.get(&variant).copied().unwrap_or(0.0);
            self.decisions.entry(variant).or_default().add(Deviation {
                excess: observed - drawn.decisions * propensity,
                variance: drawn.decisions * propensity * (1.0 - propensity),
            });
        }
    }

    /// Counts decisions and confirmed mails by the hour of their decision, hours since 1970.
    pub fn count(&mut self, hour: i32, variant: VariantIndex, decided: i64, confirmed: i64) {
        if decided == 0 && confirmed == 0 {
            return;
        }
        let row = self
            .hours
            .entry(hour)
            .or_default()
            .entry(variant)
            .or_default();
        row.decided += decided as f64;
        row.confirmed += confirmed as f64;
    }

    /// Keeps only the sums of hours whose mails are confirmed or never will be.
    pub fn settle(&mut self, hour_now: i32) {
        let recent = self.hours.split_off(&(hour_now - HOURS_KEPT));
        for rows in std::mem::replace(&mut self.hours, recent).values() {
            add_hour(&mut self.settled, rows);
        }
    }

    /// The evidence against the shares, as an e-value: expected to be at most 1 if all is well.
    ///
    /// The mean of the evidence of decisions against their propensities and of mails against decisions.
    pub fn evidence(&self) -> f64 {
        let mut mails = self.settled.clone();
        self.hours
            .values()
            .for_each(|rows| add_hour(&mut mails, rows));
        let both = [e_value(self.decisions.values()), e_value(mails.values())];
        both.iter().sum::<f64>() / 2.0
    }
}

/// Adds one hour: of S confirmed among N decisions, n_k of variant k, `s_k - S n_k / N` is hypergeometric whatever share of the
/// hour's mails left, so an hour without mails or with a late report speaks against nobody. Its variance is bounded by that of
/// drawing with replacement (Hoeffding 1963), for the fewer of those that left and those that did not.
fn add_hour(sums: &mut BTreeMap<VariantIndex, Deviation>, rows: &BTreeMap<VariantIndex, Row>) {
    // A mail can be confirmed of a decision that was lost; it says nothing.
    let rows = || rows.iter().filter(|(_, row)| row.confirmed <= row.decided);
    let decided: f64 = rows().map(|(_, row)| row.decided).sum();
    let confirmed: f64 = rows().map(|(_, row)| row.confirmed).sum();
    if decided <= 0.0 {
        return;
    }
    let draws = confirmed.min(decided - confirmed);
    for (variant, row) in rows() {
        let share = row.decided / decided;
        sums.entry(*variant).or_default().add(Deviation {
            excess: row.confirmed - confirmed * share,
            variance: draws * share * (1.0 - share),
        });
    }
}

/// The evidence against even shares of these counts, as an e-value.
pub fn fair_share_evidence(counts: &[f64]) -> f64 {
    let (all, share) = (counts.iter().sum::<f64>(), 1.0 / counts.len().max(1) as f64);
    let deviations: Vec<Deviation> = counts
        .iter()
        .map(|count| Deviation {
            excess: count - all * share,
            variance: all * share * (1.0 - share),
        })
        .collect();
    e_value(deviations.iter())
}

/// The mean over variants, both directions and bets of `exp(lambda X - V (e^lambda - 1 - lambda))`.
///
/// Each is a supermartingale for outcomes that deviate by at most 1 (Freedman 1975), so their mean is one as well, and exceeds
/// 1/alpha at any time with probability at most alpha (Ville 1939).
fn e_value<'a>(deviations: impl Iterator<Item = &'a Deviation>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for deviation in deviations {
        for bet in 0..BETS {
            let lambda = f64::from(-bet).exp2();
            let cost = deviation.variance * (lambda.exp_m1() - lambda);
            for excess in [deviation.excess, -deviation.excess] {
                // Capped so that sums stay finite; far above any threshold.
                sum += (lambda * excess - cost).min(500.0).exp();
                count += 1.0;
            }
        }
    }
    if count > 0.0 { sum / count } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const A: VariantIndex = VariantIndex(0);
    const B: VariantIndex = VariantIndex(1);

    fn once(chosen: VariantIndex) -> Drawn {
        let mut drawn = Drawn::default();
        drawn.count(chosen);
        drawn
    }

    #[test]
    fn decisions_counted_together_are_those_counted_one_by_one() {
        let candidates = || [(A, 0.3), (B, 0.7)].into_iter();
        let (mut together, mut single) = (SampleRatio::default(), SampleRatio::default());
        let mut drawn = Drawn::default();
        for chosen in [A, B, B, A, A, B, B] {
            drawn.count(chosen);
            single.decide(candidates(), &once(chosen));
        }
        together.decide(candidates(), &drawn);
        let (one, other) = (together.evidence(), single.evidence());
        assert!((one / other - 1.0).abs() < 1e-12, "{one} {other}");
    }

    /// Ten hours in which the allocation moves from B to A, with these chances that a mail leaves.
    fn hours(left: [f64; 2], seed: u64) -> SampleRatio {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut ratio = SampleRatio::default();
        for hour in 0..10 {
            let share_of_a = 0.05 + 0.09 * f64::from(hour);
            // Reports come late: of the last hours hardly any mail is confirmed yet.
            let reported = if hour < 7 { 1.0 } else { 0.2 };
            for _ in 0..1_000 {
                let chosen = if random.random::<f64>() < share_of_a {
                    A
                } else {
                    B
                };
                ratio.decide(
                    [(A, share_of_a), (B, 1.0 - share_of_a)].into_iter(),
                    &once(chosen),
                );
                ratio.count(hour, chosen, 1, 0);
                let chance = left[usize::from(chosen.0)] * reported;
                if random.random::<f64>() < chance {
                    ratio.count(hour, chosen, 0, 1);
                }
            }
        }
        ratio
    }

    #[test]
    fn an_allocation_that_moves_and_late_reports_raise_no_alarm() {
        for seed in 0..40 {
            let evidence = hours([0.98, 0.98], seed).evidence();
            assert!(evidence < CALM_BELOW, "seed {seed}: {evidence}");
        }
    }

    #[test]
    fn a_variant_whose_mails_do_not_all_leave_raises_the_alarm() {
        for left in [[0.98, 0.9], [0.9, 0.98]] {
            let mut ratio = hours(left, 1);
            let evidence = ratio.evidence();
            assert!(evidence > ALARM_FROM, "{left:?}: {evidence}");
            ratio.settle(5 + HOURS_KEPT);
            assert!((ratio.evidence() / evidence - 1.0).abs() < 1e-9);
            assert_eq!(ratio.hours.len(), 5);
        }
    }

    #[test]
    fn draws_that_do_not_follow_their_propensities_raise_the_alarm() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut ratio = SampleRatio::default();
        for _ in 0..5_000 {
            let chosen = if random.random::<f64>() < 0.55 { A } else { B };
            ratio.decide([(A, 0.5), (B, 0.5)].into_iter(), &once(chosen));
        }
        assert!(ratio.evidence() > ALARM_FROM);
    }

    #[test]
    fn watched_all_the_time_the_alarm_is_rarely_false() {
        let (runs, mut alarms, mut least) = (1_000, 0, f64::INFINITY);
        for seed in 0..runs {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let (mut ratio, mut most) = (SampleRatio::default(), 0.0_f64);
            for decision in 0..500 {
                let share = 0.1 + 0.8 * random.random::<f64>();
                let chosen = if random.random::<f64>() < share { A } else { B };
                ratio.decide([(A, share), (B, 1.0 - share)].into_iter(), &once(chosen));
                ratio.count(
                    decision / 50,
                    chosen,
                    1,
                    i64::from(random.random::<f64>() < 0.9),
                );
                most = most.max(ratio.evidence());
            }
            alarms += usize::from(most >= ALARM_FROM);
            least = least.min(most);
        }
        assert!(alarms <= 3, "{alarms} of {runs}");
        assert!(least > 0.0);
    }

    #[test]
    fn without_anything_counted_there_is_no_evidence() {
        assert_eq!(SampleRatio::default().evidence(), 1.0);
    }
}
