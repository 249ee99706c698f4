//! Compacting: runs at the young end are merged into one, so that a key is looked for in few of them and what is out of date is given back.
//!
//! Invariant: the merged run counts only once it is durable and named; the files of those merged are removed after that. A run that cannot be read is
//! not merged: what is damaged in it stays to be told, and `hermod check` names it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::meta::Folded;
use super::shared::Shared;
use super::warming;
use crate::store::runs::{List, Merged, Run, Runs};
use crate::store::{StoreError, pace};

/// Longest rest; woken by every fold.
const REST: Duration = Duration::from_secs(60);
/// How far merging stands back for the threads that answer.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// Rests of merging, in lengths of what was computed before each.
const MERGING_REST: f64 = 1.0;
/// Rows between two looks whether to rest or to stop.
const STRIDE: u64 = 8;

/// Runs until stopped.
pub(super) fn run(shared: &Shared) {
    step_back();
    let _resting = pace::rest(MERGING_REST);
    warming::run(shared);
    let mut is_damaged = false;
    while shared.merge_signal.wait(REST) {
        while !is_damaged {
            match pass(shared) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "runs are no longer merged: restore the last backup, or take what is left with hermod repair");
                    is_damaged = true;
                }
                Err(error) => {
                    tracing::warn!(%error, "runs could not be merged; it is tried again");
                    break;
                }
            }
        }
    }
}

fn step_back() {
    #[cfg(target_os = "linux")]
    {
        // On Linux priorities are per thread. Without the right to it everything runs as before.
        let thread = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(thread), NICENESS);
    }
}

/// Merges runs once, if some are to be; whether it did.
pub(super) fn pass(shared: &Shared) -> Result<bool, StoreError> {
    if shared.reserve.check().is_err() || shared.released() {
        return Ok(false);
    }
    let _alone = shared.merging();
    let list = shared.runs.list()?;
    let Some((from, to)) = Runs::to_merge(&list) else {
        return Ok(false);
    };
    merge(shared, &list, from..to)
}

/// Merges all runs into one, whatever their sizes.
#[cfg(test)]
pub(super) fn merge_all(shared: &Shared) -> Result<bool, StoreError> {
    let _alone = shared.merging();
    let list = shared.runs.list()?;
    let all = 0..list.len();
    if all.len() < 2 && list.iter().all(|run| run.deleted() == 0) {
        return Ok(false);
    }
    merge(shared, &list, all)
}

fn merge(shared: &Shared, list: &List, range: Range<usize>) -> Result<bool, StoreError> {
    let merged: List = Arc::new(list.get(range.clone()).unwrap_or_default().to_vec());
    let Some(run) = write_run(shared, &merged, range.start == 0)? else {
        return Ok(false);
    };
    let run = run.map(Arc::new);
    let is_merged = |run: &Arc<Run>| merged.iter().any(|merged| merged.number() == run.number());
    shared.switch(None, |folded, list| {
        let before = list.iter().take(range.start).cloned();
        let behind = list.iter().skip(range.start).filter(|run| !is_merged(run));
        let list: Vec<Arc<Run>> = before.chain(run).chain(behind.cloned()).collect();
        let folded = Folded {
            runs: list.iter().map(|run| run.number()).collect(),
            ..folded.clone()
        };
        (folded, list)
    })?;
    for run in merged.iter() {
        if let Err(error) = run.remove() {
            // The next opening removes it.
            tracing::debug!(%error, "a merged run could not be removed");
        }
    }
    Ok(true)
}

/// The merged run, or that it is empty; nothing where the store was closed meanwhile. What was deleted is dropped where nothing older is left.
fn write_run(
    shared: &Shared,
    merged: &List,
    is_oldest: bool,
) -> Result<Option<Option<Run>>, StoreError> {
    let entries = merged.iter().map(|run| run.entries()).sum();
    let mut writer = shared.runs.writer(entries)?;
    let mut rows = Merged::of(merged, Vec::new(), None);
    while rows.advance()? {
        if rows.value().is_some() || !is_oldest {
            writer.push(rows.key(), rows.version(), rows.value())?;
        }
        if writer.entries().is_multiple_of(STRIDE) {
            pace::breathe();
            if shared.merge_signal.is_stopped() {
                return Ok(None);
            }
        }
    }
    if writer.entries() == 0 {
        return Ok(Some(None));
    }
    writer.finish().map(|run| Some(Some(run)))
}
