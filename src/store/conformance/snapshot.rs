//! The suite's part on snapshots: taken while many write, a snapshot equals the model at the sequences it names.
//!
//! Invariant: the model is a plain replay of the same steps; the snapshot's own sequences say how many of them count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{P, add, commit, committed, delete, put};
use crate::store::{Change, Engine, Partition, Snapshot, StoreError, Version};

/// Keys of one writer.
const KEYS: u64 = 300;
const SNAPSHOTS: usize = 6;
/// Steps after which a writer waits for the disk, as servers do; a writer that never waits would starve everybody else of its partition.
const FLUSHED_STEPS: u64 = 32;

type Rows = BTreeMap<(u16, Vec<u8>), (Version, Vec<u8>)>;

/// What the writer of a partition does at a step; some values are large enough to be kept in pieces.
fn step(partition: u16, number: u64) -> Change {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let key = format!("k{}", mixed % KEYS).into_bytes();
    if mixed.is_multiple_of(5) {
        return Change::Delete {
            key,
            expected: None,
        };
    }
    let bytes = if mixed.is_multiple_of(53) { 70_000 } else { 40 };
    let mut value = format!("{partition}/{number}/").into_bytes();
    value.resize(bytes, b'.');
    Change::Put {
        key,
        value,
        expected: None,
    }
}

/// What a partition holds at a sequence.
fn replay(partition: u16, sequence: Version, into: &mut Rows) {
    let (mut reached, mut number) = (0, 0);
    while reached < sequence {
        match step(partition, number) {
            Change::Put { key, value, .. } => {
                reached += 1;
                into.insert((partition, key), (reached, value));
            }
            change => {
                let key = change.key().to_vec();
                reached += Version::from(into.remove(&(partition, key)).is_some());
            }
        }
        number += 1;
    }
}

fn read_out(snapshot: &mut Snapshot) -> Rows {
    let mut rows = Rows::new();
    loop {
        let page = snapshot.rows.next_rows().unwrap();
        if page.is_empty() {
            return rows;
        }
        for row in page {
            let at = (row.partition.0, row.key.to_vec());
            let value = (row.stored.version, row.stored.value.to_vec());
            assert!(rows.insert(at.clone(), value).is_none(), "{at:?} twice");
        }
    }
}

/// Adds to two partitions in turn: at any moment the first is ahead by at most one.
fn write_pairs(engine: &dyn Engine, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        for partition in [2, 3] {
            commit(engine, Partition(partition), vec![add("pairs", 1)]).unwrap();
        }
        engine.flush().wait().unwrap();
    }
}

pub(super) fn a_snapshot_under_load_equals_the_model_at_its_moment(engine: &dyn Engine) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for partition in [0, 1] {
            let done = &done;
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::Acquire) {
                    commit(engine, Partition(partition), vec![step(partition, number)]).unwrap();
                    number += 1;
                    if number.is_multiple_of(FLUSHED_STEPS) {
                        engine.flush().wait().unwrap();
                    }
                }
            });
        }
        scope.spawn(|| write_pairs(engine, &done));
        let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..SNAPSHOTS {
                let mut snapshot = engine.snapshot().wait().unwrap();
                let mut found = read_out(&mut snapshot);
                let mut sum = |partition: u16| {
                    let row = found.remove(&(partition, b"pairs".to_vec()));
                    row.map_or(0, |(_, value)| {
                        i64::from_le_bytes(value.try_into().unwrap())
                    })
                };
                let (first, second) = (sum(2), sum(3));
                assert!((0..=1).contains(&(first - second)), "{first} {second}");
                let mut expected = Rows::new();
                for partition in [0, 1] {
                    replay(
                        partition,
                        snapshot.sequences[usize::from(partition)],
                        &mut expected,
                    );
                }
                assert!(found == expected, "at {:?}", snapshot.sequences);
            }
        }));
        done.store(true, Ordering::Release);
        compared.unwrap();
    });
}

pub(super) fn a_snapshot_holds_still_and_lets_go(engine: &dyn Engine) {
    committed(engine, vec![put("a", "1", None), put("b", "1", None)]);
    let mut first = engine.snapshot().wait().unwrap();
    committed(
        engine,
        vec![put("a", "2", None), delete("b", None), put("c", "2", None)],
    );
    engine.flush().wait().unwrap();
    let at = |key: &str| (P.0, key.as_bytes().to_vec());
    let expected: Rows = [(at("a"), (1, b"1".to_vec())), (at("b"), (1, b"1".to_vec()))].into();
    assert_eq!(read_out(&mut first), expected);
    drop(first);
    let mut second = engine.snapshot().wait().unwrap();
    let expected: Rows = [(at("a"), (2, b"2".to_vec())), (at("c"), (2, b"2".to_vec()))].into();
    assert_eq!(read_out(&mut second), expected);
    drop(second);
    drop(engine.snapshot().wait().unwrap());
    engine.close().wait().unwrap();
    let closed = engine.snapshot().wait().map(|_| ());
    assert!(matches!(closed, Err(StoreError::Unavailable { .. })));
}
