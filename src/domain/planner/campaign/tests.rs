//! Tests of one campaign: shares against a snapshot's, arrivals against the delay curve, counts against each other.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rand::SeedableRng;

use super::*;
use crate::domain::beliefs::Beliefs;
use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::experiment::Objective;
use crate::domain::name::VariantIndex;
use crate::domain::planner::tests::blast;
use crate::domain::snapshot::Snapshot;

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

#[test]
fn the_shares_are_a_snapshots() {
    for policy in [
        Policy::HorizonThompson,
        Policy::Thompson,
        Policy::TopTwo { beta: 0.5 },
    ] {
        let mut blast = blast(3, 10_000, 24.0);
        blast.policy = policy.clone();
        let rates = [0.20, 0.22, 0.25];
        let mut campaign = Campaign::new(&blast, &rates, &mut random(1));
        campaign.send(2_000, &[1.0 / 3.0; 3], &mut random(2));
        campaign.pass(3.0, &mut random(3));
        let mut experiment = crate::domain::experiment::tests::campaign(3);
        experiment.settings.policy = policy;
        experiment.settings.objective = Objective::Open;
        experiment.settings.planned_sends = 10_000;
        experiment.settings.probation.share_max = 1.0;
        let now = Timestamp::UNIX_EPOCH;
        let cells: BTreeMap<CellId, Cell> = (0..)
            .zip(&campaign.arms)
            .map(|(variant, arm)| {
                let id = CellId {
                    experiment: experiment.uid,
                    variant: VariantIndex(variant),
                    context: Context::default(),
                    lane: Lane::Policy,
                    track: crate::domain::cell::Track::CONFIGURED,
                };
                let cell = Cell {
                    open: arm.exposure.clone(),
                    ..Cell::empty(now, None)
                };
                (id, cell)
            })
            .collect();
        let snapshot = Snapshot::build(
            Arc::new(experiment),
            &cells,
            &Beliefs::alike(blast.belief),
            1,
            now,
        );
        let theirs = snapshot
            .everyone()
            .unwrap()
            .allocation
            .probabilities()
            .to_vec();
        for (own, theirs) in campaign.shares(0, false).iter().zip(theirs) {
            assert!((own - theirs).abs() < 1e-9, "{own} against {theirs}");
        }
    }
}

#[test]
fn answers_arrive_by_the_delay_curve() {
    let blast = blast(1, 1_000_000, 24.0);
    for hours in [1.0, 6.0, 24.0] {
        let mut campaign = Campaign::new(&blast, &[0.2], &mut random(1));
        campaign.send(1_000_000, &[1.0], &mut random(2));
        // Twice half the time is the time: exponentials forget.
        campaign.pass(hours / 2.0, &mut random(3));
        campaign.pass(hours / 2.0, &mut random(4));
        let arrived = campaign.arms[0].exposure.successes / 200_000.0;
        let curve = blast.belief.curve.arrived_share(hours);
        assert!((arrived - curve).abs() < 0.006, "{arrived} against {curve}");
    }
}

#[test]
fn every_mail_is_sent_once_and_every_success_counted() {
    let blast = blast(4, 10_007, 24.0);
    let rates = [0.1, 0.2, 0.3, 1.0];
    let schedule = Schedule {
        waves: [(0.0, 7), (1.0, 3_000), (5.0, 7_000)]
            .map(|(at_hours, mails)| Wave {
                at_hours,
                lasts_hours: 0.0,
                mails,
            })
            .to_vec(),
    };
    let outcome = Campaign::new(&blast, &rates, &mut random(1)).waves(&schedule, &mut random(2));
    assert_eq!(outcome.waves.len(), 3);
    assert!(outcome.expected > 0.4 * 10_007.0 && outcome.expected <= 10_007.0);
    assert!(
        (outcome.drawn / outcome.expected - 1.0).abs() < 0.05,
        "{outcome:?}"
    );
    let evenly = Campaign::new(&blast, &[0.5; 4], &mut random(1)).test(0.2, 4.0, &mut random(2));
    assert!((evenly.expected - 0.5 * 10_007.0).abs() < 1e-6);
}

#[test]
fn a_test_sends_the_rest_to_its_winner() {
    let blast = blast(2, 100_000, 48.0);
    let outcome =
        Campaign::new(&blast, &[0.1, 0.3], &mut random(1)).test(0.2, 24.0, &mut random(2));
    let exact = 10_000.0 * 0.1 + 90_000.0 * 0.3;
    assert!((outcome.expected - exact).abs() < 1.0, "{outcome:?}");
}
