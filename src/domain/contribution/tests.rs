//! Tests of `contribution`.
use super::*;
use crate::domain::cell::Context;
use crate::domain::event::HumanWeight;
use crate::domain::name::VariantIndex;
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
        .flat_map(|change| change.cells(Tracks::campaign(), now()))
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
    let (mut profile, mut opens) = <(ActivityProfile, OpenShares)>::default();
    let (sent, opened) = (sent(), opened(0.7));
    Change {
        before: None,
        after: Some(&sent),
    }
    .apply_to(&mut profile, &mut opens);
    let waiting = profile.clone();
    Change {
        before: Some(&sent),
        after: Some(&opened),
    }
    .apply_to(&mut profile, &mut opens);
    assert!(profile.effective_observations(now()) > 0.6);
    assert!(profile.measurable_mails(now()) < waiting.measurable_mails(now()));
    assert_ne!(opens, OpenShares::default());
    Change {
        before: Some(&opened),
        after: Some(&sent),
    }
    .apply_to(&mut profile, &mut opens);
    assert_eq!(profile, waiting);
    let mut nothing = OpenShares::default();
    nothing.record(now(), 1.0);
    nothing.take_back(now(), 1.0);
    assert_eq!(opens, nothing);
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

/// Delays of opens, summed over changes.
fn delays(changes: &[Change<'_>], half_life_hours: Option<f64>) -> [f64; 24] {
    delays_of(Objective::Open, changes, half_life_hours)
}

fn delays_of(
    response: Objective,
    changes: &[Change<'_>],
    half_life_hours: Option<f64>,
) -> [f64; 24] {
    let mut sum = Arrivals::default();
    changes
        .iter()
        .filter_map(|change| change.arrivals(half_life_hours, now()))
        .for_each(|part| sum.merge(&part));
    sum.of(response)
}

#[test]
fn an_open_counts_in_the_bin_of_its_delay_with_its_weight_and_fades_from_the_send() {
    use crate::domain::arrivals::bin_of;
    let (sent, opened) = (sent(), opened(0.5));
    let change = Change {
        before: Some(&sent),
        after: Some(&opened),
    };
    let plain = delays(&[change], None);
    assert_eq!(plain[bin_of(1.0)], 0.5);
    assert_eq!(plain.iter().sum::<f64>(), 0.5);
    // Now is five hours after the send.
    let faded = delays(&[change], Some(5.0));
    assert!((faded[bin_of(1.0)] - 0.25).abs() < 1e-12);
}

#[test]
fn delays_follow_verdicts_and_send_times_and_leave_with_an_erasure() {
    use crate::domain::arrivals::bin_of;
    let (sent, human, machine) = (sent(), opened(1.0), opened(0.125));
    let later = Touch {
        send_at_ms: SENT_MS + HOUR_MS / 2,
        ..machine.clone()
    };
    let steps = [Some(&sent), Some(&human), Some(&machine), Some(&later)];
    let mut changes: Vec<Change<'_>> = steps
        .windows(2)
        .map(|pair| Change {
            before: pair[0],
            after: pair[1],
        })
        .collect();
    let delays_by_now = delays(&changes, Some(100.0));
    assert!(delays_by_now[bin_of(0.5)] > 0.12 && delays_by_now[bin_of(1.0)].abs() < 1e-12);
    changes.push(Change {
        before: Some(&later),
        after: None,
    });
    let rest = delays(&changes, Some(100.0));
    assert!(rest.iter().all(|weight| weight.abs() < 1e-12), "{rest:?}");
}

#[test]
fn opens_that_cannot_be_measured_and_events_without_a_trial_show_no_delay() {
    let unmeasured = Touch {
        measurable: false,
        ..opened(1.0)
    };
    let unconfirmed = Touch {
        trial_counted: false,
        ..opened(1.0)
    };
    for touch in [unmeasured, unconfirmed] {
        let change = Change {
            before: None,
            after: Some(&touch),
        };
        assert_eq!(change.arrivals(None, now()), None);
    }
}

fn converted(hours: i64) -> Touch {
    Touch {
        events: EventKind::Converted.bit(),
        value: 10.0,
        converted_at_ms: Some(SENT_MS + hours * HOUR_MS),
        ..sent()
    }
}

#[test]
fn a_conversion_counts_whole_in_the_bin_of_its_delay_and_in_no_other_response() {
    use crate::domain::arrivals::bin_of;
    let (sent, converted) = (sent(), converted(3));
    let change = Change {
        before: Some(&sent),
        after: Some(&converted),
    };
    let of = |response, half_life| delays_of(response, &[change], half_life);
    let plain = of(Objective::Conversion, None);
    assert_eq!(plain[bin_of(3.0)], 1.0);
    assert_eq!(plain.iter().sum::<f64>(), 1.0);
    assert_eq!(plain, of(Objective::Value, None));
    // Now is five hours after the send.
    let faded = of(Objective::Conversion, Some(5.0));
    assert!((faded[bin_of(3.0)] - 0.5).abs() < 1e-12);
    for other in [Objective::Open, Objective::Click] {
        assert_eq!(of(other, None), [0.0; 24]);
    }
}

#[test]
fn delays_of_conversions_follow_send_times_and_leave_with_an_erasure() {
    use crate::domain::arrivals::bin_of;
    let (sent, converted) = (sent(), converted(3));
    let later = Touch {
        send_at_ms: SENT_MS + 2 * HOUR_MS,
        ..converted.clone()
    };
    let change = |before, after| Change { before, after };
    let mut changes = vec![
        change(None, Some(&sent)),
        change(Some(&sent), Some(&converted)),
        change(Some(&converted), Some(&later)),
    ];
    let by_now = delays_of(Objective::Conversion, &changes, Some(100.0));
    assert!(by_now[bin_of(1.0)] > 0.9 && by_now[bin_of(3.0)].abs() < 1e-12);
    changes.push(change(Some(&later), None));
    let rest = delays_of(Objective::Conversion, &changes, Some(100.0));
    assert!(rest.iter().all(|weight| weight.abs() < 1e-12), "{rest:?}");
}

#[test]
fn conversions_of_the_holdout_and_those_without_an_instant_show_no_delay() {
    let held = Touch {
        answer: Answer::Send {
            variant: VariantIndex(0),
            context: Context::default(),
            lane: Lane::Holdout,
            propensity: 0.5,
        },
        ..converted(3)
    };
    let from_an_earlier_format = Touch {
        converted_at_ms: None,
        ..converted(3)
    };
    for touch in [held, from_an_earlier_format] {
        let change = Change {
            before: None,
            after: Some(&touch),
        };
        assert_eq!(change.arrivals(None, now()), None);
    }
}
