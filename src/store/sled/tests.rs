//! What only an engine on disk has to show: it passes the suite, and nothing acknowledged is lost over stops, damage and a failing disk.

use tempfile::TempDir;

mod earlier;
mod failing;
mod rows;
mod struck;

use super::*;
use crate::store::Change;
use crate::store::conformance::{Counting, Model, add, commit, conforms, delete, put, text};

fn options(directory: &TempDir) -> SledOptions {
    SledOptions {
        // Some of the keys of random histories come and go.
        passing_prefix: b"s/1".to_vec(),
        partitions: 4,
        cache_bytes: 16 * 1024 * 1024,
        records_bytes: 64 * 1024,
        fold_interval: Duration::from_millis(5),
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

fn run_files(options: &SledOptions) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(options.directory.join("runs")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn large_values_are_read_replaced_and_deleted_and_their_room_is_given_back() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let noise = |bytes: usize, seed: u64| -> String {
        let mut state = seed + 1;
        let letter = move |_| char::from(b'a' + (struck::next(&mut state) % 26) as u8);
        (0..bytes).map(letter).collect()
    };
    let step = |changes: Vec<Change>| {
        let engine = open(&options);
        commit(&engine, Partition(1), changes).unwrap();
        engine.close().wait().unwrap();
    };
    let first = (0..20).map(|number| put(&format!("k{number}"), &noise(200_000, number), None));
    step(first.take(15).collect());
    step(vec![
        put("k1", &noise(100_000, 77), None),
        put("k", &noise(40_000, 78), None),
        put("k2", "small", None),
    ]);
    let engine = open(&options);
    assert_eq!(
        (text(&engine, "k1"), text(&engine, "k2").as_deref()),
        (Some(noise(100_000, 77)), Some("small"))
    );
    let everything = Scan {
        prefix: b"k".to_vec(),
        limit: 99,
        ..Scan::default()
    };
    let page = engine.scan(Partition(1), everything).wait().unwrap();
    assert_eq!(
        (page.len(), page[0].1.value.len(), page[1].1.value.len()),
        (16, 40_000, 200_000)
    );
    let before = engine.statistics().stored_bytes;
    engine.close().wait().unwrap();
    step(
        (0..20)
            .map(|number| delete(&format!("k{number}"), None))
            .collect(),
    );
    let engine = open(&options);
    assert!(compactor::merge_all(&engine.shared).unwrap());
    assert_eq!(
        (run_files(&options).len(), engine.statistics().keys),
        (1, 1)
    );
    assert!(engine.statistics().stored_bytes + 1_000_000 < before);
    assert_eq!(text(&engine, "k"), Some(noise(40_000, 78)));
}

#[test]
fn runs_are_merged_while_commits_go_on_and_nothing_is_lost() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let mut model = Model::default();
    let engine = open(&options);
    for round in 0..40 {
        model.history(&engine, 900 + round, 60);
        folder::pass(&engine.shared).unwrap();
    }
    // The compactor is at work as well: who comes second waits, and looks for what is left to be merged.
    while compactor::pass(&engine.shared).unwrap() {}
    model.compare(&engine);
    assert!(run_files(&options).len() < 12, "{:?}", run_files(&options));
    engine.close().wait().unwrap();
    let engine = open(&options);
    model.compare(&engine);
    compactor::merge_all(&engine.shared).unwrap();
    model.compare(&engine);
}

#[test]
fn at_a_clean_stop_large_files_of_sled_are_replaced_and_an_interrupted_renewal_is_finished() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let sled = options.directory.join("sled");
    let bytes = || std::fs::metadata(sled.join("db")).unwrap().len();
    let mut model = Model::default();
    let engine = open(&options);
    model.history(&engine, 41, 100);
    engine.flush().wait().unwrap();
    drop(engine);
    {
        // As when sled had more than the store's own rows.
        let database = raw(&options);
        let noise = database.open_tree("noise").unwrap();
        for number in 0..50_u64 {
            let mut state = number + 1;
            let value: Vec<u8> = (0..1_000_000)
                .map(|_| struck::next(&mut state) as u8)
                .collect();
            noise.insert(number.to_be_bytes(), value).unwrap();
            database.flush().unwrap();
        }
        database.drop_tree("noise").unwrap();
        database.flush().unwrap();
    }
    let engine = open(&options);
    model.compare(&engine);
    assert!(bytes() > 32 << 20, "{}", bytes());
    engine.close().wait().unwrap();
    assert!(bytes() < 9 << 20, "{}", bytes());
    let rename = |from: &str, to: &str| {
        let at = |name: &str| options.directory.join(name);
        std::fs::rename(at(from), at(to)).unwrap();
    };
    // As a stop between the two renamings leaves it, and one before them.
    rename("sled", "sled.new");
    std::fs::create_dir(options.directory.join("sled.old")).unwrap();
    for _ in 0..2 {
        let engine = open(&options);
        commit(&engine, Partition(2), vec![put("later", "1", None)]).unwrap();
        engine.close().wait().unwrap();
        assert!(!options.directory.join("sled.old").exists());
        std::fs::create_dir(options.directory.join("sled.new")).unwrap();
    }
    let engine = open(&options);
    commit(&engine, Partition(2), vec![delete("later", None)]).unwrap();
    model.compare(&engine);
    assert_eq!(engine.health(), Ok(()));
}

#[test]
fn after_an_opening_values_are_read_into_memory_as_far_as_there_is_room() {
    let directory = TempDir::new().unwrap();
    let options = SledOptions {
        warm_prefix: b"k".to_vec(),
        records_bytes: 256 * 1024,
        ..unfolded(&directory)
    };
    let engine = open(&options);
    let all = (0..600).map(|number| put(&format!("k{number}"), &"v".repeat(100), None));
    let others = [put("a", "1", None), put("z", "1", None)];
    commit(&engine, Partition(1), all.chain(others).collect()).unwrap();
    engine.close().wait().unwrap();
    let engine = open(&options);
    warming::run(&engine.shared);
    let known = |key: &str| {
        let mut overlay = engine.shared.overlay(1).unwrap();
        overlay.find(key.as_bytes()).is_some()
    };
    let warm = (0..600)
        .filter(|number| known(&format!("k{number}")))
        .count();
    // Half of a quarter of 256 KiB, of some 216 bytes each.
    assert!((120..=152).contains(&warm), "{warm}");
    assert!(!known("a") && !known("z"));
    assert_eq!(text(&engine, "k7"), Some("v".repeat(100)));
    commit(&engine, Partition(1), vec![put("k1", "new", None)]).unwrap();
    warming::run(&engine.shared);
    folder::pass(&engine.shared).unwrap();
    warming::run(&engine.shared);
    assert_eq!(text(&engine, "k1").as_deref(), Some("new"));
}

#[test]
fn warming_remembers_no_older_value_where_the_younger_one_does_not_read() {
    let directory = TempDir::new().unwrap();
    let options = SledOptions {
        warm_prefix: b"k".to_vec(),
        records_bytes: 1024 * 1024,
        ..unfolded(&directory)
    };
    let engine = open(&options);
    for value in ["old", "new"] {
        commit(&engine, Partition(1), vec![put("k1", value, None)]).unwrap();
        folder::pass(&engine.shared).unwrap();
    }
    engine.close().wait().unwrap();
    let younger = run_files(&options).pop().unwrap();
    let mut bytes = std::fs::read(&younger).unwrap();
    bytes[12] ^= 4;
    std::fs::write(&younger, bytes).unwrap();
    let engine = open(&options);
    warming::run(&engine.shared);
    let read = engine.read(Partition(1), b"k1").wait();
    assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
}

#[test]
fn files_of_runs_that_nobody_names_are_removed_and_named_ones_are_missed() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    commit(&engine, Partition(1), vec![put("a", "1", None)]).unwrap();
    engine.close().wait().unwrap();
    let named = run_files(&options).remove(0);
    let stray = named.with_file_name("000000000777.run");
    std::fs::copy(&named, &stray).unwrap();
    let engine = open(&options);
    assert!(!stray.exists());
    commit(&engine, Partition(1), vec![put("b", "2", None)]).unwrap();
    engine.close().wait().unwrap();
    assert!(run_files(&options).contains(&named.with_file_name("000000000778.run")));
    std::fs::remove_file(&named).unwrap();
    let refused = SledEngine::open(options, Arc::new(Counting)).err();
    assert!(
        matches!(&refused, Some(StoreError::Corrupt { what, .. }) if what.contains("missing") && what.contains("hermod repair")),
        "{refused:?}"
    );
}

#[test]
fn damage_in_a_run_spoils_only_what_lies_there() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    commit(&engine, Partition(1), vec![put("a", "1", None)]).unwrap();
    folder::pass(&engine.shared).unwrap();
    commit(&engine, Partition(1), vec![put("b", "2", None)]).unwrap();
    engine.close().wait().unwrap();
    let first = run_files(&options).remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[12] ^= 4;
    std::fs::write(&first, bytes).unwrap();
    let engine = open(&options);
    assert!(matches!(
        engine.read(Partition(1), b"a").wait(),
        Err(StoreError::Corrupt { .. })
    ));
    assert!(matches!(
        commit(&engine, Partition(1), vec![add("a", 1)]),
        Err(StoreError::Corrupt { .. })
    ));
    let everything = Scan {
        limit: 9,
        ..Scan::default()
    };
    assert!(matches!(
        engine.scan(Partition(1), everything).wait(),
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(text(&engine, "b").as_deref(), Some("2"));
    assert!(compactor::merge_all(&engine.shared).is_err());
    commit(&engine, Partition(1), vec![delete("a", None)]).unwrap();
    assert_eq!(text(&engine, "a"), None);
    engine.close().wait().unwrap();
    assert_eq!(text(&open(&options), "a"), None);
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
            supported: 2
        })
    );
}
