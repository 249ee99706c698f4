//! Known values, symmetries and a finer grid as the reference for the quadrature.

use super::density::{Height, LOG_CUT, edge};
use super::*;
use crate::domain::shape::BetaShape;
use proptest::prelude::*;

fn beta(alpha: f64, beta: f64) -> BetaShape {
    BetaShape::new(alpha, beta).unwrap()
}

fn finer(arms: &[BetaShape]) -> BestArm {
    let densities: Vec<_> = arms.iter().map(Arm::density).collect();
    best_of(&densities, 0.5)
}

fn largest_difference(one: &[f64], other: &[f64]) -> f64 {
    one.iter()
        .zip(other)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

#[test]
fn two_small_arms_match_the_exact_rational() {
    let best = best_arm(&[beta(6.0, 3.0), beta(3.0, 5.0)]);
    assert!(
        (best.probability[0] - 386.0 / 429.0).abs() < 1e-13,
        "{:?}",
        best.probability
    );
}

#[test]
fn the_triple_that_defeats_other_quadratures_is_right() {
    // Cross Validated question 207552: R's bandit package answers 1.8e-15, 2.4e-15, 2.7e-12.
    let best = best_arm(&[
        beta(442.0, 73_297.0),
        beta(286.0, 88_114.0),
        beta(1_069.0, 204_167.0),
    ]);
    let exact = [0.993_009_459_590_5, 8.89e-20, 0.006_990_540_409_5];
    assert!(
        largest_difference(&best.probability, &exact) < 1e-12,
        "{:?}",
        best.probability
    );
}

#[test]
fn equal_arms_share_equally_at_every_size() {
    for size in [0.25, 1.0, 40.0, 1e5, 1e7, 1e9] {
        for count in [2, 3, 10, 100, 1000] {
            let best = best_arm(&vec![beta(size, 4.0 * size); count]);
            let expected = vec![1.0 / count as f64; count];
            assert!(
                largest_difference(&best.probability, &expected) < 1e-9,
                "size {size}, {count} arms"
            );
        }
    }
}

#[test]
fn a_certain_arm_against_an_ignorant_one_is_even() {
    let best = best_arm(&[beta(1e9, 1e9), beta(1.0, 1.0)]);
    assert!(
        (best.probability[0] - 0.5).abs() < 1e-9,
        "{:?}",
        best.probability
    );
}

#[test]
fn the_expected_maximum_of_uniform_arms_is_known() {
    for count in [1_usize, 2, 5, 40] {
        let best = best_arm(&vec![beta(1.0, 1.0); count]);
        let exact = count as f64 / (count as f64 + 1.0);
        assert!(
            (best.expected_maximum - exact).abs() < 1e-11,
            "{count} arms: {}",
            best.expected_maximum
        );
        assert!(
            best.expected_loss
                .iter()
                .all(|loss| (loss - (exact - 0.5)).abs() < 1e-11)
        );
    }
}

#[test]
fn the_leader_loses_least() {
    let best = best_arm(&[beta(20.0, 80.0), beta(30.0, 70.0), beta(10.0, 90.0)]);
    assert!(best.probability[1] > best.probability[0] && best.probability[0] > best.probability[2]);
    assert!(
        best.expected_loss[1] < best.expected_loss[0]
            && best.expected_loss[0] < best.expected_loss[2]
    );
    assert!((best.expected_loss[0] - best.expected_loss[1] - 0.1).abs() < 1e-12);
}

#[test]
fn one_arm_is_best_and_none_is_nothing() {
    let best = best_arm(&[beta(2.0, 6.0)]);
    assert_eq!(
        (best.probability, best.expected_loss, best.expected_maximum),
        (vec![1.0], vec![0.0], 0.25)
    );
    assert!(best_arm::<BetaShape>(&[]).probability.is_empty());
}

#[test]
fn mixed_scales_and_many_arms_agree_with_a_finer_grid() {
    let scale = |i: usize| 10f64.powf((i * 7919 % 1000) as f64 / 1000.0 * 9.0);
    let rate = |i: usize| 0.02 + 0.3 * ((i * 104_729 % 997) as f64 / 997.0);
    let mixed = |count: usize, largest: f64| -> Vec<BetaShape> {
        (0..count)
            .map(|i| {
                BetaShape::clamped(
                    scale(i).min(largest) * rate(i),
                    scale(i).min(largest) * (1.0 - rate(i)),
                )
            })
            .collect()
    };
    for arms in [
        mixed(5, 1e9),
        mixed(60, 1e9),
        mixed(400, 1e4),
        vec![beta(200.0, 800.0); 300],
        vec![beta(0.25, 10.0); 300],
        vec![beta(1e10, 0.25), beta(1e10, 0.3), beta(5.0, 0.25)],
        vec![beta(0.25, 0.25); 5],
    ] {
        let (got, reference) = (best_arm(&arms), finer(&arms));
        let difference = largest_difference(&got.probability, &reference.probability);
        assert!(
            difference < 1e-9,
            "{} arms from {:?}: {difference}",
            arms.len(),
            arms[0]
        );
        assert!((got.expected_maximum - reference.expected_maximum).abs() < 1e-9);
    }
}

#[test]
fn the_highest_of_a_thousand_newcomers_is_as_exact_as_of_three() {
    for failures in [4.0, 8.0, 20.0, 98.0] {
        let mut arms: Vec<_> = (0..1_000)
            .map(|arm| beta(2.0 + f64::from(arm % 4), failures + f64::from(arm % 3)))
            .collect();
        arms.push(beta(1e8, 4e8));
        let (got, reference) = (best_arm(&arms), finer(&arms));
        let difference = largest_difference(&got.probability, &reference.probability);
        assert!(difference < 1e-10, "{failures}: {difference:e}");
        let difference = (got.expected_maximum - reference.expected_maximum).abs();
        assert!(difference < 1e-9, "{failures}: {difference:e}");
    }
}

/// Probabilities and expected maxima computed with 36 decimal digits by nested quadrature (mpmath).
#[test]
fn references_with_thirty_six_digits_are_met() {
    let million = |a: f64| beta(2e8 + a, 8e8 - a);
    let cases = [
        (
            vec![million(0.0), million(15_000.0), million(-5_000.0)],
            vec![
                0.173_257_211_277_614_7,
                0.731_408_498_440_109,
                0.095_334_290_282_276_2,
            ],
            0.200_017_742_900_388_06,
        ),
        (
            vec![beta(0.25, 0.25), beta(0.25, 10.0), beta(3.0, 0.25)],
            vec![
                0.207_659_315_127_871_56,
                2.703_600_330_845_396_7e-5,
                0.792_313_648_868_82,
            ],
            0.946_976_475_173_544_4,
        ),
        (
            vec![beta(0.25, 1e9), beta(0.75, 1e9), beta(4.0, 9e9)],
            vec![
                0.125_569_175_551_084_3,
                0.484_182_069_336_354_2,
                0.390_248_755_112_561_5,
            ],
            9.806_883_407_495_814e-10,
        ),
        (
            vec![
                beta(22.0, 78.0),
                beta(230.0, 770.0),
                beta(2_100.0, 7_900.0),
                beta(1.5, 4.5),
            ],
            vec![
                0.227_141_018_774_324,
                0.304_436_348_429_249,
                0.015_677_201_604_939_96,
                0.452_745_431_191_487,
            ],
            0.313_180_347_043_843_2,
        ),
        (
            vec![beta(120_000.0, 480_000.0), beta(120_500.0, 479_500.0)],
            vec![0.127_101_298_325_525_8, 0.872_898_701_674_474_2],
            0.200_879_625_720_829_34,
        ),
    ];
    for (arms, probability, expected_maximum) in cases {
        let best = best_arm(&arms);
        let difference = largest_difference(&best.probability, &probability);
        assert!(difference < 1e-10, "{arms:?}: {difference:e}");
        let difference = (best.expected_maximum / expected_maximum - 1.0).abs();
        assert!(difference < 1e-10, "{arms:?}: {difference:e}");
    }
}

/// The Normal family on its own axis: the proof that another family needs no change elsewhere.
struct Normal {
    mean: f64,
    sd: f64,
}

impl Density for Normal {
    type Node = f64;

    fn node(t: f64) -> f64 {
        t
    }

    fn value(node: &f64) -> f64 {
        *node
    }

    fn log_density(&self, node: &f64) -> f64 {
        let z = (node - self.mean) / self.sd;
        -0.5 * z * z - (self.sd * (2.0 * std::f64::consts::PI).sqrt()).ln()
    }

    fn support(&self) -> Support {
        let reach = (2.0 * LOG_CUT).sqrt() * self.sd;
        Support {
            low: self.mean - reach,
            high: self.mean + reach,
        }
    }

    fn peak(&self) -> f64 {
        self.mean
    }

    fn spread(&self) -> f64 {
        self.sd
    }

    fn mean(&self) -> f64 {
        self.mean
    }
}

#[test]
fn another_family_plugs_in() {
    // P(X > Y) = Phi(1/sqrt 2) and E max(X, Y) = 1 Phi(1/sqrt 2) + sqrt 2 phi(1/sqrt 2) for X ~ N(1,1), Y ~ N(0,1).
    let best = best_of(
        &[Normal { mean: 1.0, sd: 1.0 }, Normal { mean: 0.0, sd: 1.0 }],
        PANEL_SPREADS_MAX,
    );
    assert!(
        (best.probability[0] - 0.760_249_938_906_523_3).abs() < 1e-12,
        "{:?}",
        best.probability
    );
    let density = (-0.25f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
    assert!(
        (best.expected_maximum - (0.760_249_938_906_523_3 + 2f64.sqrt() * density)).abs() < 1e-12
    );
}

#[test]
fn the_edge_of_a_parabola_is_found_from_either_side() {
    let parabola = |t: f64| Height {
        log: -0.5 * t * t,
        slope: -t,
    };
    for start in [0.5, 3.0, 50.0] {
        let found = edge(start, parabola);
        assert!(
            (-LOG_CUT - 2.0..=-LOG_CUT).contains(&(-0.5 * found * found)),
            "{found}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn probabilities_sum_to_one_and_agree_with_a_finer_grid(
        shapes in prop::collection::vec((-1.38f64..20.7, -1.38f64..20.7), 2..12),
    ) {
        let arms: Vec<_> = shapes.iter().map(|(a, b)| beta(a.exp(), b.exp())).collect();
        let (best, reference) = (best_arm(&arms), finer(&arms));
        prop_assert!((best.probability.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        prop_assert!(best.probability.iter().all(|p| (0.0..=1.0).contains(p)));
        let difference = largest_difference(&best.probability, &reference.probability);
        prop_assert!(difference < 1e-9, "{difference}");
    }

    #[test]
    fn a_pair_mirrors_when_successes_and_failures_swap(
        a in (-1.38f64..16.0, -1.38f64..16.0), b in (-1.38f64..16.0, -1.38f64..16.0),
    ) {
        let arms = [beta(a.0.exp(), a.1.exp()), beta(b.0.exp(), b.1.exp())];
        let mirrored = [beta(a.1.exp(), a.0.exp()), beta(b.1.exp(), b.0.exp())];
        let (best, worst) = (best_arm(&arms), best_arm(&mirrored));
        prop_assert!((best.probability[0] - worst.probability[1]).abs() < 1e-9);
    }
}
