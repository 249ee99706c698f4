//! Recipients come back as they were, and bytes that are none are refused.

use proptest::prelude::*;

use super::*;
use crate::domain::activity::PROFILE_NUMBERS;
use crate::domain::basis::{Basis, Reason};
use crate::domain::send_time::Level;
use crate::domain::snapshot::ChoiceLevel;

fn response(at_ms: i64) -> Response {
    Response {
        weight: HumanWeight::nearest(0.4),
        at_ms,
        local_hour_of_week: 167,
    }
}

fn touch(parts: u16, at_ms: i64, hash: u64) -> Touch {
    let has = |bit: u16| parts & 1 << bit != 0;
    let mut touch = Touch::counted(at_ms, has(0));
    if let Answer::Send { lane, variant, .. } = &mut touch.answer {
        *variant = VariantIndex(999);
        *lane = if has(1) { Lane::Holdout } else { Lane::Policy };
    }
    Touch {
        decision: hash,
        experiment: ExperimentUid(hash >> 40),
        decided_at_ms: at_ms,
        send_at_ms: at_ms.wrapping_add(7_200_000),
        planned_at_ms: at_ms.wrapping_add(if has(2) { 7_200_000 } else { 0 }),
        occasion: if has(3) { hash } else { 0 },
        request: if has(4) { !hash } else { 0 },
        events: hash as u32,
        trial_counted: has(5),
        measurable: has(6),
        exposure_recorded: has(7),
        everyone_recorded: has(8),
        sent_local_minute: 10_079,
        open: has(9).then(|| response(at_ms)),
        click: has(10).then(|| response(at_ms.wrapping_add(-1))),
        value: if has(11) { -0.0 } else { 0.0 },
        replied_negative: has(12),
        basis: Basis {
            reason: Reason::Shadow { agrees: has(13) },
            choice_level: ChoiceLevel::Segment,
            time_level: has(14).then_some(Level::Exploration),
        },
        converted_at_ms: has(13).then_some(i64::MAX),
        harmed_at_ms: has(15).then_some(i64::MIN),
        ..touch
    }
}

fn recipient(touches: Vec<Touch>) -> Recipient {
    Recipient {
        created_at_ms: 1_772_366_400_000,
        zone: Some("Europe/Berlin".to_owned()),
        segments: vec!["it".to_owned()],
        touches,
        forgotten_until_ms: 5,
        ..Recipient::default()
    }
}

proptest! {
    #[test]
    fn whatever_a_touch_has_comes_back_to_the_last_bit(
        touches in prop::collection::vec((any::<u16>(), any::<i64>(), any::<u64>()), 0..33),
    ) {
        let touches = touches.into_iter().map(|(parts, at_ms, hash)| touch(parts, at_ms, hash));
        let recipient = recipient(touches.collect());
        let written = write(&recipient, Vec::new()).unwrap();
        let again = read(&written).unwrap();
        // Both zeros are equal, so their bits are compared beside the records.
        let bits = |of: &Recipient| -> Vec<u64> {
            of.touches.iter().map(|touch| touch.value.to_bits()).collect()
        };
        prop_assert_eq!(bits(&again), bits(&recipient));
        let without = read_without_touches(&written).unwrap();
        prop_assert_eq!(without, Recipient { touches: Vec::new(), ..again.clone() });
        prop_assert_eq!(again, recipient);
    }

    #[test]
    fn bytes_at_random_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(recipient) = read(&bytes) {
            prop_assert!(write(&recipient, Vec::new()).is_ok());
        }
    }
}

#[test]
fn a_record_that_is_cut_off_or_longer_is_refused() {
    let written = write(&recipient(vec![touch(u16::MAX, 9, 8)]), Vec::new()).unwrap();
    for length in 0..written.len() {
        assert!(read(&written[..length]).is_err(), "{length}");
    }
    assert!(read(&[written, vec![0]].concat()).is_err());
}

#[test]
fn a_usual_touch_takes_less_than_sixty_bytes() {
    let now_ms = 1_772_366_400_000;
    let usual = |at| Touch {
        occasion: u64::MAX,
        decided_at_ms: now_ms + at,
        send_at_ms: now_ms + at + 30_000_000,
        planned_at_ms: now_ms + at + 30_000_000,
        ..touch(0b1_1110_0001, now_ms, u64::MAX >> 8)
    };
    let bytes = |count: i64| {
        let touches = (0..count).map(|at| usual(at * 259_200_000)).collect();
        write(&recipient(touches), Vec::new()).unwrap().len()
    };
    let each = (bytes(9) - bytes(1)) / 8;
    assert!(each < 60, "{each} bytes");
}

#[test]
fn the_hours_of_activity_are_written_as_any_other_record_and_every_number_keeps_its_place() {
    let numbers: [u32; PROFILE_NUMBERS] =
        std::array::from_fn(|place| (place as u32 + 1) << (place % 26));
    for numbers in [numbers, [u32::MAX; PROFILE_NUMBERS], [0; PROFILE_NUMBERS]] {
        let profile = ActivityProfile::from_numbers(&numbers);
        assert_eq!(profile.numbers(), numbers);
        let mut writer = Writer(Vec::new());
        writer.numbers(&profile.numbers());
        assert_eq!(writer.0, postcard::to_allocvec(&profile).unwrap());
        let mut reader = Reader(&writer.0);
        assert_eq!(reader.numbers(), Ok(numbers));
        assert!(reader.0.is_empty());
        for bytes in 0..writer.0.len() {
            let cut = &writer.0[..bytes];
            assert!(Reader(cut).numbers::<PROFILE_NUMBERS>().is_err());
        }
    }
}
