//! Scanning: the overlay's values over the records on disk, in ascending order of keys.
//!
//! Invariant: a page is a snapshot of its partition. The partition is not held still while the disk is read, which takes milliseconds that every
//! decision of the partition would wait for; a page during which something in it changed is read again, at last with the partition held.

use std::cmp::Ordering;

use super::overlay::Overlay;
use super::shared::Shared;
use crate::store::memory::lower_bound;
use crate::store::{Bytes, Partition, Rows, SCAN_ROWS_MAX, Scan, StoreError, Stored};

/// Readings of a page before its partition is held still.
const READINGS_MAX: usize = 3;

/// Changed values of a page in order of keys; nothing for a deleted key.
type ChangedRows = Vec<(Bytes, Option<Stored>)>;

/// One page.
pub(super) fn page(
    shared: &Shared,
    partition: Partition,
    request: &Scan,
) -> Result<Rows, StoreError> {
    for _ in 0..READINGS_MAX {
        let mut overlay = shared.overlay(partition.0)?;
        let changed = changed(&mut overlay, request);
        let (sequence, dropped) = (overlay.sequence, overlay.dropped);
        drop(overlay);
        let rows = merged(shared, partition, request, changed)?;
        let mut overlay = shared.overlay(partition.0)?;
        // What was folded since may have been read as it is now, or be gone.
        if overlay.dropped == dropped && !has_changed(&mut overlay, request, &rows, sequence) {
            return Ok(rows);
        }
    }
    let mut overlay = shared.overlay(partition.0)?;
    let changed = changed(&mut overlay, request);
    let rows = merged(shared, partition, request, changed);
    drop(overlay);
    rows
}

fn limit(request: &Scan) -> usize {
    request.limit.min(SCAN_ROWS_MAX)
}

/// The changed values that a page can hold, deleted keys between them included.
fn changed(overlay: &mut Overlay, request: &Scan) -> ChangedRows {
    let mut rows = ChangedRows::new();
    let mut living = 0;
    let all = overlay.dirty.range(lower_bound(request));
    for (key, dirty) in all.take_while(|(key, _)| key.starts_with(&request.prefix)) {
        if living == limit(request) {
            break;
        }
        living += usize::from(dirty.value.is_some());
        rows.push((Bytes::clone(key), dirty.stored()));
    }
    rows
}

/// Whether anything that the page covers was changed after a sequence.
fn has_changed(overlay: &mut Overlay, request: &Scan, rows: &Rows, sequence: u64) -> bool {
    // A page that is not full covers all that is left.
    let last = rows.last().filter(|_| rows.len() >= limit(request));
    let is_covered = |key: &Bytes| {
        key.starts_with(&request.prefix)
            && last.is_none_or(|(last, _)| key.as_ref() <= last.as_slice())
    };
    let mut covered = overlay
        .dirty
        .range(lower_bound(request))
        .take_while(|(key, _)| is_covered(key));
    covered.any(|(_, dirty)| dirty.version > sequence)
}

fn merged(
    shared: &Shared,
    partition: Partition,
    request: &Scan,
    changed: ChangedRows,
) -> Result<Rows, StoreError> {
    shared.with_disk(|disk| {
        let mut changed = changed.into_iter().peekable();
        let mut kept = disk
            .records
            .range(partition.0, lower_bound(request))
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
    })
}
