//! Tests of `feedback`.
use super::*;
use crate::domain::recipient::tests::touch;
use proptest::prelude::*;

const SENT_MS: i64 = 1_800_000_000_000;

fn event(kind: EventKind, hours: f64, weight: f64) -> DecisionEvent {
    let at = Timestamp::from_millisecond(SENT_MS + (hours * HOUR_MS as f64) as i64).unwrap();
    DecisionEvent {
        kind,
        at,
        weight: HumanWeight::nearest(weight),
        value: 10.0,
        sentiment: Sentiment::Neutral,
        permanent: false,
    }
}

fn rules(zone: &Zone, trial_on: TrialOn) -> Rules<'_> {
    let now = Timestamp::from_millisecond(SENT_MS + 100 * HOUR_MS).unwrap();
    Rules {
        trial_on,
        attribution_window_ms: 72 * HOUR_MS,
        zone,
        now,
    }
}

fn apply_all(touch: &mut Touch, events: &[DecisionEvent]) -> Vec<EventOutcome> {
    let zone = Zone::utc();
    events
        .iter()
        .map(|event| apply(touch, event, &rules(&zone, TrialOn::Decision)))
        .collect()
}

#[test]
fn the_first_of_a_kind_counts_and_the_rest_are_duplicates() {
    let mut touch = touch(1, SENT_MS);
    let converted = event(EventKind::Converted, 1.0, 1.0);
    let again = event(EventKind::Converted, 2.0, 1.0);
    assert_eq!(
        apply_all(&mut touch, &[converted, again]),
        [EventOutcome::Counted, EventOutcome::Duplicate]
    );
    assert_eq!(touch.value, 10.0);
    assert_eq!(touch.converted_at_ms, Some(SENT_MS + HOUR_MS));
}

#[test]
fn a_human_open_replaces_the_machines() {
    let mut touch = touch(1, SENT_MS);
    let outcomes = apply_all(
        &mut touch,
        &[
            event(EventKind::Opened, 0.0, 0.02),
            event(EventKind::Opened, 3.0, 1.0),
        ],
    );
    assert_eq!(outcomes, [EventOutcome::Counted, EventOutcome::Upgraded]);
    assert_eq!(touch.open.unwrap().at_ms, SENT_MS + 3 * HOUR_MS);
}

#[test]
fn late_and_absurdly_early_events_do_not_count_but_late_complaints_do() {
    let mut touch = touch(1, SENT_MS);
    let outcomes = apply_all(
        &mut touch,
        &[
            event(EventKind::Clicked, 72.1, 1.0),
            event(EventKind::Clicked, -1.1, 1.0),
            event(EventKind::Complained, 200.0, 1.0),
        ],
    );
    assert_eq!(
        outcomes,
        [
            EventOutcome::TooLate,
            EventOutcome::BeforeDecision,
            EventOutcome::Counted
        ]
    );
    assert!(!touch.has(EventKind::Clicked));
    apply_all(&mut touch, &[event(EventKind::Converted, 72.1, 1.0)]);
    assert_eq!(touch.converted_at_ms, None);
}

#[test]
fn an_unconfirmed_trial_counts_with_its_first_event() {
    let zone = Zone::utc();
    let mut reserved = Touch {
        trial_counted: false,
        ..touch(1, SENT_MS)
    };
    apply(
        &mut reserved,
        &event(EventKind::Sent, 0.5, 1.0),
        &rules(&zone, TrialOn::Sent),
    );
    assert!(reserved.trial_counted);
    assert_eq!(reserved.send_at_ms, SENT_MS + HOUR_MS / 2);
}

#[test]
fn an_open_before_the_planned_time_moves_the_send_there() {
    let mut planned = Touch {
        decided_at_ms: SENT_MS - HOUR_MS,
        send_at_ms: SENT_MS + 5 * HOUR_MS,
        ..touch(1, SENT_MS)
    };
    apply_all(&mut planned, &[event(EventKind::Opened, 1.0, 1.0)]);
    assert_eq!(planned.send_at_ms, SENT_MS + HOUR_MS);
}

#[test]
fn reclassifying_what_never_was_changes_nothing() {
    let mut touch = touch(1, SENT_MS);
    assert_eq!(
        reclassify(&mut touch, EventKind::Opened, HumanWeight::NONE),
        None
    );
    apply_all(&mut touch, &[event(EventKind::Opened, 1.0, 1.0)]);
    assert_eq!(
        reclassify(&mut touch, EventKind::Opened, HumanWeight::NONE),
        Some(EventOutcome::Counted)
    );
    assert_eq!(
        reclassify(&mut touch, EventKind::Opened, HumanWeight::NONE),
        Some(EventOutcome::Duplicate)
    );
}

proptest! {
    #[test]
    fn the_order_of_opens_and_clicks_does_not_matter(
        mut events in proptest::collection::vec((0..2_usize, 0_u32..71, 0_u32..=4), 1..8), rotation in 0..8_usize,
    ) {
        let build = |events: &[(usize, u32, u32)]| -> Vec<DecisionEvent> {
            let kinds = [EventKind::Opened, EventKind::Clicked];
            events.iter().map(|(kind, hour, weight)| event(kinds[*kind], f64::from(*hour), f64::from(*weight) / 4.0)).collect()
        };
        let (mut one, mut other) = (touch(1, SENT_MS), touch(1, SENT_MS));
        apply_all(&mut one, &build(&events));
        let by = rotation % events.len();
        events.rotate_left(by);
        apply_all(&mut other, &build(&events));
        prop_assert_eq!(one, other);
    }
}
