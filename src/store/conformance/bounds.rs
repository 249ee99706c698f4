//! The bounds of an engine: pages of a scan that miss nothing, and keys, values and batches that are too large.
//!
//! Invariant: what is refused changes nothing.
use super::*;

pub fn pages_are_ordered_and_miss_nothing(engine: &dyn Engine) {
    for number in (0..25).rev() {
        committed(
            engine,
            vec![
                put(&format!("k/{number:02}"), "v", None),
                put(&format!("l{number}"), "v", None),
            ],
        );
    }
    committed(
        engine,
        vec![
            delete("k/03", None),
            Change::Put {
                key: vec![0xFF; 20],
                value: vec![1],
                expected: None,
            },
        ],
    );
    let (mut after, mut keys, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = engine
            .scan(
                P,
                Scan {
                    prefix: b"k/".to_vec(),
                    after: after.clone(),
                    limit: 10,
                },
            )
            .wait()
            .unwrap();
        pages += 1;
        keys.extend(
            page.iter()
                .map(|(key, _)| String::from_utf8(key.clone()).unwrap()),
        );
        if page.len() < 10 {
            break;
        }
        after = page.last().map(|(key, _)| key.clone());
    }
    let expected: Vec<String> = (0..25)
        .filter(|number| *number != 3)
        .map(|number| format!("k/{number:02}"))
        .collect();
    assert_eq!((keys, pages), (expected, 3));
    let scan = |prefix: &[u8], after: Option<&[u8]>, limit| {
        engine
            .scan(
                P,
                Scan {
                    prefix: prefix.to_vec(),
                    after: after.map(<[u8]>::to_vec),
                    limit,
                },
            )
            .wait()
            .unwrap()
            .len()
    };
    assert_eq!(
        (
            scan(b"", None, 1_000),
            scan(&[0xFF], None, 9),
            scan(b"k/", Some(b"a"), 99)
        ),
        (50, 1, 24)
    );
    assert_eq!(
        (
            scan(b"k/", Some(b"z"), 99),
            scan(b"", None, 0),
            scan(b"zz", None, 9)
        ),
        (0, 0, 0)
    );
    assert_eq!(scan(b"", None, usize::MAX), 50);
}

pub fn limits_are_refused(engine: &dyn Engine) {
    let refused = |changes| matches!(commit(engine, P, changes), Err(StoreError::TooLarge { .. }));
    let large = |key: usize, value: usize| Change::Put {
        key: vec![b'k'; key],
        value: vec![1; value],
        expected: None,
    };
    assert!(refused(vec![large(KEY_BYTES_MAX + 1, 1)]));
    assert!(refused(vec![large(1, VALUE_BYTES_MAX + 1)]));
    assert!(refused((0..5).map(|_| large(1, VALUE_BYTES_MAX)).collect()));
    committed(
        engine,
        (7..10).map(|key| large(key, VALUE_BYTES_MAX)).collect(),
    );
    committed(
        engine,
        vec![
            large(KEY_BYTES_MAX, 0),
            Change::Put {
                key: vec![],
                value: vec![],
                expected: None,
            },
        ],
    );
    engine.flush().wait().unwrap();
    assert_eq!(
        engine
            .read(P, &[b'k'; 9])
            .wait()
            .unwrap()
            .unwrap()
            .value
            .len(),
        VALUE_BYTES_MAX
    );
    assert_eq!(engine.read(P, b"").wait().unwrap().unwrap().value.len(), 0);
}
