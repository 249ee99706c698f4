//! The journal's rows: which value each key had after which commit; a physical redo log that may be replayed any number of times.
//!
//! Invariant: each commit lies wholly in one group of rows, every row knows its place in its group, and a group whose end is missing was never
//! acknowledged. Within a row only the last value of a key is kept, which nobody can tell apart. Where rows are kept is left to `segments`.

use foldhash::HashMap;

use crate::store::batch::Effect;
use crate::store::envelope::{KIND_ENGINE_FIRST, open, seal_with};
use crate::store::{Bytes, StoreError};

/// Largest stretch of a group in one row, in bytes; measured: one row of 64 KiB costs about as much as one of 64 bytes.
pub(super) const ROW_BYTES_MAX: usize = 60 * 1024;
const KIND: u8 = KIND_ENGINE_FIRST;
/// The first did not say what was durable.
const VERSION: u8 = 2;
const ENTRY_BYTES: usize = 2 + 8 + 2 + 4;
const GONE: u32 = u32::MAX;

/// One commit on its way to the disk.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) partition: u16,
    pub(super) version: u64,
    pub(super) effects: Vec<Effect>,
}

// === impl Commit ===

impl Commit {
    /// Bytes of its keys and values.
    pub(super) fn bytes(&self) -> usize {
        let of = |effect: &Effect| entry_bytes(&effect.key, effect.value.as_ref());
        self.effects.iter().map(of).sum()
    }
}

/// One key's value as replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: u16,
    pub(super) version: u64,
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

/// A row under its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

/// Where a row stands in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    part: u32,
    parts: u32,
}

impl Place {
    /// Whether the group is complete up to here.
    pub(super) fn is_last(self) -> bool {
        self.part + 1 == self.parts
    }

    /// Whether this may stand behind a row at `before`.
    pub(super) fn follows(self, before: Option<Place>) -> bool {
        match before {
            Some(before) if !before.is_last() => {
                self.parts == before.parts && self.part == before.part + 1
            }
            _ => self.part == 0,
        }
    }
}

/// A row as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    /// Its number.
    pub(super) number: u64,
    /// Where it stands in its group.
    pub(super) place: Place,
    /// Every row before this number was durable when this one was written.
    pub(super) durable: u64,
    /// Its stretch of the group.
    pub(super) stretch: &'a [u8],
}

/// Rows that count only together; mostly one.
pub(super) type Group = Vec<Row>;

/// Packs commits, in order, into groups of rows numbered from `next` upwards, which are written when all before `next` are durable.
pub(super) fn pack(commits: Vec<Commit>, next: u64) -> Vec<Group> {
    let mut packer = Packer {
        next,
        durable: next,
        ..Packer::default()
    };
    for commit in commits {
        packer.add(commit);
    }
    packer.finish_group();
    packer.groups
}

/// Packs entries into one group: their bytes, cut into as many rows as it takes. It is written when all before `next` are durable.
pub(super) fn pack_atomically(entries: Vec<Entry>, next: u64) -> Group {
    group(entries, next, next)
}

fn group(entries: Vec<Entry>, next: u64, durable: u64) -> Group {
    let stream = encode(&entries);
    let stretches: Vec<&[u8]> = stream.chunks(ROW_BYTES_MAX).collect();
    let parts = stretches.len() as u32;
    (0..parts)
        .zip(stretches)
        .map(|(part, stretch)| {
            row(Read {
                number: next + u64::from(part),
                place: Place { part, parts },
                durable,
                stretch,
            })
        })
        .collect()
}

#[derive(Default)]
struct Packer {
    next: u64,
    durable: u64,
    groups: Vec<Group>,
    open: HashMap<(u16, Bytes), (u64, Option<Bytes>)>,
    open_bytes: usize,
}

impl Packer {
    fn add(&mut self, commit: Commit) {
        if self.open_bytes + commit.bytes() > ROW_BYTES_MAX {
            self.finish_group();
        }
        for Effect { key, value } in commit.effects {
            self.open_bytes += entry_bytes(&key, value.as_ref());
            let key_bytes = key.len();
            if let Some((_, old)) = self
                .open
                .insert((commit.partition, key), (commit.version, value))
            {
                self.open_bytes -= ENTRY_BYTES + key_bytes + old.map_or(0, |old| old.len());
            }
        }
    }

    fn finish_group(&mut self) {
        self.open_bytes = 0;
        let entries: Vec<Entry> = self
            .open
            .drain()
            .map(|((partition, key), (version, value))| Entry {
                partition,
                version,
                key,
                value,
            })
            .collect();
        let group = group(entries, self.next, self.durable);
        self.next += group.len() as u64;
        if !group.is_empty() {
            self.groups.push(group);
        }
    }
}

fn entry_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    ENTRY_BYTES + key.len() + value.map_or(0, |value| value.len())
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(ROW_BYTES_MAX);
    for entry in entries {
        stream.extend_from_slice(&entry.partition.to_le_bytes());
        stream.extend_from_slice(&entry.version.to_le_bytes());
        // Keys and values are bounded far below these widths when they are committed.
        stream.extend_from_slice(&(entry.key.len() as u16).to_le_bytes());
        stream.extend_from_slice(
            &entry
                .value
                .as_ref()
                .map_or(GONE, |value| value.len() as u32)
                .to_le_bytes(),
        );
        stream.extend_from_slice(&entry.key);
        stream.extend_from_slice(entry.value.as_deref().unwrap_or_default());
    }
    stream
}

fn row(read: Read<'_>) -> Row {
    let bytes = 24 + read.stretch.len();
    let sealed = seal_with(KIND, VERSION, bytes, |mut bytes| {
        bytes.extend_from_slice(&read.number.to_le_bytes());
        bytes.extend_from_slice(&read.place.part.to_le_bytes());
        bytes.extend_from_slice(&read.place.parts.to_le_bytes());
        bytes.extend_from_slice(&read.durable.to_le_bytes());
        bytes.extend_from_slice(read.stretch);
        Ok::<_, std::convert::Infallible>(bytes)
    });
    match sealed {
        Ok(bytes) => Row {
            number: read.number,
            bytes,
        },
        Err(never) => match never {},
    }
}

/// A row's place and its stretch of the group; corrupt when it was changed since it was written or lies under another number.
pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<(Place, &[u8]), StoreError> {
    match read(bytes) {
        Ok(read) if read.number == number => Ok((read.place, read.stretch)),
        Ok(_) => Err(damaged(number, "it does not belong there".into())),
        Err(StoreError::Corrupt { what, .. }) => Err(damaged(number, what)),
        Err(error) => Err(error),
    }
}

/// Whether bytes begin as a row does; most others do not.
pub(super) fn begins_row(bytes: &[u8]) -> bool {
    bytes.first() == Some(&KIND)
}

/// A row, whatever its number.
///
/// # Errors
/// It was changed since it was written, or is of a newer format.
pub(super) fn read(bytes: &[u8]) -> Result<Read<'_>, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt {
        what,
        place: "journal".into(),
    };
    let envelope = open(bytes).map_err(|error| corrupt(error.to_string()))?;
    if envelope.kind != KIND {
        return Err(corrupt(format!("it is of kind {}", envelope.kind)));
    }
    if envelope.version > VERSION {
        return Err(StoreError::NewerFormat {
            found: envelope.version.into(),
            supported: VERSION.into(),
        });
    }
    fields(envelope.version, envelope.payload)
        .filter(|read| read.place.part < read.place.parts)
        .ok_or_else(|| corrupt("it does not read as a row".into()))
}

fn fields(version: u8, payload: &[u8]) -> Option<Read<'_>> {
    let (number, rest) = payload.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_first_chunk::<4>()?;
    let (parts, rest) = rest.split_first_chunk::<4>()?;
    let (durable, stretch) = match version {
        1 => (&[0; 8], rest),
        _ => rest.split_first_chunk::<8>()?,
    };
    Some(Read {
        number: u64::from_le_bytes(*number),
        place: Place {
            part: u32::from_le_bytes(*part),
            parts: u32::from_le_bytes(*parts),
        },
        durable: u64::from_le_bytes(*durable),
        stretch,
    })
}

/// The entries of a whole group that ends with the row of that number.
pub(super) fn entries(number: u64, group: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut rest = group;
    while !rest.is_empty() {
        let (entry, after) = next_entry(rest)
            .ok_or_else(|| damaged(number, "it does not read as journal entries".into()))?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

fn damaged(number: u64, what: String) -> StoreError {
    StoreError::Corrupt {
        what: format!(
            "{what}; nothing was changed on disk. Acknowledged data is in this row: keep a copy of the directory, then restore the last backup, or take what is left with hermod repair"
        ),
        place: format!("journal row {number}"),
    }
}

fn next_entry(rest: &[u8]) -> Option<(Entry, &[u8])> {
    let (partition, rest) = rest.split_first_chunk::<2>()?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (key_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_bytes)))?;
    let (value, rest) = match u32::from_le_bytes(*value_bytes) {
        GONE => (None, rest),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Some(Bytes::from(value)), rest)
        }
    };
    let (partition, version) = (u16::from_le_bytes(*partition), u64::from_le_bytes(*version));
    Some((
        Entry {
            partition,
            version,
            key: Bytes::from(key),
            value,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(version: u64, keys: &[(&str, usize)]) -> Commit {
        let effects = keys
            .iter()
            .map(|(key, bytes)| Effect {
                key: key.as_bytes().into(),
                value: Some(vec![7; *bytes].into()),
            })
            .collect();
        Commit {
            partition: 3,
            version,
            effects,
        }
    }

    #[test]
    fn a_hot_key_is_written_once_per_row_with_its_last_version() {
        let groups = pack(
            vec![
                commit(1, &[("hot", 10), ("a", 5)]),
                commit(2, &[("hot", 20)]),
            ],
            9,
        );
        assert_eq!(
            (groups.len(), groups[0].len(), groups[0][0].number),
            (1, 1, 9)
        );
        let (place, stretch) = decode(9, &groups[0][0].bytes).unwrap();
        let mut entries = entries(9, stretch).unwrap();
        assert!(place.is_last() && place.follows(None));
        entries.sort_by_key(|entry| entry.version);
        assert_eq!(
            entries
                .iter()
                .map(|entry| entry.version)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(entries[1].value.as_ref().unwrap().len(), 20);
    }

    #[test]
    fn rows_stay_under_their_size_and_a_large_commit_stays_in_one_group() {
        let small = pack(
            (1..=100)
                .map(|version| commit(version, &[(&format!("k{version}"), 5_000)]))
                .collect(),
            1,
        );
        assert!(
            small
                .iter()
                .flatten()
                .all(|row| row.bytes.len() <= ROW_BYTES_MAX + 64)
        );
        assert!(small.len() > 5 && small.iter().all(|group| group.len() == 1));
        let numbers: Vec<u64> = small.iter().flatten().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=small.len() as u64).collect::<Vec<_>>());
        let large = pack(
            vec![commit(1, &[("a", 50_000), ("b", 50_000), ("c", 50_000)])],
            1,
        );
        assert_eq!((large.len(), large[0].len()), (1, 3));
        let places: Vec<Place> = large[0]
            .iter()
            .map(|row| decode(row.number, &row.bytes).unwrap().0)
            .collect();
        assert!(
            places[1].follows(Some(places[0]))
                && !places[2].follows(Some(places[0]))
                && !places[1].follows(None)
        );
        assert!(!places[1].is_last() && places[2].is_last() && places[0].follows(Some(places[2])));
    }

    #[test]
    fn a_changed_or_misplaced_row_is_corrupt() {
        let row = &pack(vec![commit(1, &[("a", 5)])], 4)[0][0];
        assert!(decode(4, &row.bytes).is_ok());
        assert!(matches!(
            decode(5, &row.bytes),
            Err(StoreError::Corrupt { .. })
        ));
        for at in 0..row.bytes.len() {
            let mut bytes = row.bytes.clone();
            bytes[at] ^= 16;
            assert!(decode(4, &bytes).is_err(), "byte {at}");
        }
    }
}
