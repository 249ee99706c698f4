//! Tests of `guardrail`, and of watching over experiments through the use cases.
use std::sync::Arc;

use super::*;
use crate::app::{AlertsRequest, EventReport, Numbered, SettingsChange};
use crate::domain::alert::{AlertKind, Severity};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, Settings, VariantState};
use crate::domain::name::{Slug, TenantId};
use crate::lab::campaign::{
    answered, campaign_settings, decide, report, request_now, start_campaign,
};
use crate::lab::rig::{Rig, ready};

const T: TenantId = TenantId::DEFAULT;

/// A rig with a running campaign, and the next recipient's number.
struct World {
    rig: Rig,
    id: Slug,
    next: u64,
}

impl World {
    fn new(arms: usize, change: impl Fn(&mut Settings)) -> Self {
        let rig = Rig::new(11).unwrap();
        let mut settings = campaign_settings(Objective::Click, 0);
        change(&mut settings);
        let id = start_campaign(&rig, arms, settings).unwrap();
        rig.advance_hours(1.0);
        Self { rig, id, next: 0 }
    }

    /// Decides so many mails; answers their decision ids by variant.
    fn send(&mut self, mails: usize, arms: usize) -> Vec<Vec<String>> {
        let mut by_arm = vec![Vec::new(); arms];
        for _ in 0..mails {
            self.next += 1;
            let request = request_now(&self.id, self.next, self.rig.app.now());
            let (arm, token) = decide(&self.rig, &request).unwrap();
            by_arm[arm].push(token);
        }
        by_arm
    }

    fn complain(&self, tokens: &[String]) {
        let now = self.rig.app.now();
        let events: Vec<EventReport> = tokens
            .iter()
            .map(|token| answered(token.clone(), EventKind::Complained, now))
            .collect();
        report(&self.rig, events).unwrap();
    }

    fn experiment(&self) -> Arc<Experiment> {
        self.rig.app.experiment(T, &self.id).unwrap()
    }

    fn state(&self, arm: usize) -> VariantState {
        self.experiment().variants[arm].state
    }

    fn alerts(&self) -> Vec<AlertKind> {
        let alerts = alerts_of(&self.rig);
        alerts.iter().map(|numbered| numbered.alert.kind).collect()
    }

    fn oversee(&self) {
        self.rig.advance_hours(0.01);
        self.rig.app.refresh();
        ready(self.rig.app.oversee()).unwrap().unwrap();
    }

    fn resume(&self, variant: &str) {
        ready(self.rig.app.resume_variant(T, &self.id, variant))
            .unwrap()
            .unwrap();
    }
}

/// Newest first.
fn alerts_of(rig: &Rig) -> Vec<Arc<Numbered>> {
    let request = AlertsRequest {
        tenant: T,
        before: None,
        experiment: None,
        severity_min: Severity::Notice,
        since: None,
        size: 1_000,
    };
    rig.app.alerts(&request).0
}

#[test]
fn three_early_complaints_quarantine_at_once_with_one_alert_that_names_the_numbers() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(200, 2);
    world.complain(&sent[1][..1]);
    assert_eq!(world.state(1), VariantState::Live);
    assert_eq!(world.alerts(), [AlertKind::GuardrailWarning]);
    world.complain(&sent[1][1..5]);
    assert_eq!(world.state(1), VariantState::Quarantined);
    assert_eq!(
        world.alerts(),
        [AlertKind::VariantQuarantined, AlertKind::GuardrailWarning]
    );
    let reason = &world.experiment().variants[1].quarantine_reason;
    assert!(reason.contains("3 complaints in"), "{reason}");
    assert!(reason.contains("limit of 0.1 %"), "{reason}");
    let newest = alerts_of(&world.rig)[0].clone();
    assert!(newest.alert.text.contains("arm-1"), "{newest:?}");
    assert!(newest.alert.numbers.contains(&("events".to_owned(), 3.0)));
    for arm in world.send(100, 2).into_iter().skip(1) {
        assert!(arm.is_empty(), "nobody gets a quarantined variant");
    }
}

#[test]
fn what_was_seen_before_a_person_resumed_does_not_quarantine_again() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(400, 2);
    world.complain(&sent[0][..3]);
    assert_eq!(world.state(0), VariantState::Quarantined);
    world.resume("arm-0");
    assert_eq!(world.state(0), VariantState::Live);
    world.oversee();
    assert_eq!(world.state(0), VariantState::Live);
    world.complain(&sent[0][3..5]);
    assert_eq!(
        world.state(0),
        VariantState::Live,
        "two new ones are not enough"
    );
    world.complain(&sent[0][5..6]);
    assert_eq!(world.state(0), VariantState::Quarantined);
}

#[test]
fn without_a_variant_left_decisions_are_refused_and_an_alert_says_so() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(200, 2);
    world.complain(&sent[0][..3]);
    assert!(!world.alerts().contains(&AlertKind::NoVariantLeft));
    world.complain(&sent[1][..3]);
    assert_eq!(world.alerts()[0], AlertKind::NoVariantLeft);
    let request = request_now(&world.id, 9_999, world.rig.app.now());
    let refused = ready(world.rig.app.decide(&request)).unwrap().unwrap_err();
    assert_eq!(refused.reason, "NO_ELIGIBLE_VARIANT");
    assert!(refused.message.contains("add or resume one"));
}

#[test]
fn mails_of_the_holdout_count_as_well() {
    let mut world = World::new(2, |settings| settings.holdout_share = 0.5);
    let mut held = vec![Vec::new(); 2];
    for recipient in 0..200 {
        let request = request_now(&world.id, recipient, world.rig.app.now());
        let decided = ready(world.rig.app.decide(&request)).unwrap().unwrap();
        let answer = decided.answer.unwrap();
        if answer.holdout {
            held[usize::from(answer.variant.0)].push(decided.decision_id);
        }
    }
    world.next = 200;
    world.complain(&held[1][..3]);
    assert_eq!(world.state(1), VariantState::Quarantined);
}

#[test]
fn a_pause_by_a_person_is_respected() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(200, 2);
    let app = &world.rig.app;
    let paused = app.move_variant(T, &world.id, "arm-1", VariantState::Paused, "");
    ready(paused).unwrap().unwrap();
    world.complain(&sent[1][..5]);
    assert_eq!(world.state(1), VariantState::Paused);
    world.resume("arm-1");
    world.oversee();
    assert_eq!(world.state(1), VariantState::Quarantined);
}

#[test]
fn a_limit_of_one_switches_the_guardrail_off() {
    let mut world = World::new(2, |settings| settings.guardrails.complaint_rate_max = 1.0);
    let sent = world.send(200, 2);
    world.complain(&sent[1][..20]);
    assert_eq!(world.state(1), VariantState::Live);
    let fields = ["guardrails".to_owned()];
    let change = SettingsChange {
        revision: None,
        fields: &fields,
        apply: &|experiment| {
            experiment.settings.guardrails.complaint_rate_max = 0.001;
            Ok(())
        },
    };
    ready(world.rig.app.update_experiment(T, &world.id, change))
        .unwrap()
        .unwrap();
    world.oversee();
    assert_eq!(
        world.state(1),
        VariantState::Quarantined,
        "a lower limit holds for what was seen"
    );
}

#[test]
fn a_newcomer_gets_a_capped_share_and_is_live_once_it_has_matured() {
    let mut world = World::new(2, |settings| {
        settings.holdout_share = 0.2;
        settings.policy = crate::domain::policy::Policy::Uniform;
    });
    world.send(500, 2);
    let newcomer = (Slug::parse("late").unwrap(), String::new());
    ready(world.rig.app.add_variant(T, &world.id, newcomer))
        .unwrap()
        .unwrap();
    assert_eq!(world.state(2), VariantState::Probation);
    let mut got = 0;
    for recipient in 10_000..13_000 {
        let mut request = request_now(&world.id, recipient, world.rig.app.now());
        request.full = true;
        let decided = ready(world.rig.app.decide(&request)).unwrap().unwrap();
        let answer = decided.answer.unwrap();
        let table = answer.table.unwrap();
        let shares = table.allocation.probabilities();
        assert!((shares[2] - 0.1).abs() < 1e-12 && (shares[0] - 0.45).abs() < 1e-12);
        let exact = if answer.holdout {
            0.5
        } else {
            shares[usize::from(answer.variant.0)]
        };
        assert_eq!(answer.propensity, exact);
        got += usize::from(answer.variant.0 == 2);
    }
    // Of 3,000 a fifth is held out and gets none: 240 are expected, with a standard deviation of 15.
    assert!((180..300).contains(&got), "{got}");
    world.oversee();
    assert_eq!(
        world.state(2),
        VariantState::Probation,
        "nothing has matured"
    );
    world.rig.advance_hours(48.0);
    world.oversee();
    assert_eq!(world.state(2), VariantState::Live);
    assert_eq!(world.alerts()[0], AlertKind::ProbationPassed);
    let table = world.rig.app.results(T, &world.id).unwrap();
    assert!((table.variants[2].share - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn a_complaint_keeps_a_newcomer_on_probation() {
    let mut world = World::new(2, |_| {});
    let newcomer = (Slug::parse("late").unwrap(), String::new());
    ready(world.rig.app.add_variant(T, &world.id, newcomer))
        .unwrap()
        .unwrap();
    let sent = world.send(1_500, 3);
    world.complain(&sent[2][..1]);
    world.rig.advance_hours(72.0);
    world.oversee();
    assert!(sent[2].len() > 110, "{}", sent[2].len());
    assert_eq!(world.state(2), VariantState::Probation);
}

#[test]
fn the_stopping_rule_is_announced_once() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(4_000, 2);
    let now = world.rig.app.now();
    let clicks = sent[1].iter().step_by(4);
    let events = clicks.map(|token| answered(token.clone(), EventKind::Clicked, now));
    report(&world.rig, events.collect()).unwrap();
    world.rig.advance_hours(100.0);
    for _ in 0..3 {
        world.oversee();
    }
    assert_eq!(world.alerts(), [AlertKind::SafeToConclude]);
    let text = &alerts_of(&world.rig)[0].alert.text;
    assert!(text.contains("choosing arm-1"), "{text}");
}

#[test]
fn mails_that_do_not_leave_raise_the_sample_ratio_alarm_once() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(2_000, 2);
    let now = world.rig.app.now();
    let left = sent[0].iter().chain(sent[1].iter().step_by(2));
    let events = left.map(|token| answered(token.clone(), EventKind::Sent, now));
    report(&world.rig, events.collect()).unwrap();
    for _ in 0..3 {
        world.oversee();
    }
    assert_eq!(world.alerts(), [AlertKind::SampleRatio]);
    assert!(world.rig.app.results(T, &world.id).unwrap().ratio.alarm);
}

#[test]
fn what_is_remembered_goes_with_its_experiment_and_the_alerts_stay() {
    let mut world = World::new(2, |_| {});
    let sent = world.send(100, 2);
    world.complain(&sent[1][..1]);
    let app = &world.rig.app;
    let stored = || ready(app.survey()).unwrap().unwrap().records;
    assert_eq!(stored().get("oversight"), Some(&1));
    ready(app.delete_experiment(T, &world.id, None, true))
        .unwrap()
        .unwrap();
    assert_eq!(stored().get("oversight"), None);
    assert_eq!(stored().get("alert"), Some(&1));
}

#[test]
fn harm_is_stopped_half_the_limit_is_not_and_the_use_cases_stop_at_the_same_mail() {
    let options = Options {
        rates: vec![0.0005, 0.004],
        mails: 8_000,
        mails_per_hour: 100.0,
        seeds: 60,
        checked_seeds: 1,
        ..Options::default()
    };
    let report = run(&options, &()).unwrap();
    let [innocent, _, harmful, raw] = report.rows.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!((innocent.agreed, harmful.agreed), (Some(1), Some(1)));
    assert!(innocent.stopped.mean < 0.06, "{innocent:?}");
    assert!(harmful.stopped.mean > 0.95, "{harmful:?}");
    assert!(harmful.avoided.mean > 0.3, "{harmful:?}");
    // The mails' age is what makes it sooner, seed by seed: with the sign of the correction flipped it would be later.
    let fewer = harmful.fewer_mails.unwrap();
    assert!(fewer.low.unwrap() > 0.0, "{harmful:?} {raw:?}");
    assert!(harmful.avoided.mean > raw.avoided.mean);
}
