//! Opening: the files, the records added up, and the journal replayed into the overlays.
//!
//! Invariant: what is answered afterwards is what was acknowledged before, or the opening refuses and says what to do.

use super::clean::Clean;
use super::counts::Counts;
use super::digest::Digests;
use super::disk::{self, Disk};
use super::meta::{Folded, Format};
use super::overlay::Overlay;
use super::presence::Presence;
use super::shared::Opened;
use super::{SledOptions, journal, mark};
use crate::store::StoreError;

/// Opens or creates a store.
pub(super) fn open(options: &SledOptions) -> Result<Opened, StoreError> {
    let lock = disk::lock(&options.directory)?;
    let disk = Disk::open(&options.directory, options.cache_bytes, 0)?;
    let format = match disk.format()? {
        Some(format) => format,
        None => create(&disk, options)?,
    };
    let folded = disk
        .folded()?
        .unwrap_or_else(|| Folded::nothing(format.partitions));
    let records_bytes = options.records_bytes / u64::from(format.partitions);
    let records_bytes = usize::try_from(records_bytes).unwrap_or(usize::MAX);
    let mut overlays: Vec<Overlay> = (0..usize::from(format.partitions))
        .map(|partition| folded.sequences.get(partition).copied().unwrap_or(0))
        .map(|sequence| Overlay {
            sequence,
            folded_sequence: sequence,
            clean: Clean::new(records_bytes),
            presence: Presence::of(&options.passing_prefix),
            ..Overlay::default()
        })
        .collect();
    if !options.passing_prefix.is_empty() {
        find_passing(&disk, &options.passing_prefix, &mut overlays);
    }
    let counts = Counts::opened(folded.keys);
    disk.trim()?;
    let next_row = replay(&disk, folded.first_row, &mut overlays, &counts)?;
    mark::compare(&options.directory, next_row)?;
    let digests = verified(&disk, format, &folded, options)?;
    Ok(Opened {
        lock,
        disk,
        overlays,
        folded: Folded { digests, ..folded },
        next_row,
        counts,
    })
}

/// Finds which of the keys that come and go are among the records. Where that cannot be read, every key of the partition is looked for.
fn find_passing(disk: &Disk, prefix: &[u8], overlays: &mut [Overlay]) {
    for (partition, overlay) in (0..).zip(overlays) {
        for key in disk.records.keys_under(partition, prefix) {
            match key {
                Ok(key) => overlay.presence.note(&key, true),
                Err(error) => {
                    tracing::error!(%error, "keys cannot be read: hermod check says which, hermod repair takes the others into a new directory");
                    overlay.presence = Presence::default();
                    break;
                }
            }
        }
    }
}

/// What the records come to, which has to be what was stored with the last fold. Of very many it is taken on trust: adding them up would take
/// longer than anybody waits for a start, and `hermod check` does it.
fn verified(
    disk: &Disk,
    format: Format,
    folded: &Folded,
    options: &SledOptions,
) -> Result<Digests, StoreError> {
    let (records, records_max) = (folded.keys, options.verified_records_max);
    if records > records_max {
        tracing::info!(
            records,
            records_max,
            "too many records to add up at a start; hermod check does"
        );
        return Ok(folded.digests.clone());
    }
    let digests = added_up(disk, format.partitions);
    digests.compare(folded, &options.directory)?;
    Ok(digests)
}

/// What the records come to. Where some cannot be read, whoever asks for them is told; the rest is served.
fn added_up(disk: &Disk, partitions: u16) -> Digests {
    let (digests, unreadable) = disk.records.digests(partitions);
    for error in unreadable {
        tracing::error!(%error, "records cannot be read: hermod check says which, hermod repair takes the others into a new directory");
    }
    digests
}

fn create(disk: &Disk, options: &SledOptions) -> Result<Format, StoreError> {
    let format = Format {
        partitions: options.partitions.max(1),
    };
    disk.set_format(format)?;
    disk.sync()?;
    Ok(format)
}

/// Replays the journal into the overlays; the number of the next row. Every row from `first` on has to be there.
fn replay(
    disk: &Disk,
    first: u64,
    overlays: &mut [Overlay],
    counts: &Counts,
) -> Result<u64, StoreError> {
    let mut next = first;
    let mut before = None;
    let mut group = Vec::new();
    for row in disk.journal() {
        let (number, bytes) = row?;
        counts.journal_grown(1, bytes.len() as u64);
        if number < first {
            // Folded already: a stop came before its removal, which the next pass does.
            continue;
        }
        let (place, stretch) = journal::decode(number, &bytes)?;
        if number != next || !place.follows(before) {
            return Err(StoreError::Corrupt {
                what: format!(
                    "row {next} is missing before row {number}; keep a copy of the directory, then restore the last backup, or take what is left with hermod repair"
                ),
                place: "journal".into(),
            });
        }
        before = Some(place);
        next = number + 1;
        group.extend_from_slice(stretch);
        if place.is_last() {
            replay_group(journal::entries(number, &group)?, overlays, counts)?;
            group.clear();
        }
    }
    Ok(next)
}

fn replay_group(
    entries: Vec<journal::Entry>,
    overlays: &mut [Overlay],
    counts: &Counts,
) -> Result<(), StoreError> {
    let partitions = u16::try_from(overlays.len()).unwrap_or(u16::MAX);
    for entry in entries {
        let partition = entry.partition;
        let overlay =
            overlays
                .get_mut(usize::from(partition))
                .ok_or(StoreError::UnknownPartition {
                    partition,
                    partitions,
                })?;
        counts.overlay_grown(overlay.replay(entry));
    }
    Ok(())
}
