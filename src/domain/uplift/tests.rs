//! Tests of the confidence sequence against its definition and against its promises.
use super::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution};

fn sides(policy: (f64, f64), holdout: (f64, f64)) -> Sides {
    let side = |(trials, mean)| Side::expected(trials, mean);
    Sides {
        policy: side(policy),
        holdout: side(holdout),
        effect_sd_relative: EFFECT_SD_RELATIVE,
    }
}

/// The likelihood ratio of the mixture, integrated numerically.
fn mixture(difference: f64, variance: f64, effect_sd: f64) -> f64 {
    let steps = 40_000;
    let width = 16.0 * effect_sd / f64::from(steps);
    (0..steps)
        .map(|step| {
            let effect = -8.0 * effect_sd + width * (f64::from(step) + 0.5);
            let ratio = (effect * difference - 0.5 * effect * effect) / variance;
            let density = (-0.5 * (effect / effect_sd).powi(2)).exp()
                / (effect_sd * (2.0 * std::f64::consts::PI).sqrt());
            ratio.exp() * density * width
        })
        .sum()
}

#[test]
fn at_the_radius_the_mixed_likelihood_ratio_is_one_over_alpha() {
    for (variance, effect_sd) in [(1e-6, 0.01), (4e-5, 0.01), (1e-4, 0.001)] {
        let at_radius = mixture(radius(variance, effect_sd), variance, effect_sd);
        assert!((at_radius * ALPHA - 1.0).abs() < 1e-6, "{at_radius}");
    }
    assert_eq!(radius(0.0, 0.01), f64::INFINITY);
    assert_eq!(radius(f64::NAN, 0.01), f64::INFINITY);
}

#[test]
fn the_interval_is_wider_than_that_of_one_look_and_shrinks_with_data() {
    let narrow = |n: f64| {
        let sides = sides((n, 0.22), (n, 0.22));
        let uplift = sides.uplift().unwrap();
        let once = 1.96 * (2.0 * 0.22 * 0.78 / n).sqrt();
        assert!(uplift.absolute_interval.high > 1.2 * once);
        uplift.absolute_interval.high
    };
    let widths = [1e3, 1e4, 1e5].map(narrow);
    assert!(widths.is_sorted_by(|one, other| one > other), "{widths:?}");
}

#[test]
fn absolute_and_relative_interval_agree_on_whether_there_is_an_uplift() {
    for policy in [0.18, 0.205, 0.22, 0.2287, 0.24, 0.30] {
        let sides = sides((95_000.0, policy), (5_000.0, 0.22));
        let uplift = sides.uplift().unwrap();
        let Interval { low, high } = uplift.absolute_interval;
        let relative_high = uplift.relative_high.unwrap();
        assert!(low < uplift.absolute && uplift.absolute < high);
        let relative = uplift.relative.unwrap();
        assert!(uplift.relative_low < relative && relative < relative_high);
        assert_eq!(uplift.is_significant, !(low..=high).contains(&0.0));
        assert_eq!(
            uplift.is_significant,
            !(uplift.relative_low..=relative_high).contains(&0.0),
            "{uplift:?}"
        );
        assert_eq!(relative > 0.0, policy > 0.22);
    }
}

#[test]
fn the_relative_interval_holds_the_uncertainty_of_the_holdout() {
    let uplift = sides((1e7, 0.24), (2_000.0, 0.20)).uplift().unwrap();
    let naive_high = uplift.absolute_interval.high / 0.20;
    assert!(uplift.relative_high.unwrap() > naive_high, "{uplift:?}");
}

#[test]
fn a_holdout_without_success_bounds_the_uplift_from_below_only() {
    let uplift = sides((10_000.0, 0.02), (400.0, 0.0)).uplift().unwrap();
    assert_eq!((uplift.relative, uplift.relative_high), (None, None));
    assert!(uplift.relative_low >= -1.0);
}

#[test]
fn nothing_is_claimed_before_there_is_something() {
    for thin in [
        sides((0.0, 0.0), (0.0, 0.0)),
        sides((1e6, 0.2), (TRIALS_MIN - 1.0, 0.0)),
        sides((1e6, 0.0), (1e6, 0.0)),
        sides((10.0, 1.0), (10.0, 1.0)),
    ] {
        assert_eq!(thin.uplift(), None);
        assert_eq!(thin.detectable(), None);
        assert!(!thin.is_significant());
    }
}

#[test]
fn waiting_answers_make_the_rate_less_certain_than_its_effective_trials_say() {
    let curve = DelayCurve::default_open();
    let mut young = Exposure::default();
    for minute in 0..240 {
        young.add(&Exposure::trial(100.0, f64::from(minute) / 60.0));
    }
    young.successes = 0.4 * young.effective_trials(&curve);
    let side = Side::of_rate(&young, &curve);
    assert!((side.mean - 0.4).abs() < 1e-12);
    assert!(side.unit_variance > 1.2 * 0.4 * 0.6, "{side:?}");
    let old = Exposure {
        trials: 1_000.0,
        pending: [0.0; 5],
        successes: 400.0,
    };
    assert!((Side::of_rate(&old, &curve).unit_variance - 0.24).abs() < 1e-12);
}

#[test]
fn what_is_called_detectable_is_found_in_four_of_five_lists() {
    let plan = Plan {
        mails: 200_000.0,
        holdout_share: 0.05,
    };
    let base = 0.22;
    let detectable = plan.detectable(Side::expected(1.0, base)).unwrap();
    assert!(
        (0.07..0.08).contains(&detectable.relative),
        "{detectable:?}"
    );
    let draw = |mails: f64, rate: f64, random: &mut ChaCha8Rng| {
        let successes = Binomial::new(mails as u64, rate).unwrap().sample(random);
        Side::expected(mails, successes as f64 / mails)
    };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let found = (0..4_000)
        .filter(|_| {
            let sides = Sides {
                policy: draw(190_000.0, base + detectable.absolute, &mut random),
                holdout: draw(10_000.0, base, &mut random),
                effect_sd_relative: plan.effect_sd_relative(Side::expected(1.0, base)),
            };
            sides.is_significant()
        })
        .count() as f64
        / 4_000.0;
    assert!((found - POWER).abs() < 0.03, "{found}");
}

#[test]
fn a_thicker_holdout_or_a_longer_list_finds_less() {
    let relative = |mails, holdout_share| {
        let plan = Plan {
            mails,
            holdout_share,
        };
        plan.detectable(Side::expected(1.0, 0.02)).unwrap().relative
    };
    assert!(relative(1e5, 0.10) < relative(1e5, 0.05));
    assert!(relative(1e6, 0.05) < relative(1e5, 0.05));
}

#[test]
fn a_short_list_looks_for_larger_effects_and_finds_smaller_ones_by_it() {
    let plan = Plan {
        mails: 200_000.0,
        holdout_share: 0.05,
    };
    let clicks = Side::expected(1.0, 0.02);
    let wide = plan.effect_sd_relative(clicks);
    assert!((0.19..0.22).contains(&wide), "{wide}");
    let at_end = |effect_sd_relative| Sides {
        policy: Side::expected(190_000.0, 0.02),
        holdout: Side::expected(10_000.0, 0.02),
        effect_sd_relative,
    };
    let suited = at_end(wide).detectable().unwrap().relative;
    let narrow = at_end(EFFECT_SD_RELATIVE).detectable().unwrap().relative;
    assert!(suited < 0.8 * narrow, "{suited} against {narrow}");
    let long = Plan { mails: 1e9, ..plan };
    assert_eq!(long.effect_sd_relative(clicks), EFFECT_SD_RELATIVE);
    let none = Plan { mails: 0.0, ..plan };
    assert_eq!(none.effect_sd_relative(clicks), EFFECT_SD_RELATIVE);
}

#[test]
fn where_nothing_varies_nothing_is_said_of_what_could_be_found() {
    let certain = sides((1_000.0, 1.0), (1_000.0, 1.0));
    assert_eq!(certain.detectable(), None);
    assert!(!certain.is_significant());
}
