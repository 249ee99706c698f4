//! What is left of a damaged run: every entry that can be read, and where something is lost.
//!
//! Invariant: an entry given is one that was written; blocks are found by the index, or, where that does not read, by the length before each.

use std::fs;
use std::path::Path;

use super::block::{self, entry_at};
use super::run::LENGTH_BYTES;
use crate::store::{Bytes, Version};

/// A run that could not be opened, read as far as it goes.
#[derive(Debug, Default)]
pub(in crate::store) struct Rest {
    /// Full key, version, value; nothing for a deleted key.
    pub(in crate::store) entries: Vec<(Vec<u8>, Version, Option<Bytes>)>,
    /// Why not more.
    pub(in crate::store) lost: Option<String>,
}

/// Reads the blocks of a file whose index does not read, one after the other.
pub(in crate::store) fn rest(path: &Path) -> Rest {
    let mut rest = Rest::default();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            rest.lost = Some(format!("{} cannot be read: {error}", path.display()));
            return rest;
        }
    };
    let (mut left, mut plain) = (bytes.as_slice(), Vec::new());
    while let Some((block, behind)) = next_block(left) {
        if block::unseal(block, &mut plain).is_err() {
            break;
        }
        let (mut at, mut key) = (0, Vec::new());
        while let Some(entry) = entry_at(&plain, at, &mut key) {
            let value = entry.value.and_then(|(from, to)| plain.get(from..to));
            rest.entries
                .push((key.clone(), entry.version, value.map(Bytes::from)));
            at = entry.next;
        }
        left = behind;
    }
    // Blocks end where the filter begins, which is no block either: whether some were lost cannot be told.
    rest.lost = Some(format!(
        "{} has no readable index: {} entries were read from its beginning, whatever lay behind byte {} is lost",
        path.display(),
        rest.entries.len(),
        bytes.len() - left.len()
    ));
    rest
}

fn next_block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
