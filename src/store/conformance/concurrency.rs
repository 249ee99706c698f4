//! The suite's part on threads: nothing is lost, counted twice or half seen when many write at once.
//!
//! Invariant: totals are compared exactly; no test depends on timing.

use super::{P, add, commit, sum};
use crate::store::{Change, Engine, Outcome, Scan};

const THREADS: i64 = 4;
const ROUNDS: i64 = 200;

pub(super) fn concurrent_merges_are_exact(engine: &dyn Engine) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    commit(
                        engine,
                        P,
                        vec![add("all", 1), add(&format!("own/{thread}"), round)],
                    )
                    .unwrap();
                }
                engine.flush().wait().unwrap();
            });
        }
    });
    assert_eq!(sum(engine, P, "all"), THREADS * ROUNDS);
    assert_eq!(sum(engine, P, "own/2"), ROUNDS * (ROUNDS - 1) / 2);
}

pub(super) fn concurrent_optimistic_puts_are_exact(engine: &dyn Engine) {
    let increment = || loop {
        let seen = engine.read(P, b"n").wait().unwrap();
        let (number, expected) = seen.map_or((0, 0), |seen| {
            (
                i64::from_le_bytes(seen.value.as_ref().try_into().unwrap()),
                seen.version,
            )
        });
        let change = Change::Put {
            key: b"n".to_vec(),
            value: (number + 1).to_le_bytes().to_vec(),
            expected: Some(expected),
        };
        if matches!(
            commit(engine, P, vec![change]).unwrap(),
            Outcome::Committed(_)
        ) {
            return;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..ROUNDS).for_each(|_| increment()));
        }
    });
    assert_eq!(sum(engine, P, "n"), THREADS * ROUNDS);
}

pub(super) fn batches_are_seen_wholly_or_not_at_all(engine: &dyn Engine) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..ROUNDS {
                commit(engine, P, vec![add("pair/a", 1), add("pair/z", 1)]).unwrap();
            }
        });
        while !writer.is_finished() {
            let page = engine
                .scan(
                    P,
                    Scan {
                        prefix: b"pair/".to_vec(),
                        limit: 2,
                        ..Scan::default()
                    },
                )
                .wait()
                .unwrap();
            assert!(page.is_empty() || page[0].1 == page[1].1, "{page:?}");
        }
    });
}
