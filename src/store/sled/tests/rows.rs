//! The journal on disk: rows that stay behind, that are missing, that were changed, that were never completed, and those that sled has from before.

use std::path::PathBuf;

use tempfile::TempDir;

use super::super::journal::Row;
use super::super::segments::{JOURNAL, Segments, framed};
use super::super::*;
use super::{open, raw, unfolded};
use crate::store::conformance::{Counting, Model, add, commit, delete, put, sum, text};
use crate::store::envelope::seal;

fn journal_files(options: &SledOptions) -> Vec<PathBuf> {
    segments::paths(&options.directory.join(JOURNAL)).unwrap()
}

/// The rows of a store that nobody has open.
fn rows(options: &SledOptions) -> Vec<Row> {
    let segments = Segments::open(&options.directory).unwrap();
    segments.rows().map(Result::unwrap).collect()
}

/// Writes a file of rows.
fn write(options: &SledOptions, rows: &[Row]) {
    let name = format!("{:020}.rows", rows[0].number);
    let path = options.directory.join(JOURNAL).join(name);
    std::fs::write(path, framed(&[rows.to_vec()])).unwrap();
}

/// Replaces the files by one of these rows.
fn rewrite(options: &SledOptions, rows: &[Row]) {
    for path in journal_files(options) {
        std::fs::remove_file(path).unwrap();
    }
    write(options, rows);
}

fn forget_mark(options: &SledOptions) {
    std::fs::remove_file(options.directory.join("mark")).unwrap();
}

fn refusal(options: &SledOptions) -> String {
    match SledEngine::open(options.clone(), Arc::new(Counting)) {
        Err(error @ StoreError::Corrupt { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it opened"),
    }
}

/// A store whose journal has so many rows, each acknowledged before the next, of which each adds its number to a sum.
fn of_rows(options: &SledOptions, count: i64) {
    let engine = open(options);
    for number in 1..=count {
        commit(&engine, Partition(1), vec![add("n", number)]).unwrap();
        engine.flush().wait().unwrap();
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
    let stale = rows(&options);
    assert_eq!(stale.len(), 1);
    let engine = open(&options);
    commit(&engine, Partition(1), vec![delete("a", None), add("n", 1)]).unwrap();
    engine.close().wait().unwrap();
    assert_eq!(journal_files(&options), Vec::<PathBuf>::new());
    write(&options, &stale);
    // The stale row does not reach up to the first row still needed; what it holds is older than the records.
    let engine = open(&options);
    assert_eq!(
        (text(&engine, "a"), sum(&engine, Partition(1), "n")),
        (None, 2)
    );
    commit(&engine, Partition(1), vec![put("a", "new", Some(0))]).unwrap();
    let stored = engine.read(Partition(1), b"a").wait().unwrap().unwrap();
    assert!(stored.version > 2);
    engine.close().wait().unwrap();
    assert_eq!(journal_files(&options), Vec::<PathBuf>::new());
}

#[test]
fn a_flipped_bit_or_a_missing_row_in_the_journal_is_refused_aloud_and_nothing_is_changed() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    of_rows(&options, 3);
    let good = rows(&options);
    let mut changed = good.clone();
    changed[1].bytes[20] ^= 4;
    let mut missing = good.clone();
    missing.remove(1);
    for with_mark in [true, false] {
        if !with_mark {
            forget_mark(&options);
        }
        for bad in [&changed, &missing] {
            rewrite(&options, bad);
            let before = std::fs::read(&journal_files(&options)[0]).unwrap();
            let refused = refusal(&options);
            assert!(
                refused.contains("row 2 does not read") && refused.contains("hermod repair"),
                "{refused}"
            );
            assert_eq!(std::fs::read(&journal_files(&options)[0]).unwrap(), before);
        }
    }
    rewrite(&options, &good);
    assert_eq!(sum(&open(&options), Partition(1), "n"), 6);
}

#[test]
fn a_last_row_that_does_not_read_is_refused_where_the_mark_has_it_and_else_was_never_acknowledged()
{
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    of_rows(&options, 3);
    let mut bad = rows(&options);
    bad[2].bytes.pop();
    rewrite(&options, &bad);
    let refused = refusal(&options);
    assert!(refused.contains("rows up to 3 were durable"), "{refused}");
    forget_mark(&options);
    for more in [10, 20] {
        let engine = open(&options);
        commit(&engine, Partition(1), vec![add("n", more)]).unwrap();
        engine.flush().wait().unwrap();
    }
    assert_eq!(sum(&open(&options), Partition(1), "n"), 33);
}

#[test]
fn a_file_of_the_journal_that_is_gone_is_missed() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    for number in 1..=3 {
        let engine = open(&options);
        commit(&engine, Partition(1), vec![add("n", number)]).unwrap();
        engine.flush().wait().unwrap();
    }
    let files = journal_files(&options);
    assert_eq!(files.len(), 3, "each opening begins one");
    for (gone, told) in [
        (0, "row 1 is missing before row 2"),
        (1, "row 2 is missing before row 3"),
        (2, "rows up to 3 were durable"),
    ] {
        let kept = std::fs::read(&files[gone]).unwrap();
        std::fs::remove_file(&files[gone]).unwrap();
        let refused = refusal(&options);
        assert!(refused.contains(told), "{refused}");
        std::fs::write(&files[gone], kept).unwrap();
    }
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
    let mut kept = rows(&options);
    assert!(kept.len() >= 4);
    kept.pop();
    rewrite(&options, &kept);
    // The mark follows the end of a group, so a stop before that end finds an older one.
    forget_mark(&options);
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

/// A row as it was written when sled had the journal.
fn earlier_row(row: &Row) -> Vec<u8> {
    let payload = &row.bytes[6..];
    seal(0xF0, 1, &[&payload[..16], &payload[24..]].concat())
}

#[test]
fn a_journal_in_sled_is_replayed_goes_on_in_files_and_is_folded_away() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let mut model = Model::default();
    let engine = open(&options);
    model.history(&engine, 71, 150);
    engine.flush().wait().unwrap();
    drop(engine);
    let of_sled = || raw(&options).open_tree("journal").unwrap();
    {
        let database = raw(&options);
        let journal = database.open_tree("journal").unwrap();
        for row in rows(&options) {
            journal
                .insert(row.number.to_be_bytes(), earlier_row(&row))
                .unwrap();
        }
        let format = seal(0xF1, 1, &4_u16.to_le_bytes());
        let meta = database.open_tree("meta").unwrap();
        meta.insert("format", format).unwrap();
        database.flush().unwrap();
    }
    for path in journal_files(&options) {
        std::fs::remove_file(path).unwrap();
    }
    let engine = open(&options);
    model.compare(&engine);
    model.history(&engine, 72, 50);
    engine.flush().wait().unwrap();
    drop(engine);
    assert!(!of_sled().is_empty() && journal_files(&options).len() == 1);
    let format = raw(&options).open_tree("meta").unwrap().get("format");
    assert_eq!(format.unwrap().unwrap()[1], 2, "earlier versions refuse it");
    let mut salvaged = 0;
    let found = salvage(&copy_of(&options, &directory), |_| {
        salvaged += 1;
        Ok(())
    });
    assert_eq!(
        found.unwrap().lost,
        ["the store's own row \"folded\" is missing"]
    );
    assert!(salvaged > 10, "{salvaged}");
    let engine = open(&options);
    model.compare(&engine);
    engine.close().wait().unwrap();
    assert!(of_sled().is_empty() && journal_files(&options).is_empty());
    model.compare(&open(&options));
}

fn copy_of(options: &SledOptions, directory: &TempDir) -> PathBuf {
    let to = directory.path().join("copy");
    super::struck::copy(&options.directory, &to);
    to
}

#[test]
fn salvage_reads_round_a_row_that_does_not_read_and_tells_of_it() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    let engine = open(&options);
    for number in 0..3 {
        let key = format!("k{number}");
        commit(&engine, Partition(1), vec![put(&key, "value", None)]).unwrap();
        engine.flush().wait().unwrap();
    }
    drop(engine);
    let mut bad = rows(&options);
    bad[1].bytes[20] ^= 4;
    rewrite(&options, &bad);
    let mut keys = Vec::new();
    let found = salvage(&options.directory, |row| {
        keys.push(String::from_utf8(row.key.to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    assert_eq!(
        (keys, found.journal_rows),
        (vec!["k0".into(), "k2".into()], 2)
    );
    let told = |text| found.lost.iter().any(|lost| lost.contains(text));
    assert!(
        told("bytes of") && told("rows 2 to 2 are missing"),
        "{:?}",
        found.lost
    );
}

type Strike<'a> = &'a dyn Fn(&mut [u8]);

#[test]
fn a_damaged_length_or_a_stretch_of_zeros_hides_nothing_that_was_durable() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    of_rows(&options, 40);
    forget_mark(&options);
    let path = journal_files(&options).remove(0);
    let good = std::fs::read(&path).unwrap();
    let row_bytes = 4 + rows(&options)[0].bytes.len();
    let strikes: [Strike<'_>; 4] = [
        &|bytes| bytes[3 * row_bytes] ^= 1,
        &|bytes| bytes[3 * row_bytes + 3] ^= 64,
        &|bytes| bytes[3 * row_bytes..9 * row_bytes + 7].fill(0),
        &|bytes| bytes[..row_bytes + 2].fill(0xF0),
    ];
    for strike in strikes {
        let mut bad = good.clone();
        strike(&mut bad);
        std::fs::write(&path, &bad).unwrap();
        let refused = refusal(&options);
        assert!(refused.contains("does not read"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), bad, "nothing is changed");
        let copied = TempDir::new().unwrap();
        let found = salvage(&copy_of(&options, &copied), |_| Ok(())).unwrap();
        assert!(found.journal_rows >= 33, "{found:?}");
    }
    std::fs::write(&path, good).unwrap();
    assert_eq!(sum(&open(&options), Partition(1), "n"), 820);
}
