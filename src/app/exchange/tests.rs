//! What goes out comes back: over another number of partitions, from every kept sample, and never from a damaged file.

use std::io::BufReader;
use std::sync::Arc;

use super::*;
use crate::app::Loader;
use crate::domain::cell::Cell;
use crate::domain::name::{RecipientKey, TenantId};
use crate::domain::recipient::Recipient;
use crate::store::records::{self, RecipientCount};
use crate::store::{Change, Engine, MemoryEngine, Partition, Scan};

fn engine(partitions: u16) -> MemoryEngine {
    MemoryEngine::new(partitions, Arc::new(MergeRecords))
}

/// A third that no finite number of decimals tells, in two parts of one cell, and recipients all over.
fn fill(engine: &dyn Engine) {
    let mut loader = Loader::new(engine);
    let cell = Cell {
        as_of_ms: 5,
        value_sum: 0.1 + 0.2,
        value_square_sum: f64::MIN_POSITIVE / 3.0,
        ..Cell::default()
    };
    for partition in 0..engine.partitions() {
        let merge = Change::Merge {
            key: [key::CELLS, &[0; 17]].concat(),
            operand: records::encode(&cell).unwrap(),
        };
        loader.push(Partition(partition), merge).unwrap();
    }
    for number in 0..200_u32 {
        let recipient = RecipientKey::derive(&[7; 32], TenantId(0), &number.to_string());
        let record = Recipient {
            created_at_ms: i64::from(number),
            ..Recipient::default()
        };
        let put = Change::Put {
            key: key::recipient(TenantId(0), recipient),
            value: records::encode(&record).unwrap(),
            expected: Some(0),
        };
        let partition = Partition(recipient.partition(engine.partitions()));
        let counted = Change::Merge {
            key: key::recipient_count(TenantId(0)),
            operand: records::encode(&RecipientCount(1)).unwrap(),
        };
        loader.push(partition, put).unwrap();
        loader.push(partition, counted).unwrap();
    }
    loader.finish().unwrap();
}

/// Recipients of a partition, by its count and as they lie there.
fn recipients_of(engine: &dyn Engine, partition: u16) -> (i64, i64) {
    let at = Partition(partition);
    let key = key::recipient_count(TenantId(0));
    let stored = engine.read(at, &key).wait().unwrap();
    let count = stored.map_or(0, |stored| {
        records::decode::<RecipientCount>(&stored.value).unwrap().0
    });
    let scan = Scan {
        prefix: key::RECIPIENTS.to_vec(),
        after: None,
        limit: 1_000,
    };
    (count, engine.scan(at, scan).wait().unwrap().len() as i64)
}

fn exported(engine: &dyn Engine) -> (String, Exported) {
    let manifest = crate::app::backup_manifest(engine, "x", 7).unwrap();
    let mut snapshot = engine.snapshot().wait().unwrap();
    let mut text = Vec::new();
    let exported = export(&manifest, || Ok(snapshot.rows.next_rows()?), &mut text).unwrap();
    (String::from_utf8(text).unwrap(), exported)
}

/// All lines but the first, in one order.
fn records_of(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().skip(1).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn an_export_imported_into_another_number_of_partitions_exports_the_same() {
    let first = engine(5);
    fill(&first);
    let (text, told) = exported(&first);
    assert_eq!(told.records.get("recipient"), Some(&200));
    assert_eq!(told.records.get("cell"), Some(&1), "five parts are one sum");
    assert_eq!(told.unreadable, Vec::<String>::new());
    for partitions in [1, 3, 32] {
        let second = engine(partitions);
        let imported = import(text.as_bytes(), &second).unwrap();
        assert_eq!(imported.records, told.records);
        assert_eq!(imported.header.partitions, 5);
        assert_eq!(records_of(&exported(&second).0), records_of(&text));
        for partition in 0..partitions {
            let (count, lie_there) = recipients_of(&second, partition);
            assert_eq!(count, lie_there, "partition {partition} of {partitions}");
        }
        let recipient = RecipientKey::derive(&[7; 32], TenantId(0), "9");
        let place = Partition(recipient.partition(partitions));
        let key = key::recipient(TenantId(0), recipient);
        let found = second.read(place, &key);
        assert!(
            found.wait().unwrap().is_some(),
            "found where it is looked for"
        );
    }
}

#[test]
fn numbers_that_json_cannot_hold_travel_as_bytes() {
    let cell = Cell {
        value_sum: f64::INFINITY,
        ..Cell::default()
    };
    let first = engine(1);
    let mut loader = Loader::new(&first);
    let put = Change::Put {
        key: [key::CELLS, &[0; 17]].concat(),
        value: records::encode(&cell).unwrap(),
        expected: None,
    };
    loader.push(Partition(0), put).unwrap();
    loader.finish().unwrap();
    let (text, _) = exported(&first);
    assert!(text.contains("\"bytes\":"), "{text}");
    let second = engine(2);
    import(text.as_bytes(), &second).unwrap();
    let key = [key::CELLS, &[0; 17]].concat();
    let stored = second.read(Partition(0), &key);
    let read: Cell = records::decode(&stored.wait().unwrap().unwrap().value).unwrap();
    assert_eq!(read.value_sum, f64::INFINITY);
}

#[test]
fn a_cut_changed_or_foreign_file_is_refused_with_its_line() {
    let first = engine(2);
    fill(&first);
    let (text, _) = exported(&first);
    let refused = |text: &str| {
        let refused = import(BufReader::new(text.as_bytes()), &engine(2));
        refused.unwrap_err().to_string()
    };
    let cut: String = text
        .lines()
        .take(50)
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(refused(&cut).contains("it was cut"), "{}", refused(&cut));
    let without_one: String = text
        .lines()
        .enumerate()
        .filter(|(at, _)| *at != 7)
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    assert!(
        refused(&without_one).contains("201 records came"),
        "{}",
        refused(&without_one)
    );
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert!(refused(&newer).contains("version 2"));
    let unknown = text.replacen("\"kind\":\"recipient\"", "\"kind\":\"rabbit\"", 1);
    assert!(
        refused(&unknown).starts_with("line "),
        "{}",
        refused(&unknown)
    );
    let misplaced = text.replacen("\"key\":\"72", "\"key\":\"ff", 1);
    assert!(
        refused(&misplaced).contains("key"),
        "{}",
        refused(&misplaced)
    );
    for foreign in ["", "{}", "\u{0}\u{1}", "{\"kind\":\"other\"}"] {
        assert!(refused(foreign).contains("no export"), "{foreign}");
    }
}

#[test]
fn unreadable_rows_are_named_and_the_rest_goes_out() {
    let first = engine(1);
    fill(&first);
    let mut loader = Loader::new(&first);
    let put = Change::Put {
        key: b"r-damaged".to_vec(),
        value: vec![4, 2, 0, 0, 0, 0, 9],
        expected: None,
    };
    loader.push(Partition(0), put).unwrap();
    loader.finish().unwrap();
    let (_, told) = exported(&first);
    assert_eq!(told.unreadable.len(), 1, "{told:?}");
    assert_eq!(told.records.get("recipient"), Some(&200));
}
