//! Tests of `standing`.
use super::*;
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::tests::campaign;
use crate::domain::posterior::best_posterior;

const TRIALS: f64 = 10_000.0;

fn beliefs(curve: DelayCurve) -> Beliefs {
    let belief = |mean| Belief {
        prior: Prior { mean, weight: 50.0 },
        curve,
    };
    Beliefs {
        open: belief(0.2),
        click: belief(0.02),
        conversion: belief(0.005),
    }
}

fn exposure(successes: f64) -> Exposure {
    Exposure {
        trials: TRIALS,
        successes,
        ..Exposure::default()
    }
}

fn cell(opens: f64, clicks: f64, orders: f64) -> Cell {
    Cell {
        open: exposure(opens),
        click: exposure(clicks),
        conversion: exposure(orders),
        value_sum: 30.0 * orders,
        value_square_sum: 1_200.0 * orders,
        ..Cell::default()
    }
}

fn settings(objective: Objective) -> Settings {
    Settings {
        objective,
        ..campaign(2).settings
    }
}

fn standings(settings: &Settings, purpose: Purpose, cells: &[Cell]) -> Vec<Standing> {
    let terms = Terms {
        settings,
        beliefs: &beliefs(DelayCurve::instant()),
        purpose,
    };
    terms.standings(cells)
}

fn best(settings: &Settings, cells: &[Cell]) -> Vec<f64> {
    let standings = standings(settings, Purpose::Deciding, cells);
    let posteriors: Vec<Posterior> = standings.iter().map(|s| s.posterior).collect();
    best_posterior(&posteriors).probability
}

#[test]
fn each_objective_prefers_the_variant_that_is_best_at_it() {
    let few_large = Cell {
        value_sum: 90.0 * 50.0,
        value_square_sum: 9_000.0 * 50.0,
        ..cell(1_500.0, 250.0, 50.0)
    };
    let mut harmful = cell(3_000.0, 400.0, 70.0);
    harmful.harm.unsubscribed = 100.0;
    harmful.harm.complained = 10.0;
    let cells = [harmful, few_large];
    for (objective, winner) in [
        (Objective::Open, 0),
        (Objective::Click, 0),
        (Objective::Conversion, 0),
        (Objective::Value, 1),
        (Objective::Utility, 1),
    ] {
        let probability = best(&settings(objective), &cells);
        assert!(probability[winner] > 0.9, "{objective:?}: {probability:?}");
    }
}

#[test]
fn a_pending_order_is_no_missing_order() {
    let curve = DelayCurve::default_conversion();
    let old = Exposure::trial(TRIALS, 400.0);
    let young = Exposure::trial(TRIALS, 6.0);
    let arrived = |exposure: &Exposure| Cell {
        conversion: Exposure {
            successes: 0.01 * exposure.effective_trials(&curve),
            ..exposure.clone()
        },
        value_sum: 0.3 * exposure.effective_trials(&curve),
        value_square_sum: 12.0 * exposure.effective_trials(&curve),
        ..Cell::default()
    };
    let settings = settings(Objective::Value);
    let terms = Terms {
        settings: &settings,
        beliefs: &beliefs(curve),
        purpose: Purpose::Deciding,
    };
    let standings = terms.standings(&[arrived(&old), arrived(&young)]);
    let [one, other] = [0, 1].map(|at| standings[at].posterior);
    assert!((one.mean() - 0.3).abs() < 0.01 && (other.mean() - 0.3).abs() < 0.01);
    assert!(other.variance() > 2.0 * one.variance());
}

#[test]
fn a_report_of_a_rate_is_shrunk_further_than_a_decision() {
    let cells = [cell(0.0, 260.0, 0.0), cell(0.0, 150.0, 0.0)];
    let lead = |purpose| {
        let standings = standings(&settings(Objective::Click), purpose, &cells);
        standings[0].posterior.mean() - standings[1].posterior.mean()
    };
    assert!(lead(Purpose::Reporting) < lead(Purpose::Campaign));
    assert!(lead(Purpose::Campaign) < lead(Purpose::Deciding));
}

#[test]
fn a_utility_of_clicks_alone_is_the_click_rate() {
    let mut only_clicks = settings(Objective::Utility);
    only_clicks.utility.unsubscribe_cost = 0.0;
    only_clicks.utility.complaint_cost = 0.0;
    let cells = [cell(2_000.0, 200.0, 0.0), cell(2_000.0, 260.0, 0.0)];
    let utility = best(&only_clicks, &cells);
    let click = best(&settings(Objective::Click), &cells);
    assert!(
        (utility[0] - click[0]).abs() < 1e-9,
        "{utility:?} {click:?}"
    );
}

#[test]
fn what_was_observed_is_the_plain_mean_and_the_variance_of_one_mail() {
    let mut cell = cell(2_000.0, 200.0, 100.0);
    cell.harm.unsubscribed = 10.0;
    let observed = |objective| {
        let settings = settings(objective);
        let terms = Terms {
            settings: &settings,
            beliefs: &beliefs(DelayCurve::instant()),
            purpose: Purpose::Reporting,
        };
        terms.observed(&cell)
    };
    let click = observed(Objective::Click);
    assert!((click.mean - 0.02).abs() < 1e-12 && (click.variance - 0.0196).abs() < 1e-12);
    let value = observed(Objective::Value);
    assert!((value.mean - 0.3).abs() < 1e-12);
    assert!((value.variance - (12.0 - 0.09)).abs() < 1e-9);
    let utility = observed(Objective::Utility);
    assert!((utility.mean - (0.02 - 10.0 * 0.001)).abs() < 1e-12);
    assert!((utility.variance - (0.0196 + 100.0 * 0.001 * 0.999)).abs() < 1e-9);
    assert_eq!(utility.trials, TRIALS);
}

#[test]
fn opens_inform_clicks_only_where_they_are_reported_and_wanted() {
    let leads = [cell(3_000.0, 20.0, 0.0), cell(1_500.0, 20.0, 0.0)];
    let means = |settings: &Settings, cells: &[Cell]| {
        let standings = standings(settings, Purpose::Deciding, cells);
        [0, 1].map(|at| standings[at].posterior.mean())
    };
    let mut wanted = settings(Objective::Click);
    wanted.open_proxy = true;
    let [one, other] = means(&wanted, &leads);
    assert!(one > other * 1.01, "{one} {other}");
    let mut unwanted = wanted.clone();
    unwanted.open_proxy = false;
    let [one, other] = means(&unwanted, &leads);
    assert!((one - other).abs() < 1e-12);
    let [one, other] = means(&wanted, &[cell(30.0, 20.0, 0.0), cell(15.0, 20.0, 0.0)]);
    assert!((one - other).abs() < 1e-12, "too few opens to be reported");
}

#[test]
fn own_clicks_outweigh_many_opens() {
    let mut wanted = settings(Objective::Click);
    wanted.open_proxy = true;
    let bait = cell(3_500.0, 120.0, 0.0);
    let honest = cell(2_000.0, 220.0, 0.0);
    assert!(best(&wanted, &[bait, honest])[1] > 0.99);
}
