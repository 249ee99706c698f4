//! What only an engine on disk has to show: it passes the suite, and nothing acknowledged is lost over stops, damage and a failing disk.

use tempfile::TempDir;

mod failing;
mod struck;

use super::*;
use crate::store::Change;
use crate::store::conformance::{Counting, Model, add, commit, conforms, delete, put, sum, text};

fn options(directory: &TempDir) -> SledOptions {
    SledOptions {
        // Some of the keys of random histories come and go.
        passing_prefix: b"s/1".to_vec(),
        partitions: 4,
        cache_bytes: 16 * 1024 * 1024,
        records_bytes: 64 * 1024,
        fold_interval: Duration::from_millis(5),
        // A long run folds several times, so that most of the file is records.
        fold_after_bytes: 64 * 1024 * 1024,
        ..SledOptions::new(directory.path().join("store"))
    }
}

fn open(options: &SledOptions) -> SledEngine {
    SledEngine::open(options.clone(), Arc::new(Counting)).unwrap()
}

/// Folding only when asked for: the journal keeps everything.
fn unfolded(directory: &TempDir) -> SledOptions {
    SledOptions {
        fold_interval: Duration::from_secs(3_600),
        ..options(directory)
    }
}

fn raw(options: &SledOptions) -> ::sled::Db {
    disk::open_database(&options.directory.join("sled"), options.cache_bytes).unwrap()
}

#[test]
fn the_sled_engine_conforms_while_folding_all_the_time() {
    conforms(|| {
        let directory = TempDir::new().unwrap();
        (open(&options(&directory)), directory)
    });
}

#[test]
fn the_sled_engine_conforms_from_its_journal_alone() {
    conforms(|| {
        let directory = TempDir::new().unwrap();
        (open(&unfolded(&directory)), directory)
    });
}

#[test]
fn reopening_equals_the_model_whether_closed_or_dropped() {
    for (seed, options_of) in [(1, options as fn(&TempDir) -> SledOptions), (2, unfolded)] {
        let directory = TempDir::new().unwrap();
        let options = options_of(&directory);
        let mut model = Model::default();
        for round in 0..12 {
            let engine = open(&options);
            model.compare(&engine);
            model.history(&engine, seed * 100 + round, 150);
            if round % 3 == 1 {
                folder::pass(&engine.shared).unwrap();
                model.history(&engine, seed * 200 + round, 50);
            }
            if round % 2 == 0 {
                engine.close().wait().unwrap();
                assert_eq!(engine.statistics().journal_rows, 0);
            } else {
                engine.flush().wait().unwrap();
            }
        }
        model.compare(&open(&options));
    }
}

#[test]
fn a_stop_between_folding_and_removing_rows_repeats_nothing() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    commit(
        &engine,
        Partition(1),
        vec![put("a", "old", None), add("n", 1)],
    )
    .unwrap();
    engine.flush().wait().unwrap();
    drop(engine);
    let stale: Vec<_> = raw(&options)
        .open_tree("journal")
        .unwrap()
        .iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(stale.len(), 1);
    let engine = open(&options);
    commit(&engine, Partition(1), vec![delete("a", None), add("n", 1)]).unwrap();
    engine.close().wait().unwrap();
    {
        let journal = raw(&options).open_tree("journal").unwrap();
        for (number, row) in stale {
            journal.insert(number, row).unwrap();
        }
        journal.flush().unwrap();
    }
    // The stale row does not reach up to the first row still needed; what it holds is older than the records.
    let engine = open(&options);
    assert_eq!(
        (text(&engine, "a"), sum(&engine, Partition(1), "n")),
        (None, 2)
    );
    commit(&engine, Partition(1), vec![put("a", "new", Some(0))]).unwrap();
    assert!(
        engine
            .read(Partition(1), b"a")
            .wait()
            .unwrap()
            .unwrap()
            .version
            > 2
    );
}

#[test]
fn a_flipped_bit_or_a_missing_row_in_the_journal_is_refused_aloud() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    for number in 0..3 {
        commit(&engine, Partition(1), vec![add("n", number + 1)]).unwrap();
        engine.flush().wait().unwrap();
    }
    drop(engine);
    let change = |change: &dyn Fn(&::sled::Tree)| {
        let database = raw(&options);
        change(&database.open_tree("journal").unwrap());
        database.flush().unwrap();
    };
    let key = 2_u64.to_be_bytes();
    let good = raw(&options)
        .open_tree("journal")
        .unwrap()
        .get(key)
        .unwrap()
        .unwrap()
        .to_vec();
    let mut bad = good.clone();
    bad[20] ^= 4;
    change(&|journal| drop(journal.insert(key, bad.clone()).unwrap()));
    let refused = SledEngine::open(options.clone(), Arc::new(Counting)).err();
    assert!(
        matches!(&refused, Some(StoreError::Corrupt { place, what }) if place == "journal row 2" && what.contains("restore")),
        "{refused:?}"
    );
    change(&|journal| drop(journal.remove(key).unwrap()));
    let refused = SledEngine::open(options.clone(), Arc::new(Counting)).err();
    assert!(
        matches!(&refused, Some(StoreError::Corrupt { what, .. }) if what.contains("row 2 is missing")),
        "{refused:?}"
    );
    change(&|journal| drop(journal.insert(key, good.clone()).unwrap()));
    assert_eq!(sum(&open(&options), Partition(1), "n"), 6);
}

#[test]
fn a_large_commit_whose_end_is_missing_never_happened() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    commit(&engine, Partition(1), vec![add("n", 1)]).unwrap();
    engine.flush().wait().unwrap();
    let large = "x".repeat(50_000);
    let changes = ["a", "b", "c"].map(|key| put(key, &large, None));
    commit(
        &engine,
        Partition(1),
        [vec![add("n", 2)], changes.to_vec()].concat(),
    )
    .unwrap();
    engine.flush().wait().unwrap();
    drop(engine);
    {
        let database = raw(&options);
        let journal = database.open_tree("journal").unwrap();
        assert!(journal.len() >= 4);
        journal.pop_max().unwrap();
        database.flush().unwrap();
        // The mark follows the end of a group, so a stop before that end finds an older one.
        std::fs::remove_file(options.directory.join("mark")).unwrap();
    }
    for _ in 0..2 {
        let engine = open(&options);
        assert_eq!(
            (sum(&engine, Partition(1), "n"), text(&engine, "a")),
            (1, None)
        );
        commit(&engine, Partition(1), vec![add("m", 1)]).unwrap();
        engine.flush().wait().unwrap();
    }
    assert_eq!(sum(&open(&options), Partition(1), "m"), 2);
}

#[test]
fn large_values_lie_in_pieces_that_go_with_them_and_never_in_files_of_their_own() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let pieces = || raw(&options).open_tree("pieces").unwrap().len();
    let large = |letter: &str, bytes| letter.repeat(bytes);
    let step = |changes: Vec<Change>| {
        let engine = open(&options);
        commit(&engine, Partition(1), changes).unwrap();
        engine.close().wait().unwrap();
    };
    step(
        (0..40)
            .map(|number| put(&format!("k{number}"), &large("x", 200_000), None))
            .take(20)
            .collect(),
    );
    step(vec![
        put("k1", &large("y", 100_000), None),
        put("k", &large("z", 40_000), None),
        put("k2", "small", None),
    ]);
    assert_eq!(pieces(), 18 * 7 + 4 + 2);
    let engine = open(&options);
    assert_eq!(
        (text(&engine, "k1"), text(&engine, "k2").as_deref()),
        (Some(large("y", 100_000)), Some("small"))
    );
    let page = engine
        .scan(
            Partition(1),
            Scan {
                prefix: b"k".to_vec(),
                limit: 99,
                ..Scan::default()
            },
        )
        .wait()
        .unwrap();
    assert_eq!(
        (page.len(), page[0].1.value.len(), page[1].1.value.len()),
        (21, 40_000, 200_000)
    );
    drop(engine);
    step(
        (0..20)
            .map(|number| delete(&format!("k{number}"), None))
            .collect(),
    );
    assert_eq!(pieces(), 2);
    assert_eq!(
        std::fs::read_dir(options.directory.join("sled/blobs"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_damaged_record_on_disk_spoils_only_itself() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let engine = open(&options);
    commit(
        &engine,
        Partition(1),
        vec![put("a", "1", None), put("b", "2", None)],
    )
    .unwrap();
    engine.close().wait().unwrap();
    {
        let database = raw(&options);
        database
            .open_tree("records")
            .unwrap()
            .insert([0, 1, b'a'], &[1, 2, 3])
            .unwrap();
        database.flush().unwrap();
    }
    let engine = open(&options);
    assert!(matches!(
        engine.read(Partition(1), b"a").wait(),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(matches!(
        commit(&engine, Partition(1), vec![add("a", 1)]),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(matches!(
        engine
            .scan(
                Partition(1),
                Scan {
                    limit: 9,
                    ..Scan::default()
                }
            )
            .wait(),
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(text(&engine, "b").as_deref(), Some("2"));
    commit(&engine, Partition(1), vec![delete("a", None)]).unwrap();
    assert_eq!(text(&engine, "a"), None);
}

#[test]
fn a_newer_format_and_a_store_in_use_are_refused_with_what_to_do() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let engine = open(&options);
    let second = SledEngine::open(options.clone(), Arc::new(Counting)).err();
    assert!(
        matches!(&second, Some(StoreError::Unavailable { reason, retryable: false }) if reason.contains("in use")),
        "{second:?}"
    );
    drop(engine);
    let other_number = SledOptions {
        partitions: 99,
        ..options.clone()
    };
    assert_eq!(open(&other_number).partitions(), 4);
    {
        let newer = crate::store::envelope::seal(0xF1, 9, &[4, 0, 7]);
        let database = raw(&options);
        database
            .open_tree("meta")
            .unwrap()
            .insert("format", newer)
            .unwrap();
        database.flush().unwrap();
    }
    let refused = SledEngine::open(options, Arc::new(Counting)).err();
    assert_eq!(
        refused,
        Some(StoreError::NewerFormat {
            found: 9,
            supported: 1
        })
    );
}
