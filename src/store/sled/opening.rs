//! Opening: the files, the runs, and the journal replayed into the overlays.
//!
//! Invariant: what is answered afterwards is what was acknowledged before, or the opening refuses and says what to do. Files of runs that nobody
//! names are removed only once the journal was found whole.

use std::sync::Arc;

use super::clean::Clean;
use super::counts::Counts;
use super::disk::{self, Disk};
use super::guarded::let_go;
use super::journal::Row;
use super::meta::{Folded, Format};
use super::overlay::Overlay;
use super::presence::Presence;
use super::renewal;
use super::shared::{Found, Opened};
use super::{SledOptions, journal, mark};
use crate::store::StoreError;
use crate::store::runs::{Runs, keys_under};

/// The directory of the runs, in that of the store.
pub(super) const RUNS: &str = "runs";

/// Opens or creates a store.
pub(super) fn open(options: &SledOptions) -> Result<Opened, StoreError> {
    let lock = disk::lock(&options.directory)?;
    renewal::complete(&options.directory)?;
    let disk = Disk::open(&options.directory, options.cache_bytes, 0)?;
    match found(options, &disk) {
        Ok(found) => Ok(Opened { lock, disk, found }),
        Err(error) => {
            let_go(disk);
            Err(error)
        }
    }
}

fn found(options: &SledOptions, disk: &Disk) -> Result<Found, StoreError> {
    let format = match disk.format()? {
        Some(format) => brought_up(disk, format)?,
        None => create(disk, options)?,
    };
    let folded = disk
        .folded()?
        .unwrap_or_else(|| Folded::nothing(format.partitions));
    let runs = Runs::open(&options.directory.join(RUNS), &folded.runs)?;
    let mut overlays = overlays(options, format, &folded);
    let counts = Counts::default();
    let next_row = replay(disk, folded.first_row, &mut overlays, &counts)?;
    disk.check_journal(folded.first_row)?;
    mark::compare(&options.directory, next_row)?;
    // Only now: what is missing is looked for by a person, who should find everything as it was.
    disk.trim(next_row)?;
    let folded = moved(disk, format, folded, &runs, options)?;
    runs.remove_strays()?;
    if !options.passing_prefix.is_empty() {
        find_passing(&runs, &options.passing_prefix, &mut overlays)?;
    }
    Ok(Found {
        overlays,
        folded,
        runs,
        next_row,
        counts,
    })
}

fn overlays(options: &SledOptions, format: Format, folded: &Folded) -> Vec<Overlay> {
    let records_bytes = options.records_bytes / u64::from(format.partitions);
    let records_bytes = usize::try_from(records_bytes).unwrap_or(usize::MAX);
    (0..usize::from(format.partitions))
        .map(|partition| folded.sequences.get(partition).copied().unwrap_or(0))
        .map(|sequence| Overlay {
            sequence,
            folded_sequence: sequence,
            clean: Clean::new(records_bytes),
            presence: Presence::of(&options.passing_prefix),
            ..Overlay::default()
        })
        .collect()
}

/// Moves the records of a store from before there were runs into one, and removes what an interrupted moving left of them.
fn moved(
    disk: &Disk,
    format: Format,
    folded: Folded,
    runs: &Runs,
    options: &SledOptions,
) -> Result<Folded, StoreError> {
    let Some(earlier) = disk.earlier()? else {
        return Ok(folded);
    };
    let folded = match &folded.earlier {
        None => folded,
        Some(fold) => {
            tracing::info!("moving the records into a run, which this version reads; once");
            let run = earlier.move_to(runs, format.partitions, fold, &options.directory)?;
            let moved = Folded {
                runs: vec![run.number()],
                earlier: None,
                ..folded
            };
            disk.set_folded(&moved)?;
            disk.sync()?;
            runs.replace(vec![Arc::new(run)]);
            moved
        }
    };
    drop(earlier);
    disk.remove_earlier()?;
    disk.sync()?;
    Ok(folded)
}

/// Finds which of the keys that come and go are in the runs. Where that cannot be read, every key of the partition is looked for.
fn find_passing(runs: &Runs, prefix: &[u8], overlays: &mut [Overlay]) -> Result<(), StoreError> {
    let list = runs.list()?;
    for (partition, overlay) in (0..).zip(overlays) {
        for key in keys_under(&list, partition, prefix) {
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
    Ok(())
}

/// Has versions that know nothing of the journal's files refuse the store, before there are any rows in them.
fn brought_up(disk: &Disk, format: Format) -> Result<Format, StoreError> {
    if !disk.is_format_current()? {
        disk.set_format(format)?;
        disk.sync()?;
    }
    Ok(format)
}

fn create(disk: &Disk, options: &SledOptions) -> Result<Format, StoreError> {
    let format = Format {
        partitions: options.partitions.max(1),
    };
    disk.set_format(format)?;
    disk.sync()?;
    Ok(format)
}

/// Replays the journal into the overlays; the number behind the last row of a whole group. Every row from `first` on has to be there.
fn replay(
    disk: &Disk,
    first: u64,
    overlays: &mut [Overlay],
    counts: &Counts,
) -> Result<u64, StoreError> {
    let (mut next, mut end) = (first, first);
    let mut before = None;
    let mut group = Vec::new();
    for row in disk.journal() {
        let Row { number, bytes } = row?;
        counts.journal_grown(1, bytes.len() as u64);
        if number < first {
            // Folded already; it goes with the rest of its file.
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
            end = next;
        }
    }
    Ok(end)
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
