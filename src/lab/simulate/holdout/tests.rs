//! Tests of the scenario, and of the use cases' holdout: the uplift is the domain's, and nothing is learned from it.
use jiff::Timestamp;

use super::*;
use crate::app::{DecideRequest, PredictRequest};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Objective, Settings};
use crate::domain::name::{Slug, TenantId};
use crate::domain::send_time::Goal;
use crate::lab::campaign::{answered, campaign_settings, report, request_now, start_campaign};
use crate::lab::rig::{Rig, after_hours, ready, start};

#[test]
fn repeated_tests_cry_wolf_and_the_sequence_does_not() {
    let options = Options {
        sends: 20_000,
        looks: 200,
        rates: vec![0.2],
        shares: vec![0.5],
        seeds: 200,
        ..Options::default()
    };
    let report = run(&options, &()).unwrap();
    assert_eq!(report.rows.len(), 6);
    for row in report.rows.iter().filter(|row| row.world.uplift == 0.0) {
        assert!(row.claimed_percent.mean <= 5.0, "{row:?}");
        assert!(row.repeated_test_percent.mean > 20.0, "{row:?}");
        assert_eq!(row.claimed_percent.mean, row.missed_percent.mean);
    }
    let detectable = report.rows.iter().filter(|row| row.world.uplift > 0.06);
    for row in detectable {
        assert!(row.claimed_percent.mean > 70.0, "{row:?}");
    }
}

#[test]
fn a_list_that_cannot_be_is_refused() {
    let refused = |options: Options| run(&options, &()).is_err();
    let good = Options::default();
    assert!(refused(Options {
        looks: 0,
        ..good.clone()
    }));
    assert!(refused(Options {
        rates: vec![0.0],
        ..good.clone()
    }));
    assert!(refused(Options {
        shares: Vec::new(),
        ..good.clone()
    }));
    assert!(refused(Options { days: 0.0, ..good }));
}

/// A rig whose experiment holds a third out; recipients have been decided for, and some have answered.
struct Held {
    rig: Rig,
    name: Slug,
}

const RECIPIENTS: u64 = 300;

impl Held {
    /// Everybody in the holdout answers, or nobody does; the others answer alike in both.
    fn new(holdout_answers: bool) -> Self {
        let rig = Rig::new(5).unwrap();
        let settings = Settings {
            holdout_share: 0.33,
            exploration_share: 0.0,
            ..campaign_settings(Objective::Click, 0)
        };
        let name = start_campaign(&rig, 3, settings).unwrap();
        let held = Self { rig, name };
        let mut events = Vec::new();
        for recipient in 0..RECIPIENTS {
            let decided = ready(held.rig.app.decide(&held.request(recipient))).unwrap();
            let decided = decided.unwrap();
            let sent = decided.answer.unwrap();
            let at = after_hours(sent.send_at, 3.0);
            let answers = if sent.holdout {
                holdout_answers
            } else {
                recipient % 5 == 0
            };
            if answers {
                for kind in [EventKind::Opened, EventKind::Clicked] {
                    events.push(answered(decided.decision_id.clone(), kind, at));
                }
            }
        }
        held.rig.advance_hours(60.0);
        report(&held.rig, events).unwrap();
        // Hours of mails teach once they have matured.
        held.rig.advance_hours(24.0 * 6.0);
        held.rig.app.refresh();
        held
    }

    fn request(&self, recipient: u64) -> DecideRequest {
        DecideRequest {
            send_at: None,
            ..request_now(&self.name, recipient, start())
        }
    }

    /// The shares that the policy would draw from.
    fn shares(&self) -> Vec<f64> {
        let results = self.rig.app.results(TenantId::DEFAULT, &self.name).unwrap();
        results
            .variants
            .iter()
            .map(|variant| variant.share)
            .collect()
    }

    fn predicted(&self, recipient: u64, experiment: Option<Slug>) -> (Timestamp, bool) {
        let request = PredictRequest {
            tenant: TenantId::DEFAULT,
            recipient_id: recipient.to_string(),
            experiment,
            zone: None,
            constraints: Default::default(),
            goal: Goal::OpenProbability,
            full: false,
        };
        let predicted = ready(self.rig.app.predict_send_time(&request)).unwrap();
        let predicted = predicted.unwrap();
        (predicted.answer.unwrap().0, predicted.holdout)
    }
}

#[test]
fn whatever_the_holdout_does_nobody_learns_from_it() {
    let (silent, loud) = (Held::new(false), Held::new(true));
    assert_eq!(silent.shares(), loud.shares());
    for recipient in 0..RECIPIENTS + 20 {
        assert_eq!(
            silent.predicted(recipient, None),
            loud.predicted(recipient, None),
            "recipient {recipient}"
        );
    }
    let uplift = |held: &Held| {
        let results = held.rig.app.results(TenantId::DEFAULT, &held.name).unwrap();
        results.holdout.uplift.unwrap().absolute
    };
    assert!(uplift(&silent) > 0.0 && uplift(&loud) < 0.0);
}

#[test]
fn what_the_others_do_is_learned() {
    let held = Held::new(false);
    let shares = held.shares();
    assert!(
        shares.iter().any(|share| (share - shares[0]).abs() > 1e-6),
        "{shares:?}"
    );
}

#[test]
fn both_decisions_hold_out_the_same_people_for_good() {
    let held = Held::new(false);
    let mut held_out = 0;
    for recipient in 0..RECIPIENTS {
        let request = DecideRequest {
            occasion: "another".to_owned(),
            validate_only: true,
            ..held.request(recipient)
        };
        let decided = ready(held.rig.app.decide(&request)).unwrap().unwrap();
        let sent = decided.answer.unwrap();
        let (at, holdout) = held.predicted(recipient, Some(held.name.clone()));
        assert_eq!(holdout, sent.holdout);
        if holdout {
            held_out += 1;
            assert_eq!((at, sent.send_at), (held.rig.app.now(), held.rig.app.now()));
        }
    }
    assert!((60..140).contains(&held_out), "{held_out}");
}

#[test]
fn the_use_cases_show_the_uplift_of_their_counts() {
    let held = Held::new(true);
    let results = held.rig.app.results(TenantId::DEFAULT, &held.name).unwrap();
    let shown = results.holdout;
    let policy = results.variants.iter().fold((0.0, 0.0), |(n, s), one| {
        (n + one.effective_trials, s + one.successes)
    });
    assert!((shown.policy.mean - policy.1 / policy.0).abs() < 1e-9);
    let uplift = shown.uplift.unwrap();
    assert!((uplift.absolute - (shown.policy.mean - shown.observed.mean)).abs() < 1e-9);
    assert!(uplift.is_significant && uplift.absolute_interval.high < 0.0);
    assert!(
        (shown.trials + results.variants.iter().map(|one| one.trials).sum::<f64>() - 300.0).abs()
            < 1e-6
    );
}
