//! Tests of `drift`.
use super::*;

fn small() -> Options {
    Options {
        sends_per_day: 400,
        days: 30,
        looks_per_day: 1,
        seeds: 2,
        ..Options::default()
    }
}

#[test]
fn every_world_is_played_with_every_half_life_and_the_same_seed_says_the_same() {
    let report = run(&small(), &()).unwrap();
    assert_eq!(report.worlds.len(), Regime::ALL.len());
    for world in &report.worlds {
        assert_eq!(world.rows.len(), FIXED_DAYS.len() + 1);
        assert!(
            world
                .rows
                .iter()
                .all(|row| row.lost_per_thousand.mean > 0.0)
        );
        assert!((world.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    assert_eq!(report, run(&small(), &()).unwrap());
}

#[test]
fn the_use_cases_and_the_functions_alone_lose_alike() {
    let options = Options {
        effect_sd: 0.5,
        sends_per_day: 200,
        days: 12,
        ..small()
    };
    let (mut alone, mut through) = (Vec::new(), Vec::new());
    for seed in 0..8 {
        let world = World::new(&options, Regime::Stationary, seed).unwrap();
        let flow = Flow::new(&world, Fading::Weighed, curve(&options)).unwrap();
        alone.push(flow.play().unwrap().lost);
        through.push(use_cases::lost(&world).unwrap());
    }
    let differences: Vec<f64> = through.iter().zip(&alone).map(|(t, a)| t - a).collect();
    let (difference, lost) = (
        Estimate::over_runs(&differences),
        Estimate::over_runs(&alone),
    );
    let half = difference.high.unwrap() - difference.mean;
    assert!(
        difference.mean.abs() < 2.0 * half,
        "{difference:?} of {lost:?}"
    );
}

#[test]
fn options_that_make_no_world_are_refused() {
    let bad = [
        Options { arms: 1, ..small() },
        Options { days: 0, ..small() },
        Options {
            base_rate: f64::NAN,
            ..small()
        },
    ];
    for options in bad {
        assert!(run(&options, &()).is_err(), "{options:?}");
    }
}
