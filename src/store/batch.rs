//! What a batch does to a partition, worked out before anything is changed: limits, expected versions, merges.
//!
//! Invariant: [`resolve`] changes nothing, so a refused batch leaves no trace; its effects are plain values, safe to apply again.
//! Engines give the lookup and hold their partition still meanwhile.

use std::sync::Arc;

use super::{
    BATCH_BYTES_MAX, Batch, Bytes, Change, KEY_BYTES_MAX, Merge, Partition, StoreError, Stored,
    VALUE_BYTES_MAX, Version,
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

/// The keys that a batch changes, ascending, with their values after it. Most batches have a handful; long ones come in order of keys.
struct Staged(Vec<(Vec<u8>, Option<Bytes>)>);

// === impl Staged ===

impl Staged {
    fn with_capacity(changes: usize) -> Self {
        Self(Vec::with_capacity(changes))
    }

    /// The place of a key, or where it would be.
    fn place(&self, key: &[u8]) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if last.as_slice() < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(at, _)| at.as_slice().cmp(key)),
        }
    }

    /// The value of a key after the changes so far, if one of them was to it.
    fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        let place = self.place(key).ok()?;
        self.0.get(place).map(|(_, value)| value.as_ref())
    }

    fn insert(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        match self.place(&key) {
            Ok(place) => {
                if let Some((_, before)) = self.0.get_mut(place) {
                    *before = value;
                }
            }
            Err(place) => self.0.insert(place, (key, value)),
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
    let mut staged = Staged::with_capacity(batch.changes.len());
    for change in batch.changes {
        match change {
            Change::Put {
                key,
                value,
                expected,
            } => {
                if !matches_expected(&key, expected, &mut lookup)? {
                    return Ok(Resolved::Conflict(key));
                }
                staged.insert(key, Some(Arc::from(value)));
            }
            Change::Delete { key, expected } => {
                if !matches_expected(&key, expected, &mut lookup)? {
                    return Ok(Resolved::Conflict(key));
                }
                staged.insert(key, None);
            }
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
                staged.insert(key, merged.map(Arc::from));
            }
        }
    }
    effects(staged, lookup)
}

fn matches_expected(
    key: &[u8],
    expected: Option<Version>,
    lookup: &mut impl FnMut(&[u8]) -> Result<Option<Stored>, StoreError>,
) -> Result<bool, StoreError> {
    let Some(expected) = expected else {
        return Ok(true);
    };
    Ok(lookup(key)?.map_or(0, |stored| stored.version) == expected)
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
