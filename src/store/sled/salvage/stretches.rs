//! Reading what can be read of a tree of sled: round damaged stretches, from both sides.

use std::ops::Bound;

use ::sled::Tree;

use super::hex;
use crate::store::StoreError;
use crate::store::sled::guarded::guarded;

/// Most partitions that a store can have.
const PARTITIONS_MAX: u16 = 4_096;
/// Rows read at a time.
const PAGE_ROWS: usize = 1_000;

/// Calls `take` for every key of a tree that can be read, ascending but for what lies behind a damaged stretch; what `take` answers, and
/// stretches that cannot be read, are noted as lost.
pub(super) fn read_all(
    tree: &Tree,
    lost: &mut Vec<String>,
    mut take: impl FnMut(&[u8]) -> Result<Option<String>, StoreError>,
) -> Result<(), StoreError> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let (page, ending) = page(tree, last.as_deref());
        for key in &page {
            lost.extend(take(key)?);
        }
        last = page.into_iter().last().or(last);
        let error = match ending {
            Ending::More => continue,
            Ending::End => return Ok(()),
            Ending::Damaged(error) => error,
        };
        let behind = behind_damage(tree, last.as_deref().unwrap_or_default());
        let from = last
            .as_deref()
            .map_or_else(|| "the beginning".to_owned(), hex);
        let Some(behind) = behind else {
            lost.push(format!("every key behind {from}: {error}"));
            return Ok(());
        };
        let (found, lowest) = backwards(tree, last.as_deref(), &behind);
        for key in &found {
            lost.extend(take(key)?);
        }
        lost.push(format!("keys between {from} and {}: {error}", hex(&lowest)));
        last = Some(predecessor(behind));
    }
}

enum Ending {
    More,
    End,
    Damaged(StoreError),
}

fn page(tree: &Tree, last: Option<&[u8]>) -> (Vec<Vec<u8>>, Ending) {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = tree.range::<&[u8], _>((from, Bound::Unbounded));
    let mut keys = Vec::new();
    while keys.len() < PAGE_ROWS {
        match guarded(|| rows.next().transpose()) {
            Ok(Some((key, _))) => keys.push(key.to_vec()),
            Ok(None) => return (keys, Ending::End),
            Err(error) => return (keys, Ending::Damaged(error)),
        }
    }
    (keys, Ending::More)
}

/// The nearest key, of those tried, from which reading works again.
fn behind_damage(tree: &Tree, last: &[u8]) -> Option<Vec<u8>> {
    let longer = (1..=last.len())
        .rev()
        .filter_map(|length| successor(last.get(..length)?));
    let partition = last
        .first_chunk::<2>()
        .map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let partitions = (partition..PARTITIONS_MAX).map(|number| (number + 1).to_be_bytes().to_vec());
    longer.chain(partitions).find(|candidate| {
        let mut rows = tree.range(candidate.as_slice()..);
        matches!(guarded(|| rows.next().transpose()), Ok(Some(_)))
    })
}

/// Keys before a bound down to the damage, and the lowest reached.
fn backwards(tree: &Tree, last: Option<&[u8]>, behind: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = tree.range::<&[u8], _>((from, Bound::Excluded(behind)));
    let (mut keys, mut lowest) = (Vec::new(), behind.to_vec());
    while let Ok(Some((key, _))) = guarded(|| rows.next_back().transpose()) {
        lowest = key.to_vec();
        keys.push(key.to_vec());
    }
    (keys, lowest)
}

/// The next key of the same length.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        if *byte < u8::MAX {
            *byte += 1;
            return Some(next);
        }
        *byte = 0;
    }
    None
}

/// A key that nothing lies between it and the given one, for going on with that one included.
fn predecessor(key: Vec<u8>) -> Vec<u8> {
    let mut before = key;
    match before.pop() {
        None | Some(0) => before,
        Some(byte) => {
            before.push(byte - 1);
            // Longer than any key may be, so nothing sorts in between.
            before.resize(before.len() + crate::store::KEY_BYTES_MAX + 2, u8::MAX);
            before
        }
    }
}
