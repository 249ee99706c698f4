//! A disk that fails for a while, and one too slow for what is written.
//!
//! Invariant: what was committed stays readable, what was acknowledged is never lost, and the engine mends by itself.

use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::super::*;
use super::{open, unfolded};
use crate::store::conformance::{Model, add, commit, put, sum, text};

#[test]
fn a_failing_disk_is_reported_refuses_commits_and_mends_by_itself() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    commit(&engine, Partition(1), vec![add("n", 1)]).unwrap();
    engine.flush().wait().unwrap();
    engine.shared.broken.store(true, Ordering::Release);
    let Ok(Outcome::Committed(ticket)) = commit(
        &engine,
        Partition(1),
        vec![add("n", 2), put("a", "kept", None)],
    ) else {
        panic!()
    };
    let failing = |result| {
        matches!(
            result,
            Err(StoreError::Unavailable {
                retryable: true,
                ..
            })
        )
    };
    assert!(failing(engine.durable(ticket).wait()));
    assert!(failing(engine.health()));
    assert!(matches!(
        commit(&engine, Partition(1), vec![add("n", 4)]),
        Err(StoreError::Unavailable {
            retryable: true,
            ..
        })
    ));
    assert_eq!(sum(&engine, Partition(1), "n"), 3);
    engine.shared.broken.store(false, Ordering::Release);
    while engine.durable(ticket).wait().is_err() {
        std::thread::yield_now();
    }
    assert_eq!(engine.health(), Ok(()));
    commit(&engine, Partition(1), vec![add("n", 4)]).unwrap();
    engine.flush().wait().unwrap();
    drop(engine);
    let engine = open(&options);
    assert_eq!(
        (
            sum(&engine, Partition(1), "n"),
            text(&engine, "a").as_deref()
        ),
        (7, Some("kept"))
    );
}

#[test]
fn a_disk_that_fails_while_folding_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    let mut model = Model::default();
    model.history(&engine, 5, 200);
    engine.flush().wait().unwrap();
    engine.shared.broken.store(true, Ordering::Release);
    assert!(folder::pass(&engine.shared).is_err());
    assert!(engine.health().is_err());
    engine.shared.broken.store(false, Ordering::Release);
    while engine.health().is_err() {
        std::thread::yield_now();
    }
    model.history(&engine, 6, 100);
    folder::pass(&engine.shared).unwrap();
    model.compare(&engine);
    engine.flush().wait().unwrap();
    drop(engine);
    model.compare(&open(&options));
}

#[test]
fn too_many_unfolded_changes_hold_commits_back_until_folded() {
    let directory = TempDir::new().unwrap();
    let engine = open(&SledOptions {
        overlay_bytes_max: 4_000,
        fold_after_bytes: 100_000,
        ..unfolded(&directory)
    });
    let large = "x".repeat(1_000);
    let refused = (0..9)
        .map(|number| {
            commit(
                &engine,
                Partition(1),
                vec![put(&format!("k{number}"), &large, None)],
            )
        })
        .find_map(Result::err);
    assert!(matches!(
        refused,
        Some(StoreError::Unavailable {
            retryable: true,
            ..
        })
    ));
    folder::pass(&engine.shared).unwrap();
    assert_eq!(
        (
            engine.statistics().unfolded_keys,
            engine.statistics().unfolded_bytes
        ),
        (0, 0)
    );
    assert_eq!(engine.statistics().keys, 4);
    commit(&engine, Partition(1), vec![put("k9", &large, None)]).unwrap();
}
