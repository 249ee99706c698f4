//! What the model of the crash tests lets a fault take, and what not: only the last decisions about somebody, and none with an event.

use std::collections::BTreeMap;

use hermod::grpc::wire::{self, EventKind};
use prost_types::Timestamp;

use super::torture::model::{ARENAS, Person, Question, SENT, Sums, Touch, add_people, mark_lost};

fn touch(seconds: i64) -> Touch {
    Touch {
        question: Question {
            person: 0,
            arena: 0,
            occasion: String::new(),
            request_id: String::new(),
        },
        decision_id: String::new(),
        variant: "plain".into(),
        holdout: false,
        decided_at: Timestamp { seconds, nanos: 0 },
        unremembered: false,
        lost: false,
        events: BTreeMap::new(),
    }
}

fn kept(seconds: i64) -> wire::Touch {
    wire::Touch {
        experiment: ARENAS[0].name.into(),
        decide_time: Some(Timestamp { seconds, nanos: 0 }),
        ..Default::default()
    }
}

fn decided(touches: &[Touch]) -> f64 {
    let person = Person {
        touches: touches.to_vec(),
        erased: true,
        ..Person::default()
    };
    let mut sums = Sums::new();
    add_people(&[person], &mut sums);
    sums.values().map(|totals| totals.decided).sum()
}

#[test]
fn a_decision_that_was_lost_before_its_recipient_was_erased_does_not_count() {
    let mut touches = [touch(1), touch(2), touch(3)];
    mark_lost(&mut touches, &[kept(1), kept(2)]).unwrap();
    assert_eq!(touches.clone().map(|t| t.lost), [false, false, true]);
    assert_eq!(decided(&touches), 2.0);
    mark_lost(&mut touches, &[kept(1), kept(2), kept(3)]).unwrap();
    assert_eq!(decided(&touches), 3.0);
}

#[test]
fn a_decision_that_could_not_be_lost_is_missed() {
    let mut with_event = touch(2);
    with_event.events.insert(EventKind::Sent.into(), SENT);
    mark_lost(&mut [touch(1), with_event], &[kept(1)]).unwrap_err();
    mark_lost(&mut [touch(1), touch(2)], &[kept(2)]).unwrap_err();
    mark_lost(&mut [touch(1)], &[kept(1), kept(1)]).unwrap_err();
}
