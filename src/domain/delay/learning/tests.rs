//! Tests of `learning`: recovery of known delays at all ages, and the two ways in which few early answers could mislead.
use super::*;
use crate::domain::arrivals::bin_of;
use crate::domain::exposure::Exposure;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

const WINDOW_HOURS: f64 = 72.0;

fn prior(high_rate: f64) -> DelayPrior {
    DelayPrior {
        published: DelayCurve::default_open(),
        high_rate,
    }
}

/// Mails of these ages, answered at a rate after a random delay.
fn campaign(
    ages_hours: &[f64],
    rate: f64,
    random: &mut ChaCha8Rng,
    delay: &dyn Fn(&mut ChaCha8Rng) -> f64,
) -> DelayEvidence {
    let mut exposure = Exposure::default();
    let mut evidence = DelayEvidence {
        window_hours: WINDOW_HOURS,
        importance: 1.0,
        ..DelayEvidence::default()
    };
    for age_hours in ages_hours {
        exposure.add(&Exposure::trial(1.0, *age_hours));
        if random.random::<f64>() < rate {
            let hours = delay(random);
            if hours <= age_hours.min(WINDOW_HOURS) {
                evidence.arrived[bin_of(hours)] += 1.0;
                evidence.successes += 1.0;
            }
        }
    }
    evidence.trials = exposure.trials;
    evidence.pending = exposure.pending;
    evidence
}

fn ages(mails: u32, from_hours: f64, to_hours: f64) -> Vec<f64> {
    let step = (to_hours - from_hours) / f64::from(mails);
    (0..mails)
        .map(|mail| from_hours + step * (f64::from(mail) + 0.5))
        .collect()
}

/// Lognormal delays, those beyond the window drawn again.
fn lognormal(median_hours: f64, sigma: f64) -> impl Fn(&mut ChaCha8Rng) -> f64 {
    let delay = LogNormal::new(median_hours.ln(), sigma).unwrap();
    move |random| {
        loop {
            let hours = delay.sample(random);
            if hours <= WINDOW_HOURS {
                return hours;
            }
        }
    }
}

/// Largest difference of the learned share to that of many drawn delays, over ages from a minute on.
fn worst(curve: &DelayCurve, delay: &dyn Fn(&mut ChaCha8Rng) -> f64) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(99);
    let mut drawn: Vec<f64> = (0..40_000).map(|_| delay(&mut random)).collect();
    drawn.sort_by(f64::total_cmp);
    let share = |age: f64| drawn.partition_point(|hours| *hours <= age) as f64 / 40_000.0;
    let curve = curve.within(WINDOW_HOURS);
    (0..60)
        .map(|step| 0.0167 * 1.2f64.powi(step))
        .map(|age| (curve.arrived_share(age) - share(age)).abs())
        .fold(0.0, f64::max)
}

#[test]
fn without_delays_the_published_curve_holds() {
    let learned = learn(&prior(0.5), &[]);
    assert_eq!(learned.delays, 0.0);
    for age_hours in [0.1, 1.0, 10.0, 100.0] {
        let published = prior(0.5).published.arrived_share(age_hours);
        assert!((learned.curve.arrived_share(age_hours) - published).abs() < 1e-6);
    }
}

#[test]
fn other_delays_than_the_published_are_recovered_from_old_mails() {
    for (median_hours, sigma) in [(0.33, 1.5), (5.0, 2.3), (24.0, 1.5)] {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let delay = lognormal(median_hours, sigma);
        let seen = campaign(&ages(40_000, 100.0, 400.0), 0.2, &mut random, &delay);
        let learned = learn(&prior(0.5), &[seen]);
        let error = worst(&learned.curve, &delay);
        assert!(error < 0.05, "median {median_hours} h: {error}");
        assert!(learned.delays > 7_000.0);
    }
}

#[test]
fn young_mails_do_not_make_delays_look_short() {
    // Mails at most 8 h old show no delay above 8 h; a plain fit would take nearly all to be in by then.
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let delay = lognormal(5.0, 2.3);
    let seen = campaign(&ages(40_000, 0.0, 8.0), 0.2, &mut random, &delay);
    let learned = learn(&prior(0.5), std::slice::from_ref(&seen));
    let error = worst(&learned.curve, &delay);
    assert!(error < 0.06, "{error}");
    let untruncated = DelayEvidence {
        pending: [0.0; TERMS],
        ..seen
    };
    let misled = learn(&prior(0.5), &[untruncated]).curve;
    assert!(worst(&misled, &delay) > 0.2);
}

#[test]
fn a_handful_of_answers_within_seconds_switches_the_curve() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let at_once = |random: &mut ChaCha8Rng| random.random::<f64>() * 3.0 / 3_600.0;
    for (mails, rate, least) in [(1_000, 0.04, 0.85), (100, 0.05, 0.3)] {
        let ages = vec![5.0 / 3_600.0; mails];
        let seen = campaign(&ages, rate, &mut random, &at_once);
        let learned = learn(&prior(0.1), &[seen]);
        let share = learned.curve.arrived_share(5.0 / 3_600.0);
        assert!(share > least, "{mails} mails: {share}");
    }
}

#[test]
fn the_first_answers_of_an_ordinary_blast_do_not_switch_it() {
    let mut random = ChaCha8Rng::seed_from_u64(10);
    let delay = lognormal(5.0, 2.3);
    for minutes in [0.5, 2.0, 5.0, 15.0, 60.0] {
        for (rate, high_rate) in [(0.2, 0.5), (0.02, 0.1)] {
            let seen = campaign(
                &ages(20_000, 0.0, minutes / 60.0),
                rate,
                &mut random,
                &delay,
            );
            let found = seen.successes;
            let learned = learn(&prior(high_rate), &[seen]);
            let (got, published) = (
                learned.curve.arrived_share(1.0),
                prior(0.5).published.arrived_share(1.0),
            );
            assert!(
                (got / published - 1.0).abs() < 0.25,
                "{minutes} min, {found} answers: {got} against {published}"
            );
        }
    }
}

#[test]
fn silence_alone_changes_little() {
    let exposure = (0..1_000).fold(Exposure::default(), |mut sum, _| {
        sum.add(&Exposure::trial(1.0, 200.0));
        sum
    });
    let silent = DelayEvidence {
        trials: 1_000.0,
        pending: exposure.pending,
        window_hours: WINDOW_HOURS,
        importance: 1.0,
        ..DelayEvidence::default()
    };
    let learned = learn(&prior(0.1), &[silent]);
    let published = prior(0.1).published;
    assert!((learned.curve.arrived_share(6.0) - published.arrived_share(6.0)).abs() < 0.05);
}

#[test]
fn successes_from_before_delays_were_kept_do_not_count_as_silence() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let delay = lognormal(5.0, 2.3);
    let seen = campaign(&ages(20_000, 100.0, 200.0), 0.2, &mut random, &delay);
    let old = DelayEvidence {
        successes: 2.0 * seen.successes,
        trials: 2.0 * seen.trials,
        pending: seen.pending.map(|pending| 2.0 * pending),
        ..seen.clone()
    };
    let (one, other) = (learn(&prior(0.5), &[seen]), learn(&prior(0.5), &[old]));
    for age_hours in [0.5, 5.0, 50.0] {
        let (one, other) = (
            one.curve.arrived_share(age_hours),
            other.curve.arrived_share(age_hours),
        );
        assert!((one - other).abs() < 1e-9);
    }
}

#[test]
fn any_numbers_give_a_curve() {
    for odd in [0.0, -1.0, 1e-300, 1e12, f64::INFINITY, f64::NAN] {
        for trials in [0.0, -3.0, 5.0, f64::NAN, f64::INFINITY] {
            let evidence = DelayEvidence {
                arrived: [odd; DELAY_BINS],
                trials,
                pending: [odd; TERMS],
                successes: odd,
                window_hours: odd,
                importance: odd,
            };
            let learned = learn(&prior(0.5), &[evidence]);
            let share = learned.curve.arrived_share(3.0);
            assert!((0.0..=1.0).contains(&share), "{odd} of {trials}: {share}");
        }
    }
}

#[test]
fn the_integral_over_rates_is_what_a_sum_gives() {
    for (n, x) in [
        (0.0, 3.0),
        (5.0, 0.5),
        (5.0, 40.0),
        (40.0, 17.0),
        (40.0, 300.0),
    ] {
        let sum: f64 = (0..100_000)
            .map(|step| (f64::from(step) + 0.5) / 100_000.0)
            .map(|rate: f64| rate.powf(n) * (-rate * x).exp() / 100_000.0)
            .sum();
        let got = log_rate_integral(n, x);
        assert!(
            (got - sum.ln()).abs() < 0.7,
            "{n} {x}: {got} against {}",
            sum.ln()
        );
        if x < n {
            assert!((got - sum.ln()).abs() < 1e-4);
        }
    }
}

#[test]
fn arms_with_instant_answers_get_posteriors_near_the_truth() {
    use crate::domain::posterior::{Prior, posterior};
    use crate::domain::quadrature::best_arm;
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let at_once = |random: &mut ChaCha8Rng| random.random::<f64>() * 3.0 / 3_600.0;
    let ages = vec![5.0 / 3_600.0; 500];
    let rates = [0.05, 0.03];
    let arms = rates.map(|rate| campaign(&ages, rate, &mut random, &at_once));
    let mut both = arms[0].clone();
    both.trials += arms[1].trials;
    both.successes += arms[1].successes;
    for (sum, more) in both.arrived.iter_mut().zip(arms[1].arrived) {
        *sum += more;
    }
    for (sum, more) in both.pending.iter_mut().zip(arms[1].pending) {
        *sum += more;
    }
    let curve = learn(&prior(0.1), &[both]).curve.within(WINDOW_HOURS);
    let weak = Prior {
        mean: 0.02,
        weight: 12.5,
    };
    let posteriors = arms.clone().map(|arm| {
        let exposure = Exposure {
            trials: arm.trials,
            pending: arm.pending,
            successes: arm.successes,
        };
        posterior(weak, &exposure, &curve)
    });
    for (shape, arm) in posteriors.iter().zip(&arms) {
        let seen = arm.successes / arm.trials;
        assert!(
            (shape.mean() - seen).abs() < 0.15 * seen,
            "{} against {seen}",
            shape.mean()
        );
    }
    let published = prior(0.1).published;
    let exposure = Exposure {
        trials: arms[0].trials,
        pending: arms[0].pending,
        successes: arms[0].successes,
    };
    // By the published curve hardly any mail has been tried by then, so nothing would be learned.
    let weight = |shape: crate::domain::shape::BetaShape| shape.alpha() + shape.beta();
    assert!(weight(posterior(weak, &exposure, &published)) < 16.0);
    assert!(weight(posteriors[0]) > 200.0);
    let first_leads = best_arm(&posteriors).probability[0] > 0.5;
    assert_eq!(first_leads, arms[0].successes > arms[1].successes);
}
