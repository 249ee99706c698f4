//! A backup reads back what was written, and any cut or flipped bit of it is found.

use std::sync::Arc;

use super::shelf::Shelf;
use super::*;
use crate::store::conformance::{Counting, commit, put};
use crate::store::{MemoryEngine, Partition, SnapshotRow};

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        name: "b-1".into(),
        program: "0".into(),
        created_at_ms: 7,
        partitions: 0,
        sequences: Vec::new(),
        recipient_key_fingerprint: "00".into(),
    }
}

fn engine(keys: usize, value_bytes: usize) -> MemoryEngine {
    let engine = MemoryEngine::new(3, Arc::new(Counting));
    for number in 0..keys {
        let value = format!("{number}/").repeat(value_bytes / 4 + 1);
        let partition = Partition((number % 3) as u16);
        commit(
            &engine,
            partition,
            vec![put(&format!("k{number}"), &value, None)],
        )
        .unwrap();
    }
    engine
}

fn written(engine: &MemoryEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(engine, manifest(), &mut bytes, |_| true).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<SnapshotRow>, BackupError> {
    let mut reader = BackupReader::open(bytes)?;
    let mut rows = Vec::new();
    while let Some(block) = reader.next_block()? {
        rows.extend(block);
    }
    Ok(rows)
}

#[test]
fn a_backup_holds_every_row_of_the_snapshot_over_many_blocks() {
    let engine = engine(300, 9_000);
    let rows = read(&written(&engine)).unwrap();
    let mut snapshot = engine.snapshot().wait().unwrap();
    let mut expected = Vec::new();
    loop {
        let page = snapshot.rows.next_rows().unwrap();
        if page.is_empty() {
            break;
        }
        expected.extend(page);
    }
    assert_eq!(rows.len(), 300);
    assert!(rows == expected);
    let (manifest, totals) = BackupReader::open(written(&engine).as_slice())
        .unwrap()
        .verify()
        .unwrap();
    assert_eq!((manifest.partitions, totals.rows), (3, 300));
    assert_eq!(manifest.sequences, [100; 3]);
}

#[test]
fn a_backup_cut_anywhere_or_with_any_bit_flipped_is_refused() {
    let bytes = written(&engine(20, 40));
    assert!(read(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut at {length}");
    }
    for at in 0..bytes.len() {
        for bit in [1, 128] {
            let mut flipped = bytes.clone();
            flipped[at] ^= bit;
            assert!(read(&flipped).is_err(), "byte {at}");
        }
    }
    assert!(read(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn a_backup_of_a_newer_format_is_named_as_such() {
    let newer = Manifest {
        format: FORMAT + 1,
        ..manifest()
    };
    let mut bytes = Vec::new();
    BackupWriter::new(&mut bytes, &newer)
        .unwrap()
        .finish()
        .unwrap();
    let found = BackupReader::open(bytes.as_slice()).err().unwrap();
    assert!(matches!(found, BackupError::NewerFormat { found: 2 }));
}

#[test]
fn the_shelf_keeps_whole_backups_and_clears_away_what_a_crash_left() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(directory.path());
    let engine = engine(5, 4);
    let put = |name: &str, at_ms| {
        let manifest = Manifest {
            name: name.into(),
            created_at_ms: at_ms,
            ..manifest()
        };
        shelf.put(name, |sink| {
            write_snapshot(&engine, manifest, sink, |_| true)
        })
    };
    put("old", 1).unwrap();
    put("new", 2).unwrap();
    let failed = shelf.put("half", |_| Err::<(), _>(BackupError::Stopped));
    assert!(failed.is_err());
    std::fs::write(directory.path().join("left.draft"), b"x").unwrap();
    std::fs::write(directory.path().join("other.hermod-backup"), b"x").unwrap();
    let shelf = Shelf::open(directory.path());
    let names: Vec<String> = shelf
        .list()
        .into_iter()
        .map(|shelved| shelved.manifest.name)
        .collect();
    assert_eq!(names, ["new", "old"]);
    assert!(!directory.path().join("left.draft").exists());
    assert!(shelf.get("../old").is_none() && shelf.get("old").is_some());
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut shelf.read_from("old", 8).unwrap(), &mut rest).unwrap();
    assert_eq!(rest.len() as u64 + 8, shelf.get("old").unwrap().bytes);
    assert!(shelf.remove("old").unwrap() && !shelf.remove("old").unwrap());
}
