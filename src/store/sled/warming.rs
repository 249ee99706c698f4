//! Warming: after an opening, values that are asked for often are read into memory, as far as there is room, so that a restart is not felt for long.
//!
//! Invariant: what is remembered is what a read would have found; whatever changes meanwhile is not overwritten. A partition in which something
//! does not read is left cold from there on: behind a damaged stretch of a young run the values of older ones show.

use std::ops::Bound;

use super::shared::Shared;
use crate::store::runs::values;
use crate::store::{StoreError, pace};

/// Values read and remembered under one hold of their partition.
const PAGE: usize = 32;

/// Warms every partition. What cannot be read stays to be told to whoever asks for it.
pub(super) fn run(shared: &Shared) {
    if shared.options.warm_prefix.is_empty() {
        return;
    }
    for partition in 0..shared.partitions() {
        if warm(shared, partition).is_err() {
            return;
        }
    }
}

/// Warms one partition; an error once the store was closed.
fn warm(shared: &Shared, partition: u16) -> Result<(), StoreError> {
    let prefix = &shared.options.warm_prefix;
    let mut from = Bound::Included(prefix.clone());
    loop {
        pace::breathe();
        // Before the runs are looked at: what is folded after that makes what they say old.
        let dropped = shared.overlay(partition)?.dropped;
        let list = shared.runs.list()?;
        let rows = values(&list, partition, from.as_ref().map(Vec::as_slice));
        let page: Vec<_> = rows.take(PAGE).map_while(Result::ok).collect();
        let mut overlay = shared.overlay(partition)?;
        for (key, stored) in &page {
            let has_room = overlay.clean.has_room(key, stored);
            if !key.starts_with(prefix) || !has_room {
                return Ok(());
            }
            overlay.remember(key, dropped, &Some(stored.clone()));
        }
        drop(overlay);
        match page.into_iter().last() {
            Some((last, _)) if !shared.merge_signal.is_stopped() => from = Bound::Excluded(last),
            _ => return Ok(()),
        }
    }
}
