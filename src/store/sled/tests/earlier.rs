//! Stores from before there were runs: they open, nothing is lost, and what is not as it was last written is refused.

use tempfile::TempDir;

use super::super::*;
use super::{open, raw, unfolded};
use crate::store::conformance::{Counting, commit, put, text};
use crate::store::envelope::seal;

/// A row as it was written: version, pieces, value.
fn row(version: u64, pieces: u32, value: &[u8]) -> Vec<u8> {
    [&version.to_le_bytes()[..], &pieces.to_le_bytes(), value].concat()
}

fn piece_key(key: &[u8], version: u64, index: u32) -> Vec<u8> {
    let length = (key.len() as u16).to_be_bytes();
    [
        &[0, 1][..],
        &length,
        key,
        &version.to_be_bytes(),
        &index.to_be_bytes(),
    ]
    .concat()
}

/// A store of four partitions with two records in the second one; `missing` takes one of the rows away afterwards.
fn earlier_store(options: &SledOptions, missing: Option<&[u8]>) {
    let versions: [(&[u8], u64); 2] = [(b"a", 3), (b"large", 5)];
    let sum = versions.iter().fold(0_u64, |sum, (key, version)| {
        sum.wrapping_add(digest::term(1, key, *version))
    });
    let numbers = [1, 2, 0, 4, 8, 0, 5, 0, 0, 1, 0, 1, sum, 1, 0, 1, 0];
    let folded: Vec<u8> = numbers
        .iter()
        .flat_map(|number| u64::to_le_bytes(*number))
        .collect();
    std::fs::create_dir_all(&options.directory).unwrap();
    let database = raw(options);
    let tree = |name: &str| database.open_tree(name).unwrap();
    tree("meta")
        .insert("format", seal(0xF1, 1, &4_u16.to_le_bytes()))
        .unwrap();
    tree("meta")
        .insert("folded", seal(0xF2, 2, &folded))
        .unwrap();
    tree("records")
        .insert([0, 1, b'a'], row(3, 0, b"old"))
        .unwrap();
    tree("records")
        .insert(b"\0\x01large", row(5, 2, b""))
        .unwrap();
    tree("pieces")
        .insert(piece_key(b"large", 5, 0), &b"in two "[..])
        .unwrap();
    tree("pieces")
        .insert(piece_key(b"large", 5, 1), &b"pieces"[..])
        .unwrap();
    if let Some(key) = missing {
        tree("records").remove([&[0, 1][..], key].concat()).unwrap();
    }
    database.flush().unwrap();
}

#[test]
fn an_earlier_store_opens_as_it_was_and_its_trees_are_gone_afterwards() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    earlier_store(&options, None);
    for _ in 0..2 {
        let engine = open(&options);
        assert_eq!(text(&engine, "a").as_deref(), Some("old"));
        assert_eq!(text(&engine, "large").as_deref(), Some("in two pieces"));
        assert_eq!((engine.statistics().keys, engine.partitions()), (2, 4));
        engine.close().wait().unwrap();
    }
    let names = raw(&options).tree_names();
    assert!(
        names
            .iter()
            .all(|name| name.as_ref() != b"records" && name.as_ref() != b"pieces")
    );
    let engine = open(&options);
    commit(&engine, Partition(1), vec![put("a", "new", Some(3))]).unwrap();
    assert_eq!(text(&engine, "a").as_deref(), Some("new"));
}

#[test]
fn an_earlier_store_that_lost_a_row_is_refused_and_salvaged() {
    let directory = TempDir::new().unwrap();
    let options = unfolded(&directory);
    earlier_store(&options, Some(b"a"));
    let refused = SledEngine::open(options.clone(), Arc::new(Counting)).err();
    assert!(
        matches!(&refused, Some(StoreError::Corrupt { what, .. }) if what.contains("older ones show through")),
        "{refused:?}"
    );
    let mut rows = Vec::new();
    let found = salvage(&options.directory, |row| {
        rows.push((row.key.to_vec(), row.stored.value.to_vec()));
        Ok(())
    });
    assert_eq!(rows, [(b"large".to_vec(), b"in two pieces".to_vec())]);
    let lost = found.unwrap().lost;
    assert!(
        lost.iter()
            .any(|lost| lost.contains("older ones show through")),
        "{lost:?}"
    );
}
