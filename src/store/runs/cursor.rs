//! A cursor: the entries of one run in ascending order, from a key on.
//!
//! Invariant: after an error it stands behind the block that could not be read, so that whoever goes on misses nothing else.

use std::sync::Arc;

use super::block::{Entry, entry_at};
use super::run::{BlockError, Run};
use crate::store::{StoreError, Version};

/// Where reading stands in a run.
pub(super) struct Cursor {
    run: Arc<Run>,
    /// The block to be read next.
    next_block: usize,
    raw: Vec<u8>,
    plain: Vec<u8>,
    entry: Entry,
    key: Vec<u8>,
    is_at_entry: bool,
}

impl Cursor {
    /// Before the first entry whose full key is at least this.
    pub(super) fn before(run: &Arc<Run>, from: &[u8]) -> (Self, Result<(), StoreError>) {
        let mut cursor = Cursor {
            run: Arc::clone(run),
            next_block: run.index().block_of(from),
            raw: Vec::new(),
            plain: Vec::new(),
            entry: Entry::default(),
            key: Vec::new(),
            is_at_entry: false,
        };
        let mut sought = cursor.advance();
        while sought.is_ok() && cursor.is_at_entry && cursor.key.as_slice() < from {
            sought = cursor.advance();
        }
        (cursor, sought)
    }

    /// The key of the entry it stands at; nothing at the end.
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.is_at_entry.then_some(self.key.as_slice())
    }

    pub(super) fn version(&self) -> Version {
        self.entry.version
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        let (from, to) = self.entry.value?;
        self.plain.get(from..to)
    }

    /// Goes to the next entry, if there is one.
    pub(super) fn advance(&mut self) -> Result<(), StoreError> {
        self.is_at_entry = false;
        while self.entry.next >= self.plain.len() {
            if self.next_block >= self.run.index().len() {
                return Ok(());
            }
            let block = self.next_block;
            self.next_block += 1;
            self.entry = Entry::default();
            self.key.clear();
            let read = self.run.read_block(block, &mut self.raw, &mut self.plain);
            if let Err(error) = read {
                self.plain.clear();
                return Err(self.run.lost_block(block, error));
            }
        }
        match entry_at(&self.plain, self.entry.next, &mut self.key) {
            Some(entry) => {
                self.entry = entry;
                self.is_at_entry = true;
                Ok(())
            }
            None => {
                self.plain.clear();
                let block = self.next_block.saturating_sub(1);
                let error = BlockError::Damaged("its entries do not read".to_owned());
                Err(self.run.lost_block(block, error))
            }
        }
    }
}
