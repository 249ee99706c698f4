//! Tests of `contribution`.
use super::*;
use crate::domain::event::HumanWeight;
use crate::domain::recipient::tests::touch;

const SENT_MS: i64 = 1_800_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_millisecond(SENT_MS + 5 * HOUR_MS).unwrap()
}

fn sent() -> Touch {
    Touch {
        exposure_recorded: true,
        everyone_recorded: true,
        ..touch(1, SENT_MS)
    }
}

fn opened(weight: f64) -> Touch {
    let open = Response {
        weight: HumanWeight::nearest(weight),
        at_ms: SENT_MS + HOUR_MS,
        local_hour_of_week: 30,
    };
    Touch {
        open: Some(open),
        events: EventKind::Opened.bit(),
        ..sent()
    }
}

fn sum(changes: &[Change<'_>]) -> Cell {
    let mut cell = Cell::default();
    changes
        .iter()
        .flat_map(|change| change.cells(None, now()))
        .for_each(|delta| cell.merge(&delta.cell));
    cell
}

#[test]
fn reclassifying_there_and_back_leaves_exactly_what_was() {
    let (sent, human, machine) = (sent(), opened(1.0), opened(0.125));
    let there = sum(&[
        Change {
            before: None,
            after: Some(&sent),
        },
        Change {
            before: Some(&sent),
            after: Some(&human),
        },
        Change {
            before: Some(&human),
            after: Some(&machine),
        },
    ]);
    let direct = sum(&[
        Change {
            before: None,
            after: Some(&sent),
        },
        Change {
            before: Some(&sent),
            after: Some(&machine),
        },
    ]);
    assert_eq!(there, direct);
    assert_eq!(there.open.successes, 0.125);
}

#[test]
fn erasing_a_touch_takes_out_all_it_added() {
    let (sent, opened) = (sent(), opened(1.0));
    let rest = sum(&[
        Change {
            before: None,
            after: Some(&sent),
        },
        Change {
            before: Some(&sent),
            after: Some(&opened),
        },
        Change {
            before: Some(&opened),
            after: None,
        },
    ]);
    assert_eq!(
        (rest.open.trials, rest.open.successes, rest.click.trials),
        (0.0, 0.0, 0.0)
    );
}

#[test]
fn the_profile_returns_exactly_to_where_it_was() {
    let freshness = FreshnessCurve::default();
    let mut profile = ActivityProfile::default();
    let (sent, opened) = (sent(), opened(0.7));
    Change {
        before: None,
        after: Some(&sent),
    }
    .apply_to_profile(&mut profile, &freshness);
    let waiting = profile.clone();
    Change {
        before: Some(&sent),
        after: Some(&opened),
    }
    .apply_to_profile(&mut profile, &freshness);
    assert!(profile.effective_observations(now()) > 0.6);
    assert!(profile.measurable_mails(now()) < waiting.measurable_mails(now()));
    Change {
        before: Some(&opened),
        after: Some(&sent),
    }
    .apply_to_profile(&mut profile, &freshness);
    assert_eq!(profile, waiting);
}

#[test]
fn a_corrected_send_time_moves_the_trial() {
    let planned = sent();
    let later = Touch {
        send_at_ms: SENT_MS + 2 * HOUR_MS,
        ..sent()
    };
    let moved = sum(&[
        Change {
            before: None,
            after: Some(&planned),
        },
        Change {
            before: Some(&planned),
            after: Some(&later),
        },
    ]);
    let direct = sum(&[Change {
        before: None,
        after: Some(&later),
    }]);
    assert!((moved.click.trials - 1.0).abs() < 1e-12);
    for (x, y) in moved.click.pending.iter().zip(direct.click.pending) {
        assert!((x - y).abs() < 1e-12);
    }
}
