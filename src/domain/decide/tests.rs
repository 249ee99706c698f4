//! Tests of `decide`.
use super::*;
use crate::domain::delay::DelayCurve;
use crate::domain::draws::Seed;
use crate::domain::experiment::tests::campaign;
use crate::domain::name::RecipientKey;
use crate::domain::posterior::Prior;
use crate::domain::recipient::tests::touch;
use crate::domain::send_window::QuietHours;
use crate::domain::snapshot::{Belief, Beliefs};
use std::collections::BTreeMap;

const NOW_MS: i64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3_600_000;

struct Bench {
    snapshot: Snapshot,
    model: SendTimeModel,
    window: SendWindow,
    zone: Zone,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn bench(holdout_share: f64) -> Bench {
    let mut experiment = campaign(3);
    experiment.settings.holdout_share = holdout_share;
    let beliefs = Beliefs::alike(Belief {
        prior: Prior {
            mean: 0.02,
            weight: 12.5,
        },
        curve: DelayCurve::default_click(),
    });
    Bench {
        snapshot: Snapshot::build(
            Arc::new(experiment),
            &BTreeMap::new(),
            &beliefs,
            1,
            at(NOW_MS),
        ),
        model: SendTimeModel::default(),
        window: SendWindow {
            earliest_at: at(NOW_MS),
            deadline_at: at(NOW_MS + 24 * HOUR_MS),
            quiet: Vec::new(),
            blocked_days: Vec::new(),
            full_hours: Vec::new(),
        },
        zone: Zone::utc(),
    }
}

fn question(bench: &Bench, recipient: u8) -> Question<'_> {
    let key = RecipientKey([recipient; 16]);
    Question {
        snapshot: &bench.snapshot,
        model: &bench.model,
        draws: Seed::from_number(1).draws(bench.snapshot.experiment.uid, key, 0, 0),
        now: at(NOW_MS),
        timing: Timing::Within(&bench.window),
        zone: &bench.zone,
        segment: None,
        eligible: None,
        frequency_cap: None,
        transactional: false,
        allowed: Allowed {
            timing: ConsentLevel::Individual,
            content: ConsentLevel::Individual,
        },
        campaign_level: Default::default(),
        want_candidates: false,
    }
}

fn sent(verdict: Verdict) -> Choice {
    match verdict {
        Verdict::Send(choice) => *choice,
        other => panic!("expected to send, got {other:?}"),
    }
}

#[test]
fn the_same_question_gets_the_same_verdict() {
    let bench = bench(0.0);
    let recipient = Recipient::new(at(NOW_MS));
    let (one, other) = (
        sent(decide(&recipient, &question(&bench, 1))),
        sent(decide(&recipient, &question(&bench, 1))),
    );
    assert_eq!(
        (one.variant, one.send_at, one.propensity),
        (other.variant, other.send_at, other.propensity)
    );
}

#[test]
fn the_holdout_gets_a_uniform_variant_at_the_first_allowed_time() {
    let bench = bench(0.5);
    let recipient = Recipient::new(at(NOW_MS));
    let choices: Vec<Choice> = (0..200)
        .map(|i| sent(decide(&recipient, &question(&bench, i))))
        .collect();
    let held: Vec<&Choice> = choices
        .iter()
        .filter(|choice| choice.reason == Reason::Holdout)
        .collect();
    assert!((70..130).contains(&held.len()));
    assert!(held.iter().all(|c| c.send_at == at(NOW_MS)
        && (c.propensity - 1.0 / 3.0).abs() < 1e-12
        && c.lane == Lane::Holdout));
}

#[test]
fn the_suppressed_get_nothing_but_receipts() {
    let bench = bench(0.0);
    let mut recipient = Recipient::new(at(NOW_MS));
    recipient.suppression = Some(Suppression::Unsubscribed);
    assert!(matches!(
        decide(&recipient, &question(&bench, 1)),
        Verdict::DoNotSend(DoNotSend::Suppressed)
    ));
    let receipt = Question {
        transactional: true,
        ..question(&bench, 1)
    };
    assert_eq!(sent(decide(&recipient, &receipt)).send_at, at(NOW_MS));
    recipient.suppression = Some(Suppression::Bounced);
    assert!(matches!(
        decide(&recipient, &receipt),
        Verdict::DoNotSend(DoNotSend::Suppressed)
    ));
}

#[test]
fn a_full_cap_delays_to_when_there_is_room_and_stops_when_there_is_none() {
    let bench = bench(0.0);
    let mut recipient = Recipient::new(at(NOW_MS));
    recipient.remember(touch(1, NOW_MS - HOUR_MS), at(NOW_MS));
    let capped = |hours| Question {
        frequency_cap: Some(FrequencyCap {
            sends_max: 1,
            period_ms: hours * HOUR_MS,
        }),
        ..question(&bench, 1)
    };
    assert!(sent(decide(&recipient, &capped(6))).send_at >= at(NOW_MS + 5 * HOUR_MS));
    assert!(matches!(
        decide(&recipient, &capped(48)),
        Verdict::DoNotSend(DoNotSend::FrequencyCap)
    ));
}

#[test]
fn quiet_hours_over_the_whole_window_leave_no_time() {
    let mut bench = bench(0.0);
    bench.window.deadline_at = at(NOW_MS + HOUR_MS);
    let hour = u16::from(bench.zone.local_hour(at(NOW_MS)).hour);
    bench.window.quiet = vec![QuietHours {
        start_minute: hour * 60,
        end_minute: (hour * 60 + 150) % 1440,
    }];
    let recipient = Recipient::new(at(NOW_MS));
    assert!(matches!(
        decide(&recipient, &question(&bench, 1)),
        Verdict::DoNotSend(DoNotSend::NoAllowedTime)
    ));
}

#[test]
fn without_consent_nothing_personal_is_used_and_the_reason_says_so() {
    let bench = bench(0.5);
    let recipient = Recipient::new(at(NOW_MS));
    for i in 0..20 {
        let allowed = Allowed {
            timing: ConsentLevel::None,
            content: ConsentLevel::None,
        };
        let choice = sent(decide(
            &recipient,
            &Question {
                allowed,
                segment: Some("it"),
                ..question(&bench, i)
            },
        ));
        assert_eq!(
            (choice.reason, choice.lane, choice.context),
            (Reason::NoConsent, Lane::Policy, Context::default())
        );
    }
}

#[test]
fn an_answer_is_sticky_until_its_variant_leaves() {
    let mut bench = bench(0.0);
    let mut recipient = Recipient::new(at(NOW_MS));
    recipient.remember(touch(1, NOW_MS - HOUR_MS), at(NOW_MS));
    assert!(earlier_answer(&recipient, &question(&bench, 1), 0, 0).is_some());
    assert!(earlier_answer(&recipient, &question(&bench, 1), 0, 99).is_none());
    let eligible = [VariantIndex(1)];
    assert!(
        earlier_answer(
            &recipient,
            &Question {
                eligible: Some(&eligible),
                ..question(&bench, 1)
            },
            0,
            0
        )
        .is_none()
    );
    bench.window.earliest_at = at(NOW_MS);
    let later = Question {
        now: at(NOW_MS + 73 * HOUR_MS),
        ..question(&bench, 1)
    };
    assert!(earlier_answer(&recipient, &later, 0, 0).is_none());
}

#[test]
fn no_eligible_variant_is_no_candidate() {
    let bench = bench(0.0);
    let recipient = Recipient::new(at(NOW_MS));
    let verdict = decide(
        &recipient,
        &Question {
            eligible: Some(&[]),
            ..question(&bench, 1)
        },
    );
    assert!(matches!(verdict, Verdict::NoCandidate));
}
