//! Writing a run: entries in ascending order become blocks, index and filter, and the file is synced before anybody hears of it.
//!
//! Invariant: a run that is not finished leaves no file behind, unless the program stops meanwhile; then nobody names it.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::block::Packer;
use super::filter::{self, Filter};
use super::index::Index;
use super::run::{Footer, LENGTH_BYTES, Run, io, path_of};
use crate::store::{StoreError, Version};

/// Bytes of a block before it is compressed: large enough to compress, small enough to be read for one record, of which it
/// holds about ten.
const BLOCK_BYTES: usize = 4 * 1024;
const BUFFER_BYTES: usize = 1024 * 1024;

/// A run being written.
pub(in crate::store) struct RunWriter {
    directory: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    packer: Packer,
    index: Index,
    filter: Filter,
    footer: Footer,
    /// First and last key of the block being packed, and last key of the one before.
    first: Vec<u8>,
    last: Vec<u8>,
    last_before: Vec<u8>,
    is_finished: bool,
}

// === impl RunWriter ===

impl RunWriter {
    /// Creates the file.
    pub(super) fn create(
        directory: &Path,
        number: u64,
        entries_max: u64,
    ) -> Result<RunWriter, StoreError> {
        let path = path_of(directory, number);
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| io(&path, &error))?;
        Ok(RunWriter {
            directory: directory.to_owned(),
            path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            packer: Packer::default(),
            index: Index::default(),
            filter: Filter::for_keys(entries_max),
            footer: Footer {
                number,
                entries: 0,
                deleted: 0,
            },
            first: Vec::new(),
            last: Vec::new(),
            last_before: Vec::new(),
            is_finished: false,
        })
    }

    /// Adds an entry under a full key that lies behind all before; without a value it says that the key was deleted.
    pub(in crate::store) fn push(
        &mut self,
        full: &[u8],
        version: Version,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if self.packer.len() == 0 {
            full.clone_into(&mut self.first);
        }
        self.packer.push(full, version, value);
        full.clone_into(&mut self.last);
        self.filter.add(filter::hash(full));
        self.footer.entries += 1;
        self.footer.deleted += u64::from(value.is_none());
        if self.packer.len() >= BLOCK_BYTES {
            self.end_block()
        } else {
            Ok(())
        }
    }

    /// Entries so far.
    pub(in crate::store) fn entries(&self) -> u64 {
        self.footer.entries
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        let sealed = self.packer.seal();
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        self.file
            .write_all(&length.to_le_bytes())
            .and_then(|()| self.file.write_all(&sealed))
            .map_err(|error| io(&self.path, &error))?;
        let bytes = (LENGTH_BYTES + sealed.len()) as u64;
        self.index.push(&self.last_before, &self.first, bytes);
        std::mem::swap(&mut self.last_before, &mut self.last);
        Ok(())
    }

    /// Writes the rest and makes it durable.
    pub(in crate::store) fn finish(mut self) -> Result<Run, StoreError> {
        if self.packer.len() > 0 {
            self.end_block()?;
        }
        let tail = Run::tail(self.footer, &self.filter, &self.index);
        self.file
            .write_all(&tail)
            .and_then(|()| self.file.flush())
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|error| io(&self.path, &error))?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| io(&self.directory, &error))?;
        let run = Run::open(&self.directory, self.footer.number)?;
        self.is_finished = true;
        Ok(run)
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed now is removed at the next opening.
            let _ = fs::remove_file(&self.path);
        }
    }
}
