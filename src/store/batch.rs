//! What a batch does to a partition, worked out before anything is changed: limits, expected versions, merges.
//!
//! Invariant: [`resolve`] changes nothing, so a refused batch leaves no trace; its effects are plain values, safe to apply again.
//! Engines give the lookup and hold their partition still meanwhile.

use std::sync::Arc;

use super::{
    BATCH_BYTES_MAX, Batch, Bytes, Change, KEY_BYTES_MAX, Merge, Partition, StoreError, Stored,
    VALUE_BYTES_MAX,
};

/// One key's value after the batch; `None` when it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

/// A batch worked out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// This key had another version than expected.
    Conflict(Vec<u8>),
    /// Each key at most once; empty when the batch changes nothing.
    Changed(Vec<Effect>),
}

/// Refuses a batch over the store's limits.
pub(super) fn check_limits(batch: &Batch) -> Result<(), StoreError> {
    let mut batch_bytes = 0_usize;
    for change in &batch.changes {
        let carried = match change {
            Change::Put { value, .. } => value.len(),
            Change::Merge { operand, .. } => operand.len(),
            Change::Delete { .. } => 0,
        };
        check("key", change.key().len(), KEY_BYTES_MAX)?;
        check("value", carried, VALUE_BYTES_MAX)?;
        batch_bytes = batch_bytes
            .saturating_add(change.key().len())
            .saturating_add(carried);
    }
    check("batch", batch_bytes, BATCH_BYTES_MAX)
}

fn check(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), StoreError> {
    if bytes > bytes_max {
        Err(StoreError::TooLarge {
            what,
            bytes,
            bytes_max,
        })
    } else {
        Ok(())
    }
}

/// The keys that a batch changes, ascending, with their values after it.
struct Staged(Vec<(Vec<u8>, Option<Bytes>)>);

// === impl Staged ===

impl Staged {
    /// The value of a key after the changes so far, if one of them was to it; no key behind it has been changed.
    fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        let (last, value) = self.0.last()?;
        (last == key).then_some(value.as_ref())
    }

    /// Sets the value of a key that lies behind all others, or is the last of them.
    fn set(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        match self.0.last_mut() {
            Some((last, before)) if *last == key => *before = value,
            _ => self.0.push((key, value)),
        }
    }
}

/// Works out a batch over the partition that `lookup` reads.
pub(super) fn resolve(
    partition: Partition,
    batch: Batch,
    merge: &dyn Merge,
    mut lookup: impl FnMut(&[u8]) -> Result<Option<Stored>, StoreError>,
) -> Result<Resolved, StoreError> {
    if let Some(key) = unexpected(&batch, &mut lookup)? {
        return Ok(Resolved::Conflict(key.to_owned()));
    }
    let mut changes = batch.changes;
    // Those of one key stay in the order given; between keys the order makes no difference.
    changes.sort_by(|one, other| one.key().cmp(other.key()));
    let mut staged = Staged(Vec::with_capacity(changes.len()));
    for change in changes {
        match change {
            Change::Put { key, value, .. } => staged.set(key, Some(Arc::from(value))),
            Change::Delete { key, .. } => staged.set(key, None),
            Change::Merge { key, operand } => {
                let existing = match staged.get(&key) {
                    Some(value) => value.cloned(),
                    None => lookup(&key)?.map(|stored| stored.value),
                };
                let merged = merge
                    .merge(&key, existing.as_deref(), &operand)
                    .map_err(|error| StoreError::record(partition.0, &key, error.reason))?;
                check(
                    "value",
                    merged.as_ref().map_or(0, Vec::len),
                    VALUE_BYTES_MAX,
                )?;
                staged.set(key, merged.map(Arc::from));
            }
        }
    }
    effects(staged, lookup)
}

/// The first key of a batch that has another version than expected.
fn unexpected<'a>(
    batch: &'a Batch,
    lookup: &mut impl FnMut(&[u8]) -> Result<Option<Stored>, StoreError>,
) -> Result<Option<&'a [u8]>, StoreError> {
    for change in &batch.changes {
        let (Change::Put { key, expected, .. } | Change::Delete { key, expected }) = change else {
            continue;
        };
        let Some(expected) = expected else { continue };
        if lookup(key)?.map_or(0, |stored| stored.version) != *expected {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn effects(
    staged: Staged,
    mut lookup: impl FnMut(&[u8]) -> Result<Option<Stored>, StoreError>,
) -> Result<Resolved, StoreError> {
    let mut effects = Vec::with_capacity(staged.0.len());
    for (key, value) in staged.0 {
        // Removing what is not there must leave no tombstone. What is there but unreadable must be removable.
        if value.is_none() && matches!(lookup(&key), Ok(None)) {
            continue;
        }
        effects.push(Effect {
            key: Arc::from(key),
            value,
        });
    }
    Ok(Resolved::Changed(effects))
}
