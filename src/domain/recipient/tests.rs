//! Tests of `recipient`.
use super::*;
use crate::domain::basis::Reason;
use crate::domain::snapshot::ChoiceLevel;

/// A touch for tests, decided and sent at one time.
pub(crate) fn touch(decision: u64, at_ms: i64) -> Touch {
    Touch {
        decision,
        experiment: ExperimentUid(7),
        answer: Answer::Send {
            variant: VariantIndex(0),
            context: Context::default(),
            lane: Lane::Policy,
            propensity: 0.5,
        },
        decided_at_ms: at_ms,
        send_at_ms: at_ms,
        planned_at_ms: at_ms,
        occasion: 0,
        request: decision,
        events: 0,
        trial_counted: true,
        measurable: true,
        exposure_recorded: false,
        everyone_recorded: false,
        sent_local_minute: 0,
        open: None,
        click: None,
        value: 0.0,
        replied_negative: false,
        basis: Basis {
            reason: Reason::Policy,
            choice_level: ChoiceLevel::Everyone,
            time_level: None,
        },
        timing: TouchTiming::default(),
        converted_at_ms: None,
        harmed_at_ms: None,
    }
}

fn ms(at: i64) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap()
}

#[test]
fn the_ring_keeps_the_newest_and_knows_what_it_forgot() {
    let mut recipient = Recipient::new(ms(0));
    for i in 0..40 {
        recipient.remember(touch(i, i as i64), ms(i as i64));
    }
    assert_eq!(recipient.touches.len(), TOUCHES_MAX);
    assert!(recipient.has_forgotten(7) && !recipient.has_forgotten(8));
    assert!(recipient.touch_mut(7).is_none() && recipient.touch_mut(8).is_some());
}

#[test]
fn touches_past_their_time_are_dropped_when_the_next_comes() {
    let mut recipient = Recipient::new(ms(0));
    recipient.remember(touch(1, 0), ms(0));
    recipient.remember(touch(2, TOUCH_KEPT_MS + 1), ms(TOUCH_KEPT_MS + 1));
    assert_eq!(recipient.touches.len(), 1);
}

#[test]
fn the_cap_counts_sends_within_the_period_and_not_refusals() {
    let mut recipient = Recipient::new(ms(0));
    recipient.remember(touch(1, 0), ms(0));
    recipient.remember(
        Touch {
            answer: Answer::DoNotSend(DoNotSend::Suppressed),
            ..touch(2, 10)
        },
        ms(10),
    );
    let cap = |sends_max| FrequencyCap {
        sends_max,
        period_ms: 100,
    };
    assert!(recipient.is_capped(cap(1), 50));
    assert!(!recipient.is_capped(cap(2), 50));
    assert!(!recipient.is_capped(cap(1), 100));
}
