//! Several runs read as one: every key once, in ascending order, with what was said of it last.
//!
//! Invariant: of two values of a key the one of the greater version counts, in whatever order the runs are given. Nothing readable is missed on
//! account of an error; each stretch that cannot be read is told once.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::List;
use super::cursor::Cursor;
use crate::store::{StoreError, Version};

/// The entries of some runs from a full key on, up to another.
pub(in crate::store) struct Merged {
    cursors: Vec<Cursor>,
    to: Option<Vec<u8>>,
    errors: VecDeque<StoreError>,
    current: Option<usize>,
}

impl Merged {
    /// Before the first entry at or behind `from`; it ends before `to`.
    pub(in crate::store) fn of(list: &List, from: Vec<u8>, to: Option<Vec<u8>>) -> Self {
        let mut merged = Merged {
            cursors: Vec::with_capacity(list.len()),
            to,
            errors: VecDeque::new(),
            current: None,
        };
        for run in list.iter().rev() {
            let (mut cursor, mut sought) = Cursor::before(run, &from);
            while let Err(error) = sought {
                merged.errors.push_back(error);
                sought = cursor.advance();
            }
            while cursor.key().is_some_and(|key| key < from.as_slice()) {
                merged.step(&mut cursor);
            }
            merged.cursors.push(cursor);
        }
        merged
    }

    fn step(&mut self, cursor: &mut Cursor) {
        while let Err(error) = cursor.advance() {
            self.errors.push_back(error);
        }
    }

    /// Goes to the next key; whether there is one. An error tells of a stretch that could not be read, and leaves the reading where it was.
    pub(in crate::store) fn advance(&mut self) -> Result<bool, StoreError> {
        if let Some(current) = self.current.take() {
            self.pass(current);
        }
        if let Some(error) = self.errors.pop_front() {
            return Err(error);
        }
        let mut first: Option<(usize, &[u8], Version)> = None;
        for (at, cursor) in self.cursors.iter().enumerate() {
            let Some(key) = cursor.key() else { continue };
            let order = first.map_or(Ordering::Less, |(_, least, version)| {
                key.cmp(least).then(version.cmp(&cursor.version()))
            });
            if order == Ordering::Less {
                first = Some((at, key, cursor.version()));
            }
        }
        let within = first.filter(|(_, key, _)| self.to.as_deref().is_none_or(|to| *key < to));
        self.current = within.map(|(at, _, _)| at);
        Ok(self.current.is_some())
    }

    /// Moves every cursor behind the key that was just given.
    fn pass(&mut self, current: usize) {
        let mut cursors = std::mem::take(&mut self.cursors);
        let (before, from) = cursors.split_at_mut(current);
        if let Some((given, behind)) = from.split_first_mut() {
            for other in before.iter_mut().chain(behind) {
                if other.key().is_some() && other.key() == given.key() {
                    self.step(other);
                }
            }
            self.step(given);
        }
        self.cursors = cursors;
    }

    fn cursor(&self) -> Option<&Cursor> {
        self.cursors.get(self.current?)
    }

    /// The full key it stands at.
    pub(in crate::store) fn key(&self) -> &[u8] {
        self.cursor().and_then(Cursor::key).unwrap_or_default()
    }

    /// Its version.
    pub(in crate::store) fn version(&self) -> Version {
        self.cursor().map_or(0, Cursor::version)
    }

    /// Its value; nothing for a deleted key.
    pub(in crate::store) fn value(&self) -> Option<&[u8]> {
        self.cursor().and_then(Cursor::value)
    }
}
