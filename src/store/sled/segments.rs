//! The journal's files: rows behind one another, each after its length. A file is begun when the one before is long enough, and goes when everything in
//! it has been folded.
//!
//! Invariant: a group lies in one file, and a file is synced before the next is begun, so only the last can end in the middle of something. What stands
//! behind the last whole group there was never acknowledged; it is dropped once the opening has found nothing missing.

mod frames;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use self::frames::{Frame, Frames, LENGTH_BYTES, framed};
use super::disk::sync_whole;
use super::journal::{Group, Place, Row};
use crate::store::StoreError;

/// The directory of the journal's files, in that of the store.
pub(super) const JOURNAL: &str = "journal";
/// Length from which another file is begun, bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const EXTENSION: &str = "rows";
/// Of a file that is being written anew.
const EXTENSION_NEW: &str = "new";

/// A file, as far as it holds whole groups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    path: PathBuf,
    /// Number of its first row.
    first: u64,
    /// The number behind its last one.
    end: u64,
    /// Where its last whole group ends, bytes.
    bytes: u64,
    /// A row behind that, which says that more had been durable before it was written.
    witness: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are no longer written to, ascending.
    finished: VecDeque<Segment>,
    /// The one that is.
    current: Option<(Segment, Arc<File>)>,
    /// Whether the next rows begin another file.
    is_cut: bool,
}

/// The files.
#[derive(Debug)]
pub(super) struct Segments {
    directory: PathBuf,
    state: Mutex<State>,
}

// === impl Segment ===

impl Segment {
    fn empty(path: PathBuf, first: u64) -> Self {
        Segment {
            path,
            first,
            end: first,
            bytes: 0,
            witness: None,
        }
    }

    /// What a file holds: whole groups of rows that ascend without a gap, from the number in its name on and below a bound.
    fn read(path: PathBuf, below: u64) -> Result<Segment, StoreError> {
        let mut segment = Segment::empty(path.clone(), first_of(&path).unwrap_or_default());
        let mut frames = Frames::open(&path)?;
        let (mut next, mut before, mut is_broken) = (segment.first, None::<Place>, false);
        while let Some(frame) = frames.next()? {
            let Frame::Row(Row { number, .. }, place, durable) = frame else {
                is_broken = true;
                continue;
            };
            if is_broken || number != next || !place.follows(before) {
                is_broken = true;
                if durable > segment.end && number < below {
                    segment.witness = Some(number);
                }
                continue;
            }
            if number >= below {
                break;
            }
            next += 1;
            before = Some(place);
            if place.is_last() {
                (segment.end, segment.bytes) = (next, frames.position as u64);
            }
        }
        Ok(segment)
    }

    fn rows(&self) -> u64 {
        self.end - self.first
    }

    fn bytes_of_rows(&self) -> u64 {
        self.bytes - LENGTH_BYTES as u64 * self.rows()
    }

    fn all_rows(&self) -> Result<Vec<Row>, StoreError> {
        let mut frames = Frames::open(&self.path)?;
        let mut rows = Vec::new();
        while (frames.position as u64) < self.bytes {
            let Some(Frame::Row(row, ..)) = frames.next()? else {
                return Err(StoreError::passing(format!(
                    "{} changed while it was read",
                    self.path.display()
                )));
            };
            rows.push(row);
        }
        Ok(rows)
    }

    /// Drops what the file holds behind its whole groups, and makes those durable: whoever wrote them may have been stopped before that. Written
    /// anew, since pages that a disk once failed to take pass for clean; in place where there is no room. What is begun and not finished is removed
    /// by whoever trims.
    fn settle(&self) -> io::Result<()> {
        let new = self.path.with_extension(EXTENSION_NEW);
        match self.write_anew(&new) {
            Ok(()) => fs::rename(&new, &self.path),
            Err(error) if matches!(failed(&new, &error), StoreError::Full { .. }) => {
                let file = File::options().write(true).open(&self.path)?;
                file.set_len(self.bytes)?;
                file.sync_all()
            }
            Err(error) => Err(error),
        }
    }

    fn write_anew(&self, new: &Path) -> io::Result<()> {
        let mut kept = File::open(&self.path)?.take(self.bytes);
        let mut file = File::create(new)?;
        io::copy(&mut kept, &mut file)?;
        file.sync_all()
    }

    fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&self.path, &error))
            }
            _ => Ok(()),
        }
    }
}

// === impl Segments ===

impl Segments {
    /// Finds the files of a store and what they hold, or makes their directory. Changes nothing that is there.
    pub(super) fn open(store: &Path) -> Result<Segments, StoreError> {
        let directory = store.join(JOURNAL);
        fs::create_dir_all(&directory).map_err(|error| failed(&directory, &error))?;
        let mut finished = VecDeque::new();
        for path in paths(&directory)? {
            finished.push_back(Segment::read(path, u64::MAX)?);
        }
        Ok(Segments {
            directory,
            state: Mutex::new(State {
                finished,
                ..State::default()
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number behind the last row of a whole group; `None` when there is none.
    pub(super) fn end(&self) -> Option<u64> {
        let state = self.state();
        let current = state.current.iter().map(|(segment, _)| segment);
        let mut segments = state.finished.iter().chain(current).rev();
        segments
            .find(|segment| segment.rows() > 0)
            .map(|segment| segment.end)
    }

    /// Refuses a journal of which something that was durable does not read, where any row from `first` on is behind it.
    ///
    /// # Errors
    /// A row further on says so.
    pub(super) fn check(&self, first: u64) -> Result<(), StoreError> {
        let state = self.state();
        let mut witnessed = state
            .finished
            .iter()
            .filter_map(|segment| Some((segment, segment.witness.filter(|last| *last >= first)?)));
        match witnessed.next() {
            None => Ok(()),
            Some((segment, witness)) => Err(StoreError::Corrupt {
                what: format!(
                    "journal row {} does not read, and was durable before row {witness} was written: acknowledged data is gone. \
                     Nothing was deleted: restore the last backup, or take what is left with hermod repair",
                    segment.end
                ),
                place: segment.path.display().to_string(),
            }),
        }
    }

    /// Every row of whole groups, ascending. Of files just opened.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Row, StoreError>> {
        let segments: Vec<Segment> = self.state().finished.iter().cloned().collect();
        segments
            .into_iter()
            .flat_map(|segment| match segment.all_rows() {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
    }

    /// Drops what was never acknowledged: the rest of a group behind the last whole one, and the rows from `below` on. The rest is durable afterwards.
    /// For files just opened.
    pub(super) fn trim(&self, below: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        while let Some(last) = state.finished.back_mut() {
            if last.end > below {
                *last = Segment::read(last.path.clone(), below)?;
            }
            if last.rows() > 0 {
                last.settle().map_err(|error| failed(&last.path, &error))?;
                break;
            }
            last.remove()?;
            state.finished.pop_back();
        }
        // What a start left that was cut off here.
        for path in files(&self.directory, EXTENSION_NEW)? {
            fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
        }
        sync_whole(&self.directory).map_err(|error| failed(&self.directory, &error))
    }

    /// Appends whole groups in ascending order.
    pub(super) fn append(&self, groups: &[Group]) -> Result<(), StoreError> {
        let Some(first) = groups.iter().flatten().next() else {
            return Ok(());
        };
        let mut state = self.state();
        self.turn_over(&mut state, first.number)?;
        let Some((segment, file)) = &mut state.current else {
            return Ok(());
        };
        let bytes = framed(groups);
        (&**file)
            .write_all(&bytes)
            .map_err(|error| failed(&segment.path, &error))?;
        segment.end += groups.iter().map(|group| group.len() as u64).sum::<u64>();
        segment.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Begins another file where that is due.
    fn turn_over(&self, state: &mut State, first: u64) -> Result<(), StoreError> {
        let is_long = |(segment, _): &(Segment, _)| segment.bytes >= FILE_BYTES_MAX;
        let is_due = state.current.as_ref().is_some_and(is_long) || state.is_cut;
        if is_due && let Some((segment, file)) = state.current.take() {
            file.sync_data()
                .map_err(|error| failed(&segment.path, &error))?;
            state.finished.push_back(segment);
        }
        state.is_cut = false;
        if state.current.is_none() {
            let path = self.directory.join(format!("{first:020}.{EXTENSION}"));
            let file = File::create(&path).map_err(|error| failed(&path, &error))?;
            sync_whole(&self.directory).map_err(|error| failed(&self.directory, &error))?;
            state.current = Some((Segment::empty(path, first), Arc::new(file)));
        }
        Ok(())
    }

    /// Has the next rows begin another file, so that those before can go as a whole.
    pub(super) fn cut(&self) {
        self.state().is_cut = true;
    }

    /// Makes what was appended survive a power cut.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let state = self.state();
        let file = state.current.as_ref().map(|(_, file)| Arc::clone(file));
        // Not held while the disk is waited for.
        drop(state);
        file.map_or(Ok(()), |file| file.sync_data())
            .map_err(|error| failed(&self.directory, &error))
    }

    /// Removes the files of which every row lies before `number`, the first ones first, so that what a power cut leaves is the end; how many rows
    /// and bytes they held.
    pub(super) fn remove_before(&self, number: u64) -> Result<(u64, u64), StoreError> {
        let mut state = self.state();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(segment) = state
            .finished
            .front()
            .filter(|segment| segment.end <= number)
        {
            if let Err(error) = segment.remove() {
                // What is gone is told; the next pass meets the error first.
                return if rows > 0 {
                    Ok((rows, bytes))
                } else {
                    Err(error)
                };
            }
            (rows, bytes) = (rows + segment.rows(), bytes + segment.bytes_of_rows());
            state.finished.pop_front();
        }
        let is_first = state.finished.is_empty();
        let is_over = |(segment, _): &mut (Segment, _)| is_first && segment.end <= number;
        if let Some((segment, _)) = state.current.take_if(is_over) {
            segment.remove()?;
            (rows, bytes) = (rows + segment.rows(), bytes + segment.bytes_of_rows());
        }
        Ok((rows, bytes))
    }

    /// Bytes of the files.
    pub(super) fn bytes(&self) -> u64 {
        let state = self.state();
        let current = state.current.iter().map(|(segment, _)| segment);
        let segments = state.finished.iter().chain(current);
        segments.map(|segment| segment.bytes).sum()
    }
}

/// The files of a journal, ascending.
pub(super) fn paths(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    files(directory, EXTENSION)
}

/// The files of a directory that are named by a number and end so, ascending.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(directory).map_err(|error| failed(directory, &error))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| failed(directory, &error))?;
    let is_wanted = |path: &Path| path.extension().is_some_and(|end| end == extension);
    paths.retain(|path| is_wanted(path) && first_of(path).is_some());
    paths.sort();
    Ok(paths)
}

/// The number of the first row of a file, which is its name.
fn first_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::of_io(&format!("the journal at {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::journal::{Entry, pack_atomically};
    use super::*;
    use crate::store::Bytes;

    fn group(next: u64, bytes: usize) -> Group {
        let entry = Entry {
            partition: 0,
            version: next,
            key: Bytes::from(b"k".as_slice()),
            value: Some(vec![7; bytes].into()),
        };
        pack_atomically(vec![entry], next)
    }

    fn numbers(segments: &Segments) -> Vec<u64> {
        segments.rows().map(|row| row.unwrap().number).collect()
    }

    #[test]
    fn rows_are_found_again_and_files_go_once_all_in_them_lies_before_a_number() {
        let store = TempDir::new().unwrap();
        let segments = Segments::open(store.path()).unwrap();
        assert_eq!((segments.end(), segments.bytes()), (None, 0));
        segments.append(&[group(1, 10), group(2, 10)]).unwrap();
        segments.cut();
        segments.append(&[group(3, 150_000)]).unwrap();
        segments.append(&[group(6, 10)]).unwrap();
        segments.sync().unwrap();
        drop(segments);
        let segments = Segments::open(store.path()).unwrap();
        assert_eq!(numbers(&segments), [1, 2, 3, 4, 5, 6]);
        assert_eq!(segments.end(), Some(7));
        segments.append(&[group(7, 10)]).unwrap();
        let all = segments.bytes();
        assert_eq!(segments.remove_before(2).unwrap(), (0, 0));
        let (rows, bytes) = segments.remove_before(6).unwrap();
        assert_eq!((rows, segments.bytes()), (2, all - bytes - 2 * 4));
        assert_eq!(segments.remove_before(8).unwrap().0, 5);
        assert_eq!((segments.bytes(), segments.end()), (0, None));
        segments.append(&[group(8, 10)]).unwrap();
        assert_eq!(numbers(&Segments::open(store.path()).unwrap()), [8]);
    }

    #[test]
    fn a_long_file_is_followed_by_another() {
        let store = TempDir::new().unwrap();
        let segments = Segments::open(store.path()).unwrap();
        let mut next = 1;
        for _ in 0..3 {
            let long = group(next, FILE_BYTES_MAX as usize);
            next += long.len() as u64;
            segments.append(&[long]).unwrap();
        }
        assert_eq!(paths(&store.path().join(JOURNAL)).unwrap().len(), 3);
        assert_eq!(
            numbers(&segments).len() as u64 + 1,
            next - numbers_of_current(&segments)
        );
    }

    fn numbers_of_current(segments: &Segments) -> u64 {
        let state = segments.state();
        state
            .current
            .as_ref()
            .map_or(0, |(segment, _)| segment.rows())
    }

    #[test]
    fn what_was_never_completed_is_dropped_and_what_was_not_acknowledged_on_request() {
        for cut_at in [1, 5, 70_000] {
            let store = TempDir::new().unwrap();
            let segments = Segments::open(store.path()).unwrap();
            segments.append(&[group(1, 10), group(2, 10)]).unwrap();
            let whole = segments.bytes();
            segments.append(&[group(3, 150_000)]).unwrap();
            drop(segments);
            let path = &paths(&store.path().join(JOURNAL)).unwrap()[0];
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(whole + cut_at).unwrap();
            let segments = Segments::open(store.path()).unwrap();
            assert_eq!((segments.end(), segments.check(1)), (Some(3), Ok(())));
            let length = || fs::metadata(path).unwrap().len();
            assert_eq!(length(), whole + cut_at);
            let left = path.with_file_name("00000000000000000009.new");
            fs::write(&left, b"of a start that was cut off").unwrap();
            segments.trim(u64::MAX).unwrap();
            assert_eq!(length(), whole);
            assert!(!left.exists());
            segments.trim(2).unwrap();
            assert_eq!(numbers(&segments), [1]);
            segments.trim(1).unwrap();
            assert_eq!(segments.end(), None);
            assert!(!path.exists());
        }
    }
}
