//! One suite that every engine passes, and random histories compared with a plain model written without any of the engines' code.
//!
//! Invariant: nothing here names an engine; each engine's tests open it with [`Counting`] and call [`conforms`].

mod bounds;
mod concurrency;
mod model;
mod snapshot;

use std::sync::Arc;

pub(super) use model::Model;

use super::*;

/// Adds eight-byte little-endian numbers; a sum of zero is an empty record; any other length is damage.
pub(super) struct Counting;

impl super::Merge for Counting {
    fn merge(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Option<Vec<u8>>, MergeError> {
        let number = |bytes: &[u8]| {
            bytes
                .try_into()
                .map(i64::from_le_bytes)
                .map_err(|_| MergeError {
                    reason: format!("{} bytes are no sum", bytes.len()),
                })
        };
        let sum = existing.map_or(Ok(0), number)? + number(operand)?;
        Ok((sum != 0).then(|| sum.to_le_bytes().to_vec()))
    }
}

const P: Partition = Partition(1);

pub(super) fn put(key: &str, value: &str, expected: Option<Version>) -> Change {
    Change::Put {
        key: key.into(),
        value: value.into(),
        expected,
    }
}

pub(super) fn add(key: &str, by: i64) -> Change {
    Change::Merge {
        key: key.into(),
        operand: by.to_le_bytes().to_vec(),
    }
}

pub(super) fn delete(key: &str, expected: Option<Version>) -> Change {
    Change::Delete {
        key: key.into(),
        expected,
    }
}

pub(super) fn commit(
    engine: &dyn Engine,
    partition: Partition,
    changes: Vec<Change>,
) -> Result<Outcome, StoreError> {
    engine.commit(partition, Batch { changes }).wait()
}

fn committed(engine: &dyn Engine, changes: Vec<Change>) -> Ticket {
    match commit(engine, P, changes) {
        Ok(Outcome::Committed(ticket)) => ticket,
        other => panic!("not committed: {other:?}"),
    }
}

fn conflict(engine: &dyn Engine, changes: Vec<Change>) -> String {
    match commit(engine, P, changes) {
        Ok(Outcome::Conflict { key }) => String::from_utf8(key).unwrap(),
        other => panic!("no conflict: {other:?}"),
    }
}

pub(super) fn text(engine: &dyn Engine, key: &str) -> Option<String> {
    let stored = engine.read(P, key.as_bytes()).wait().unwrap();
    stored.map(|stored| String::from_utf8(stored.value.to_vec()).unwrap())
}

pub(super) fn sum(engine: &dyn Engine, partition: Partition, key: &str) -> i64 {
    let stored = engine.read(partition, key.as_bytes()).wait().unwrap();
    stored.map_or(0, |stored| {
        i64::from_le_bytes(stored.value.as_ref().try_into().unwrap())
    })
}

fn version(engine: &dyn Engine, key: &str) -> Version {
    engine
        .read(P, key.as_bytes())
        .wait()
        .unwrap()
        .map_or(0, |stored| stored.version)
}

/// Runs the suite; `open` gives an empty engine of at least four partitions each time, and what has to outlive it.
pub(super) fn conforms<E: Engine, G>(open: impl Fn() -> (E, G)) {
    let suite: [fn(&dyn Engine); 15] = [
        versions_rise_and_never_repeat,
        a_conflict_changes_nothing_and_names_the_key,
        merges_add_and_an_empty_sum_is_deleted,
        changes_of_a_batch_see_each_other_in_order,
        an_unreadable_value_spoils_only_its_own_batch,
        partitions_do_not_see_each_other,
        bounds::pages_are_ordered_and_miss_nothing,
        bounds::limits_are_refused,
        a_ticket_is_durable_after_a_wait,
        a_closed_engine_refuses,
        concurrency::concurrent_merges_are_exact,
        concurrency::concurrent_optimistic_puts_are_exact,
        concurrency::batches_are_seen_wholly_or_not_at_all,
        snapshot::a_snapshot_under_load_equals_the_model_at_its_moment,
        snapshot::a_snapshot_holds_still_and_lets_go,
    ];
    for part in suite {
        let (engine, guard) = open();
        part(&engine);
        // The engine goes before what it lies in.
        drop(engine);
        drop(guard);
    }
    for seed in 0..8 {
        let ((engine, guard), mut model) = (open(), Model::default());
        model.history(&engine, seed, 400);
        model.compare(&engine);
        drop(engine);
        drop(guard);
    }
}

fn versions_rise_and_never_repeat(engine: &dyn Engine) {
    assert_eq!(version(engine, "a"), 0);
    committed(engine, vec![put("a", "1", Some(0))]);
    let first = version(engine, "a");
    assert!(first > 0);
    committed(engine, vec![put("b", "1", None)]);
    assert_eq!(version(engine, "a"), first);
    committed(engine, vec![delete("a", Some(first))]);
    assert_eq!((version(engine, "a"), text(engine, "a")), (0, None));
    committed(engine, vec![put("a", "1", Some(0))]);
    assert!(version(engine, "a") > first);
    assert_eq!(conflict(engine, vec![put("a", "2", Some(first))]), "a");
}

fn a_conflict_changes_nothing_and_names_the_key(engine: &dyn Engine) {
    committed(engine, vec![put("a", "old", None)]);
    let seen = version(engine, "a");
    assert_eq!(
        conflict(
            engine,
            vec![
                put("b", "x", None),
                add("n", 1),
                put("a", "new", Some(seen + 1))
            ]
        ),
        "a"
    );
    assert_eq!(conflict(engine, vec![put("a", "new", Some(0))]), "a");
    assert_eq!(conflict(engine, vec![delete("a", Some(0))]), "a");
    assert_eq!(
        (
            text(engine, "a").as_deref(),
            text(engine, "b"),
            sum(engine, P, "n")
        ),
        (Some("old"), None, 0)
    );
    assert_eq!(version(engine, "a"), seen);
    assert_eq!(engine.statistics().conflicts, 3);
}

fn merges_add_and_an_empty_sum_is_deleted(engine: &dyn Engine) {
    committed(engine, vec![add("n", 5), add("m", -2)]);
    committed(engine, vec![add("n", 7)]);
    assert_eq!((sum(engine, P, "n"), sum(engine, P, "m")), (12, -2));
    committed(engine, vec![add("n", -12)]);
    assert_eq!(version(engine, "n"), 0);
    committed(engine, vec![add("absent", 0)]);
    assert_eq!(version(engine, "absent"), 0);
}

fn changes_of_a_batch_see_each_other_in_order(engine: &dyn Engine) {
    committed(
        engine,
        vec![
            add("n", 1),
            add("n", 2),
            delete("n", None),
            add("n", 4),
            add("n", 8),
        ],
    );
    assert_eq!(sum(engine, P, "n"), 12);
    committed(
        engine,
        vec![
            put("a", "1", Some(0)),
            put("a", "2", Some(0)),
            put("gone", "x", None),
            delete("gone", None),
        ],
    );
    assert_eq!(
        (text(engine, "a").as_deref(), text(engine, "gone")),
        (Some("2"), None)
    );
    committed(engine, vec![]);
    committed(engine, vec![delete("never", None)]);
}

fn an_unreadable_value_spoils_only_its_own_batch(engine: &dyn Engine) {
    committed(engine, vec![put("n", "bad", None), put("a", "1", None)]);
    let refused = commit(engine, P, vec![put("a", "2", None), add("n", 1)]);
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
    assert_eq!(
        (text(engine, "a").as_deref(), text(engine, "n").as_deref()),
        (Some("1"), Some("bad"))
    );
    committed(engine, vec![put("a", "3", None), add("m", 1)]);
    committed(engine, vec![delete("n", None)]);
    committed(engine, vec![add("n", 1)]);
    assert_eq!(
        (text(engine, "a").as_deref(), sum(engine, P, "n")),
        (Some("3"), 1)
    );
}

fn partitions_do_not_see_each_other(engine: &dyn Engine) {
    for partition in 0..4 {
        commit(
            engine,
            Partition(partition),
            vec![add("n", i64::from(partition) + 1)],
        )
        .unwrap();
    }
    for partition in 0..4 {
        assert_eq!(
            sum(engine, Partition(partition), "n"),
            i64::from(partition) + 1
        );
        assert_eq!(
            engine
                .scan(
                    Partition(partition),
                    Scan {
                        limit: 9,
                        ..Scan::default()
                    }
                )
                .wait()
                .unwrap()
                .len(),
            1
        );
    }
    let beyond = Partition(engine.partitions());
    assert!(matches!(
        engine.read(beyond, b"n").wait(),
        Err(StoreError::UnknownPartition { .. })
    ));
    assert!(matches!(
        commit(engine, beyond, vec![add("n", 1)]),
        Err(StoreError::UnknownPartition { .. })
    ));
    assert!(matches!(
        engine.scan(beyond, Scan::default()).wait(),
        Err(StoreError::UnknownPartition { .. })
    ));
}

fn a_ticket_is_durable_after_a_wait(engine: &dyn Engine) {
    let first = committed(engine, vec![add("n", 1)]);
    let second = committed(engine, vec![add("n", 1)]);
    assert!(second > first);
    assert_eq!(engine.durable(second).wait(), Ok(()));
    assert_eq!(engine.durable(first).wait(), Ok(()));
    assert_eq!((engine.flush().wait(), engine.health()), (Ok(()), Ok(())));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let third = committed(engine, vec![add("n", 1)]);
    assert_eq!(runtime.block_on(engine.durable(third)), Ok(()));
    assert_eq!(engine.statistics().commits, 3);
}

fn a_closed_engine_refuses(engine: &dyn Engine) {
    committed(engine, vec![put("a", "1", None)]);
    assert_eq!(
        (engine.close().wait(), engine.close().wait()),
        (Ok(()), Ok(()))
    );
    let closed = |error: StoreError| {
        matches!(
            error,
            StoreError::Unavailable {
                retryable: false,
                ..
            }
        )
    };
    assert!(closed(commit(engine, P, vec![add("n", 1)]).unwrap_err()));
    assert!(closed(engine.read(P, b"a").wait().unwrap_err()));
    // Nor of a key that an engine may know to be absent without its disk.
    assert!(closed(engine.read(P, b"s/1").wait().unwrap_err()));
    assert!(closed(
        engine
            .scan(
                P,
                Scan {
                    limit: 1,
                    ..Scan::default()
                }
            )
            .wait()
            .unwrap_err()
    ));
    assert!(closed(engine.health().unwrap_err()));
}

#[test]
fn the_memory_engine_conforms() {
    conforms(|| (MemoryEngine::new(4, Arc::new(Counting)), ()));
}
