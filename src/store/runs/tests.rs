//! Runs as a whole: what is written reads back by key and in order, over several runs, over merging, and where files are damaged.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

type Rows = BTreeMap<Vec<u8>, (Version, Option<Vec<u8>>)>;

fn write(runs: &Runs, rows: &Rows) -> Arc<Run> {
    let mut writer = runs.writer(rows.len() as u64).unwrap();
    for (key, (version, value)) in rows {
        writer
            .push(&full_key(1, key), *version, value.as_deref())
            .unwrap();
    }
    Arc::new(writer.finish().unwrap())
}

fn listed(list: &List, from: Bound<&[u8]>) -> Vec<(Vec<u8>, Version, Vec<u8>)> {
    values(list, 1, from)
        .map(|row| row.unwrap())
        .map(|(key, stored)| (key, stored.version, stored.value.to_vec()))
        .collect()
}

fn living(rows: &Rows) -> Vec<(Vec<u8>, Version, Vec<u8>)> {
    rows.iter()
        .filter_map(|(key, (version, value))| Some((key.clone(), *version, value.clone()?)))
        .collect()
}

/// Rows of a step: keys collide between steps, and versions ascend.
fn rows(step: u64, keys: impl Iterator<Item = u64>, bytes: usize) -> Rows {
    keys.map(|key| {
        let value = (key % 7 != step % 7).then(|| vec![step as u8; bytes + key as usize % 9]);
        (key.to_be_bytes().to_vec(), (step, value))
    })
    .collect()
}

#[test]
fn the_youngest_value_counts_by_key_and_in_order_and_after_merging() {
    let directory = TempDir::new().unwrap();
    let runs = Runs::open(directory.path(), &[]).unwrap();
    let (mut model, mut list) = (Rows::new(), Vec::new());
    for step in 1..6 {
        let step_rows = rows(step, (0..4_000).filter(|key| key % step == 0), 40);
        list.push(write(&runs, &step_rows));
        model.extend(step_rows);
    }
    runs.replace(list.clone());
    let check = |runs: &Runs| {
        let list = runs.list().unwrap();
        assert_eq!(listed(&list, Bound::Unbounded), living(&model));
        for key in 0..4_100_u64 {
            let key = key.to_be_bytes();
            let wanted = model.get(key.as_slice()).and_then(|(version, value)| {
                let value = Bytes::from(value.clone()?);
                Some(Stored {
                    version: *version,
                    value,
                })
            });
            assert_eq!(runs.read(1, &key).unwrap(), wanted);
            assert_eq!(runs.read(2, &key).unwrap(), None, "another partition");
        }
        let from = 2_000_u64.to_be_bytes();
        let behind = listed(&list, Bound::Excluded(&from));
        assert!(
            behind
                .iter()
                .all(|(key, ..)| key.as_slice() > from.as_slice())
        );
        let prefix = &from[..7];
        let keys: Vec<Vec<u8>> = keys_under(&list, 1, prefix).map(Result::unwrap).collect();
        let all = living(&model).into_iter().map(|(key, ..)| key);
        let wanted: Vec<Vec<u8>> = all.filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(keys, wanted);
    };
    check(&runs);
    let numbers: Vec<u64> = list.iter().map(|run| run.number()).collect();
    let reopened = Runs::open(directory.path(), &numbers).unwrap();
    check(&reopened);
    let mut writer = reopened.writer(20_000).unwrap();
    let mut merged = Merged::of(&reopened.list().unwrap(), Vec::new(), None);
    while merged.advance().unwrap() {
        if let Some(value) = merged.value() {
            writer
                .push(merged.key(), merged.version(), Some(value))
                .unwrap();
        }
    }
    reopened.replace(vec![Arc::new(writer.finish().unwrap())]);
    check(&reopened);
    assert_eq!(reopened.keys(), living(&model).len() as u64);
    reopened.remove_strays().unwrap();
    assert_eq!(present(directory.path()).unwrap().len(), 1);
    check(&reopened);
}

#[test]
fn an_unfinished_run_leaves_no_file_and_its_number_is_not_used_again() {
    let directory = TempDir::new().unwrap();
    let runs = Runs::open(directory.path(), &[]).unwrap();
    drop(runs.writer(5).unwrap());
    assert!(present(directory.path()).unwrap().is_empty());
    let run = write(&runs, &rows(1, 1..9, 4));
    assert_eq!(run.number(), 2);
    let again = Runs::open(directory.path(), &[]).unwrap();
    assert_eq!(write(&again, &rows(1, 1..9, 4)).number(), 3);
}

#[test]
fn a_value_larger_than_a_block_reads_back() {
    let directory = TempDir::new().unwrap();
    let runs = Runs::open(directory.path(), &[]).unwrap();
    let rows = rows(1, 1..20, 1_000_000);
    runs.replace(vec![write(&runs, &rows)]);
    assert_eq!(
        listed(&runs.list().unwrap(), Bound::Unbounded),
        living(&rows)
    );
    assert!(runs.bytes() < 1_000_000, "alike bytes are compressed");
}

/// Flips one bit of a run's file, and tells what became of it.
fn struck(at: usize) -> (usize, usize) {
    let directory = TempDir::new().unwrap();
    let runs = Runs::open(directory.path(), &[]).unwrap();
    let written = rows(1, 0..900, 30);
    let number = write(&runs, &written).number();
    let path = run::path_of(directory.path(), number);
    let mut bytes = fs::read(&path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1 << (at % 8);
    fs::write(&path, bytes).unwrap();
    match Runs::open(directory.path(), &[number]) {
        Err(error) => {
            assert!(error.to_string().contains("hermod repair"), "{error}");
            let rest = rest(&path);
            let wanted = living(&written);
            let found = rest.entries.iter().filter_map(|(full, version, value)| {
                let key = split(full)?.1.to_vec();
                Some((key, *version, value.as_ref()?.to_vec()))
            });
            let found: Vec<_> = found.collect();
            assert_eq!(found, wanted, "blocks are found without the index");
            (1, 0)
        }
        Ok(runs) => {
            let mut told = 0;
            for (key, (version, value)) in &written {
                match runs.read(1, key) {
                    Err(StoreError::Corrupt { .. }) => told += 1,
                    Err(error) => panic!("{error}"),
                    Ok(None) => assert!(value.is_none()),
                    Ok(Some(stored)) => {
                        assert_eq!(
                            (stored.version, Some(stored.value.to_vec())),
                            (*version, value.clone())
                        );
                    }
                }
            }
            let list = runs.list().unwrap();
            let errors = values(&list, 1, Bound::Unbounded)
                .filter(Result::is_err)
                .count();
            assert_eq!(errors > 0, told > 0);
            (0, told)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_flipped_bit_is_refused_or_told_and_never_answered(at: usize) {
        let (refused, told) = struck(at);
        // The length before a block is for whoever reads without the index.
        prop_assert!(refused + told <= 900);
    }
}

#[test]
fn a_missing_a_cut_and_a_foreign_file_are_refused() {
    let directory = TempDir::new().unwrap();
    let runs = Runs::open(directory.path(), &[]).unwrap();
    let number = write(&runs, &rows(1, 0..900, 30)).number();
    let path = run::path_of(directory.path(), number);
    let whole = fs::read(&path).unwrap();
    let refused = |what: &str| {
        let error = Runs::open(directory.path(), &[number]).err().unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    for bytes in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..bytes]).unwrap();
        refused("");
    }
    fs::write(run::path_of(directory.path(), number + 1), &whole).unwrap();
    assert!(Runs::open(directory.path(), &[number + 1]).is_err());
    fs::remove_file(&path).unwrap();
    refused("missing");
}
