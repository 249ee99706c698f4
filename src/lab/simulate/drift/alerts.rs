//! The alert about a changed rate, through the use cases.
//!
//! Invariant: one change of one variant in an otherwise still flow; answers come at once.
use jiff::Timestamp;

use crate::app::{AlertsRequest, Results};
use crate::domain::alert::{Alert, AlertKind, Severity};
use crate::domain::event::EventKind;
use crate::domain::experiment::{ExperimentKind, Objective, Settings};
use crate::domain::name::TenantId;
use crate::domain::policy::Policy;
use crate::lab::campaign::{
    answered, campaign_settings, decide, report, request_now, start_campaign,
};
use crate::lab::rig::{Rig, after_hours, start};

const DAYS: u64 = 40;
const CHANGED_ON: u64 = 28;
const MAILS_PER_DAY: u64 = 120;

fn alerts(rig: &Rig) -> Vec<Alert> {
    let request = AlertsRequest {
        tenant: TenantId::DEFAULT,
        before: None,
        experiment: None,
        severity_min: Severity::Warning,
        since: None,
        size: 100,
    };
    let (found, _) = rig.app.alerts(&request);
    found.iter().map(|of| of.alert.clone()).collect()
}

/// Of every ten mails of the second arm, opened until the change and after it.
fn played(before: u64, after: u64) -> (Rig, Results) {
    let rig = Rig::new(1).unwrap();
    let settings = Settings {
        kind: ExperimentKind::Flow,
        policy: Policy::Uniform,
        ..campaign_settings(Objective::Open, 0)
    };
    let flow = start_campaign(&rig, 2, settings).unwrap();
    let mut mails = [0_u64; 2];
    for day in 0..DAYS {
        rig.set(after_hours(start(), 24.0 * day as f64));
        rig.maintain().unwrap();
        rig.app.refresh();
        let mut opens = Vec::new();
        for mail in 0..MAILS_PER_DAY {
            let mut request = request_now(&flow, mail, rig.app.now());
            request.occasion = day.to_string();
            let (arm, token) = decide(&rig, &request).unwrap();
            mails[arm] += 1;
            let tenths = match (arm, day < CHANGED_ON) {
                (0, _) => 3,
                (_, true) => before,
                (_, false) => after,
            };
            if mails[arm] % 10 < tenths {
                opens.push(answered(token, EventKind::Opened, rig.app.now()));
            }
        }
        report(&rig, opens).unwrap();
    }
    let results = rig.app.results(TenantId::DEFAULT, &flow).unwrap();
    (rig, results)
}

#[test]
fn a_changed_rate_is_alerted_once_with_who_from_what_to_what_and_when() {
    let (rig, results) = played(3, 1);
    let [alert] = &alerts(&rig)[..] else {
        panic!("{:?}", alerts(&rig));
    };
    assert_eq!(alert.kind, AlertKind::RateChanged);
    let experiment = &results.experiment;
    assert_eq!(alert.experiment.as_ref(), Some(&experiment.id));
    assert_eq!(alert.variant.as_ref(), Some(&experiment.variants[1].id));
    let number = |name: &str| alert.numbers.iter().find(|(of, _)| of == name).unwrap().1;
    assert!((number("rate_before") - 0.3).abs() < 0.05, "{alert:?}");
    assert!((number("rate_after") - 0.1).abs() < 0.05, "{alert:?}");
    let changed_at = Timestamp::from_second(number("change_unix_seconds") as i64).unwrap();
    let days = (changed_at.as_second() - start().as_second()) / 86_400;
    assert!(
        days.abs_diff(CHANGED_ON as i64) <= 2,
        "{days}: {}",
        alert.text
    );
    let [change] = results.changes[..] else {
        panic!("{:?}", results.changes);
    };
    assert_eq!(change.rate_after, number("rate_after"));
    assert_eq!(change.changed_at_ms / 1_000, changed_at.as_second());
}

#[test]
fn rates_that_stay_raise_no_alert() {
    let (rig, results) = played(3, 3);
    assert_eq!((alerts(&rig).len(), results.changes.len()), (0, 0));
}
