//! Scanning: the overlay's values over those of the runs, in ascending order of keys.
//!
//! Invariant: a page is a snapshot of its partition: the changed values and the list of runs are taken under one hold of it, and neither changes
//! afterwards. The partition is not held while the disk is read, which every decision of it would wait for.

use std::cmp::Ordering;

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
    let mut changed = changed.into_iter().peekable();
    let mut kept = values(list, partition.0, lower_bound(request))
        .take_while(|row| {
            row.as_ref()
                .map_or(true, |(key, _)| key.starts_with(&request.prefix))
        })
        .peekable();
    let mut rows = Rows::new();
    while rows.len() < limit(request) {
        let order = match (changed.peek(), kept.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) | (Some(_), Some(Err(_))) => Ordering::Greater,
            (Some((changed, _)), Some(Ok((kept, _)))) => changed.as_ref().cmp(kept.as_slice()),
        };
        if order == Ordering::Greater {
            rows.extend(kept.next().transpose()?);
            continue;
        }
        if order == Ordering::Equal {
            kept.next();
        }
        rows.extend(
            changed
                .next()
                .and_then(|(key, stored)| Some((key.to_vec(), stored?))),
        );
    }
    Ok(rows)
}
