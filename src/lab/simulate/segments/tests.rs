//! Tests of `segments`.
use super::*;

fn small() -> Options {
    Options {
        segments: 6,
        sends_per_segment: vec![1_000],
        interaction_sds: vec![0.0, 0.5],
        batches: 10,
        seeds: 4,
        ..Options::default()
    }
}

#[test]
fn pooling_wins_where_segments_are_alike_and_loses_where_they_differ_much() {
    let report = run(&small(), &()).unwrap();
    let [alike, different] = report.worlds.as_slice() else {
        panic!("{report:?}");
    };
    let lost = |world: &WorldReport, at: usize| world.lost_per_thousand[at].1.mean;
    assert!(lost(alike, 1) < lost(alike, 2), "{alike:?}");
    assert!(lost(different, 1) > lost(different, 2), "{different:?}");
    assert!(lost(alike, 0) < lost(alike, 2), "{alike:?}");
    assert!(lost(different, 0) < lost(different, 1), "{different:?}");
}

#[test]
fn options_that_make_no_world_are_refused() {
    let options = Options {
        segments: 1,
        ..small()
    };
    assert!(run(&options, &()).is_err());
}
