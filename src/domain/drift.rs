//! Drift of a flow: which half-lives foretell its days best, and whether its rates changed; judged about once a day.
//!
//! Invariant: a judgement sees only what arrived after the forecasts it judges were made. Keeping the record, and acting on a change, is
//! left to others.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::cell::{Cell, CellId, HOUR_MS, Lane};
use crate::domain::change_point::{ChangePoint, History};
use crate::domain::delay::DelayCurve;
use crate::domain::experiment::Objective;
use crate::domain::exposure::Exposure;
use crate::domain::half_life::{Arrived, Scores, TRACKS, Track};
use crate::domain::name::VariantIndex;
use crate::domain::posterior::{Prior, posterior};
use crate::domain::shape::BetaShape;

/// Time between two judgements, hours.
pub const JUDGED_EVERY_HOURS: f64 = 24.0;
/// A stretch in which more trials mature than this times those sent says nothing about changes.
const MATURED_OVER_SENT_MAX: f64 = 1.25;
/// Change points remembered; the oldest go first.
pub const CHANGE_POINTS_MAX: usize = 50;

/// What a flow has shown of its drift.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// When it was last judged, milliseconds since 1970; 0 for never.
    judged_at_ms: i64,
    scores: Scores,
    marks: Vec<Mark>,
    history: History,
    changes: Vec<ChangePoint>,
}

/// One variant as it stood at the last judgement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// Everything that ever counted, as of then.
    counted: Exposure,
    /// Posterior of each track: its two shapes.
    forecasts: [(f64, f64); TRACKS],
}

/// What is judged: the cells of all tracks as of one instant, and what is believed of them.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Cells of all tracks.
    pub cells: &'a BTreeMap<CellId, Cell>,
    /// How many variants there are, retired ones included.
    pub variants: usize,
    /// What counts as success.
    pub objective: Objective,
    /// Prior of every variant's rate.
    pub prior: Prior,
    /// How fast successes arrive.
    pub curve: &'a DelayCurve,
}

// === impl Drift ===

impl Drift {
    /// Whether it is time for a judgement.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let elapsed_ms = now.as_millisecond().saturating_sub(self.judged_at_ms);
        elapsed_ms as f64 >= JUDGED_EVERY_HOURS * HOUR_MS as f64
    }

    /// Judges the forecasts made last time by what has arrived since, looks for changes, and makes the next forecasts.
    ///
    /// What arrived is a difference of two delay-corrected sums: pending mails count by the share of their answers that was due meanwhile.
    pub fn judge(&mut self, evidence: &Evidence<'_>, now: Timestamp) -> Vec<ChangePoint> {
        let tables: Vec<[Exposure; TRACKS]> = (0..evidence.variants)
            .map(|at| evidence.by_track(VariantIndex(at as u16)))
            .collect();
        let mut changes = Vec::new();
        if self.judged_at_ms > 0 {
            let elapsed_ms = now.as_millisecond().saturating_sub(self.judged_at_ms);
            let days = elapsed_ms as f64 / (24 * HOUR_MS) as f64;
            self.scores.fade(days);
            let arrived: Vec<Arrived> = tables
                .iter()
                .enumerate()
                .map(|(at, tracks)| self.arrived(at, tracks, evidence.curve))
                .collect();
            let foretold = self
                .marks
                .iter()
                .map(|mark| mark.forecasts.map(|(a, b)| BetaShape::clamped(a, b)));
            let judged: Vec<_> = foretold.zip(arrived.iter().copied()).collect();
            self.scores.add(&judged);
            let steady: Vec<Arrived> = tables
                .iter()
                .enumerate()
                .map(|(at, tracks)| self.steady(at, tracks, arrived.get(at).copied()))
                .collect();
            self.history.add(&steady, now);
            // A change that is found is taken out of the history, so each look finds the next clearest one.
            changes.extend((0..=evidence.variants).map_while(|_| self.history.changed(now)));
        }
        self.marks = tables
            .iter()
            .map(|tracks| Mark::of(tracks, evidence))
            .collect();
        self.judged_at_ms = now.as_millisecond();
        self.changes.extend(&changes);
        let surplus = self.changes.len().saturating_sub(CHANGE_POINTS_MAX);
        self.changes.drain(..surplus);
        changes
    }

    fn arrived(&self, at: usize, tracks: &[Exposure; TRACKS], curve: &DelayCurve) -> Arrived {
        let (Some(mark), Some(counted)) = (self.marks.get(at), tracks.last()) else {
            return Arrived::default();
        };
        let successes = (counted.successes - mark.counted.successes).max(0.0);
        let matured = counted.effective_trials(curve) - mark.counted.effective_trials(curve);
        Arrived {
            trials: matured.max(successes),
            successes,
        }
    }

    /// What arrived, unless most of it came from mails of before: when a variant's traffic falls, its late answers alone are left, and a
    /// delay curve that is a little off would look like a change of its rate.
    fn steady(&self, at: usize, tracks: &[Exposure; TRACKS], arrived: Option<Arrived>) -> Arrived {
        let before = self.marks.get(at).map_or(0.0, |mark| mark.counted.trials);
        let sent = tracks.last().map_or(0.0, |counted| counted.trials) - before;
        arrived
            .filter(|came| came.trials <= MATURED_OVER_SENT_MAX * sent)
            .unwrap_or_default()
    }

    /// The scores of the tracks.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// Changes noticed so far, the latest last.
    pub fn changes(&self) -> &[ChangePoint] {
        &self.changes
    }
}

// === impl Mark ===

impl Mark {
    fn of(tracks: &[Exposure; TRACKS], evidence: &Evidence<'_>) -> Self {
        let forecast = |exposure: &Exposure| {
            let shape = posterior(evidence.prior, exposure, evidence.curve);
            (shape.alpha(), shape.beta())
        };
        Self {
            counted: tracks.last().cloned().unwrap_or_default(),
            forecasts: tracks.each_ref().map(forecast),
        }
    }
}

// === impl Evidence ===

impl Evidence<'_> {
    fn by_track(&self, variant: VariantIndex) -> [Exposure; TRACKS] {
        let mut tracks: [Exposure; TRACKS] = Default::default();
        let of_variant = |id: &CellId| id.variant == variant && id.lane == Lane::Policy;
        for (id, cell) in self.cells.iter().filter(|(id, _)| of_variant(id)) {
            if let Some(track) = tracks.get_mut(id.track.index()) {
                track.add(cell.objective(self.objective));
            }
        }
        tracks
    }
}

/// One cell per context in the place of one per track: the weighted sum, under the configured track's name.
///
/// Sums fade exponentially, so this is evidence that fades with the mixture `sum_j w_j 2^(-age / h_j)`. Stores written before there were
/// tracks have their past in the configured one alone; until evidence that never fades has caught up with it, that one answers.
pub fn mixed(cells: BTreeMap<CellId, Cell>, scores: &Scores) -> BTreeMap<CellId, Cell> {
    let trials = |track: Track| -> f64 {
        let of_track = cells.iter().filter(|(id, _)| id.track == track);
        of_track
            .map(|(_, cell)| cell.open.trials + cell.click.trials)
            .sum()
    };
    let (never, configured) = (trials(Track::NEVER), trials(Track::CONFIGURED));
    if never <= 0.0 || never < configured * (1.0 - 1e-6) {
        return cells
            .into_iter()
            .filter(|(id, _)| id.track == Track::CONFIGURED)
            .collect();
    }
    let weights = scores.weights();
    let mut mixed: BTreeMap<CellId, Cell> = BTreeMap::new();
    for (id, cell) in cells {
        let Some(weight) = weights.get(id.track.index()) else {
            continue;
        };
        let part = cell.scaled(*weight);
        let named = CellId {
            track: Track::CONFIGURED,
            ..id
        };
        mixed
            .entry(named)
            .and_modify(|sum| sum.add(&part))
            .or_insert(part);
    }
    mixed
}

#[cfg(test)]
mod tests;
