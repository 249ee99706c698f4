//! Scanning: the overlay's values over those of the runs, in ascending order of keys.
//!
//! Invariant: a page is a snapshot of its partition: the changed values and the list of runs are taken under one hold of it, and neither changes
//! afterwards. The partition is not held while the disk is read, which every decision of it would wait for.

use std::cmp::Ordering;
use std::iter::Peekable;

use super::overlay::Overlay;
use super::shared::Shared;
use crate::store::memory::lower_bound;
use crate::store::runs::{List, values};
use crate::store::{Bytes, Partition, Rows, SCAN_ROWS_MAX, Scan, StoreError, Stored};

/// Changed values of a page in order of keys; nothing for a deleted key.
type ChangedRows = Vec<(Bytes, Option<Stored>)>;

/// One page.
pub(super) fn page(
    shared: &Shared,
    partition: Partition,
    request: &Scan,
) -> Result<Rows, StoreError> {
    let mut overlay = shared.overlay(partition.0)?;
    let changed = changed(&mut overlay, request);
    // What leaves the overlay from here on is in younger runs than these, and was copied.
    let list = shared.runs.list()?;
    drop(overlay);
    merged(&list, partition, request, changed)
}

fn limit(request: &Scan) -> usize {
    request.limit.min(SCAN_ROWS_MAX)
}

/// The changed values that a page can hold, deleted keys between them included.
fn changed(overlay: &mut Overlay, request: &Scan) -> ChangedRows {
    let mut rows = ChangedRows::new();
    let mut living = 0;
    for (key, dirty) in overlay.dirty.range(lower_bound(request), &request.prefix) {
        if living == limit(request) {
            break;
        }
        living += usize::from(dirty.value.is_some());
        rows.push((Bytes::clone(key), dirty.stored()));
    }
    rows
}

fn merged(
    list: &List,
    partition: Partition,
    request: &Scan,
    changed: ChangedRows,
) -> Result<Rows, StoreError> {
    let kept = values(list, partition.0, lower_bound(request)).take_while(|row| {
        row.as_ref()
            .map_or(true, |(key, _)| key.starts_with(&request.prefix))
    });
    Overlaid::new(changed.into_iter(), kept)
        .take(limit(request))
        .collect()
}

/// Changed values over those of runs, both ascending: each living key once.
pub(super) struct Overlaid<C: Iterator, K: Iterator> {
    changed: Peekable<C>,
    kept: Peekable<K>,
}

// === impl Overlaid ===

impl<C: Iterator, K: Iterator> Overlaid<C, K> {
    pub(super) fn new(changed: C, kept: K) -> Self {
        Self {
            changed: changed.peekable(),
            kept: kept.peekable(),
        }
    }
}

impl<C, K> Iterator for Overlaid<C, K>
where
    C: Iterator<Item = (Bytes, Option<Stored>)>,
    K: Iterator<Item = Result<(Vec<u8>, Stored), StoreError>>,
{
    type Item = Result<(Vec<u8>, Stored), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.changed.peek(), self.kept.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) | (Some(_), Some(Err(_))) => Ordering::Greater,
                (Some((changed, _)), Some(Ok((kept, _)))) => changed.as_ref().cmp(kept.as_slice()),
            };
            if order == Ordering::Greater {
                return self.kept.next();
            }
            if order == Ordering::Equal {
                self.kept.next();
            }
            if let Some((key, Some(stored))) = self.changed.next() {
                return Some(Ok((key.to_vec(), stored)));
            }
        }
    }
}
