//! Scanning: the overlay's values over the records on disk, in ascending order of keys.
//!
//! Invariant: a page is a snapshot of its partition, which is held still while the page is read; the page's bound keeps that short.

use std::cmp::Ordering;

use super::shared::Shared;
use crate::store::memory::lower_bound;
use crate::store::{Partition, Rows, SCAN_ROWS_MAX, Scan, StoreError};

/// One page.
pub(super) fn page(
    shared: &Shared,
    partition: Partition,
    request: &Scan,
) -> Result<Rows, StoreError> {
    let limit = request.limit.min(SCAN_ROWS_MAX);
    let mut overlay = shared.overlay(partition.0)?;
    shared.with_disk(|disk| {
        let from = lower_bound(request);
        let mut changed = overlay
            .dirty
            .range(from)
            .take_while(|(key, _)| key.starts_with(&request.prefix))
            .peekable();
        let mut kept = disk
            .records
            .range(partition.0, from)
            .take_while(|row| {
                row.as_ref()
                    .map_or(true, |(key, _)| key.starts_with(&request.prefix))
            })
            .peekable();
        let mut rows = Rows::new();
        while rows.len() < limit {
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
                    .and_then(|(key, dirty)| Some((key.to_vec(), dirty.stored()?))),
            );
        }
        Ok(rows)
    })
}
