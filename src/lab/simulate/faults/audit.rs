//! Whether the sums are what the touches of all recipients add up to, in the store and in memory.
//!
//! Invariant: nothing but touches feeds the cells of a campaign, and no touch of a history is old enough to be forgotten, so the two agree
//! but for rounding.
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::app::App;
use crate::domain::cell::{Cell, CellId, Lane};
use crate::domain::contribution::Change;
use crate::domain::half_life::Tracks;
use crate::domain::name::{Slug, TenantId};
use crate::domain::recipient::Recipient;
use crate::lab::LabError;
use crate::store::records::{self, key};
use crate::store::{Engine, Partition, Rows, SCAN_ROWS_MAX, Scan, StoreError};

use super::call::experiment_name;

/// What rounding may make of sums of hundreds of terms.
const ROUNDING: f64 = 1e-6;

/// The sums of a cell that do not depend on the time they are looked at.
type Sums = [f64; 11];

/// Everything that does not add up.
///
/// # Errors
/// The store cannot be read.
pub fn audit(engine: &dyn Engine, app: &App, experiments: usize) -> Result<Vec<String>, LabError> {
    let stored = stored(engine)?;
    let owed = owed(engine, app.now())?;
    let mut wrong = Vec::new();
    for id in stored
        .keys()
        .chain(owed.keys().filter(|id| !stored.contains_key(id)))
    {
        let (has, should) = (of(&stored, id), of(&owed, id));
        if differ(&has, &should) {
            wrong.push(format!(
                "cell {id:?} holds {has:?}, its touches add up to {should:?}"
            ));
        }
    }
    for experiment in 0..experiments {
        wrong.extend(in_memory(app, experiment, &stored)?);
    }
    Ok(wrong)
}

fn of(sums: &BTreeMap<CellId, Sums>, id: &CellId) -> Sums {
    sums.get(id).copied().unwrap_or_default()
}

fn differ(left: &Sums, right: &Sums) -> bool {
    let far = |(left, right): (&f64, &f64)| (left - right).abs() > ROUNDING || !left.is_finite();
    left.iter().zip(right).any(far)
}

fn sums_of(cell: &Cell) -> Sums {
    [
        cell.open.trials,
        cell.open.successes,
        cell.click.trials,
        cell.click.successes,
        cell.conversion.trials,
        cell.conversion.successes,
        cell.harm.unsubscribed,
        cell.harm.complained,
        cell.harm.bounced,
        cell.harm.replied_negative,
        cell.value_sum,
    ]
}

fn add(to: &mut BTreeMap<CellId, Sums>, id: CellId, cell: &Cell) {
    let sums = to.entry(id).or_default();
    for (sum, part) in sums.iter_mut().zip(sums_of(cell)) {
        *sum += part;
    }
}

fn rows(engine: &dyn Engine, prefix: &[u8]) -> Result<Rows, StoreError> {
    let mut all = Vec::new();
    for partition in (0..engine.partitions()).map(Partition) {
        // A history is far smaller than a page.
        let scan = Scan {
            prefix: prefix.to_vec(),
            after: None,
            limit: SCAN_ROWS_MAX,
        };
        all.extend(engine.scan(partition, scan).wait()?);
    }
    Ok(all)
}

/// The cells as stored, those planned for later included.
fn stored(engine: &dyn Engine) -> Result<BTreeMap<CellId, Sums>, LabError> {
    let mut sums = BTreeMap::new();
    let cells = rows(engine, key::CELLS).map_err(app_error)?;
    let planned = rows(engine, key::PLANNED).map_err(app_error)?;
    for (row, stored) in cells.iter().chain(&planned) {
        let id = key::parse::cell(row)
            .map(|(_, id)| id)
            .or_else(|| key::parse::planned(row).map(|(_, _, id)| id))
            .ok_or(LabError::Defect("the key of a cell does not read"))?;
        add(
            &mut sums,
            id,
            &records::decode(&stored.value).map_err(app_error)?,
        );
    }
    Ok(sums)
}

/// What the touches of all recipients add up to.
fn owed(engine: &dyn Engine, now: Timestamp) -> Result<BTreeMap<CellId, Sums>, LabError> {
    let mut sums = BTreeMap::new();
    for (_, stored) in rows(engine, key::RECIPIENTS).map_err(app_error)? {
        let recipient: Recipient = records::decode(&stored.value).map_err(app_error)?;
        for touch in &recipient.touches {
            let change = Change {
                before: None,
                after: Some(touch),
            };
            for delta in change.cells(Tracks::campaign(), now) {
                add(&mut sums, delta.id, &delta.cell);
            }
        }
    }
    Ok(sums)
}

fn app_error(error: StoreError) -> LabError {
    LabError::App(error.into())
}

/// The sums in memory against those in the store.
fn in_memory(
    app: &App,
    experiment: usize,
    stored: &BTreeMap<CellId, Sums>,
) -> Result<Vec<String>, LabError> {
    let name = Slug::parse(&experiment_name(experiment))
        .map_err(|_| LabError::Defect("an experiment's name is refused"))?;
    let uid = app.experiment(TenantId::DEFAULT, &name)?.uid;
    let results = app.results(TenantId::DEFAULT, &name)?;
    let mut wrong = Vec::new();
    for shown in &results.variants {
        let of_variant = |id: &CellId| {
            id.experiment == uid && id.variant == shown.variant && id.lane == Lane::Policy
        };
        let cells = stored.iter().filter(|(id, _)| of_variant(id));
        let (trials, successes) = cells.fold((0.0, 0.0), |(trials, successes), (_, sums)| {
            (trials + sums[2], successes + sums[3])
        });
        let has = (shown.trials + shown.planned_trials, shown.successes);
        if (has.0 - trials).abs() > ROUNDING || (has.1 - successes).abs() > ROUNDING {
            wrong.push(format!(
                "variant {} of {name} has {has:?} trials and successes in memory, {:?} in the store",
                shown.variant.0,
                (trials, successes)
            ));
        }
    }
    Ok(wrong)
}
