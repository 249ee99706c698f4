//! Sums in memory over all partitions: cells and counts of each experiment, and everybody's hours of each tenant.
//!
//! Invariant: what a commit added to the store is added here after it, so these sums are the store's, summed over partitions.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::domain::arrivals::Arrivals;
use crate::domain::cell::{Cell, CellDelta, CellId, Context, HOUR_MS, Lane, Track};
use crate::domain::civil::HourOfWeek;
use crate::domain::delay::DelayCurve;
use crate::domain::delay::learning::DelayEvidence;
use crate::domain::experiment::Objective;
use crate::domain::exposure::Exposure;
use crate::domain::guardrail::HarmEvidence;
use crate::domain::half_life::Scores;
use crate::domain::hour_activity::{HourActivity, HourDelta, SETTLED_DAY, assemble, is_matured};
use crate::domain::name::{ExperimentUid, VariantIndex};
use crate::domain::sample_ratio::SampleRatio;
use crate::domain::send_plan::SendPlan;
use crate::domain::send_time::{
    Chronotypes, EveryoneCurve, Individuality, Parameters, SendTimeModel, learned_interest,
};
use crate::domain::shadow::ShadowTally;
use crate::domain::snapshot::Table;
use crate::domain::timeline::HourCounts;
use crate::store::records::key::TimelineSlot;

mod copied;
mod drawn;

pub use copied::CopiedCells;
use drawn::DrawnTables;

/// Everybody's curve is learned anew at most this often.
const MODEL_INTERVAL_MS: i64 = 60_000;

/// Harm counts however late it comes; later than this, 30 days, it has no bin of its own.
const HARM_WINDOW_HOURS: f64 = 720.0;

/// Sums of one experiment.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    cells: BTreeMap<CellId, Cell>,
    planned: BTreeMap<(i64, CellId), Cell>,
    counts: BTreeMap<(VariantIndex, Lane), HourCounts>,
    arrivals: Arrivals,
    shadow: BTreeMap<VariantIndex, ShadowTally>,
    /// Mails planned by hour, where the experiment has a capacity.
    pub plan: SendPlan,
    ratio: SampleRatio,
    drawn: DrawnTables,
    /// First and last hour with counts, since 1970.
    hours: Option<(i32, i32)>,
    /// Weigh the half-lives that run side by side.
    scores: Scores,
}

/// Everybody's activity by hour of the week, and how far people differ in it.
#[derive(Default)]
pub struct TenantHours {
    state: Mutex<HoursState>,
}

#[derive(Default)]
struct HoursState {
    hours: BTreeMap<(i32, HourOfWeek), HourActivity>,
    individuality: Individuality,
    chronotypes: Chronotypes,
    dirty: bool,
    learned_at_ms: Option<i64>,
}

// === impl Sums ===

impl Sums {
    /// Adds a change to a cell.
    pub fn add_cell(&mut self, delta: &CellDelta) {
        let cell = match delta.planned_until_ms {
            Some(until_ms) => self.planned.entry((until_ms, delta.id)).or_default(),
            None => self.cells.entry(delta.id).or_default(),
        };
        cell.merge(&delta.cell);
    }

    /// First and last hour with counts, since 1970.
    pub fn hours(&self) -> Option<(i32, i32)> {
        self.hours
    }

    /// Decisions recorded in a lane, over all variants.
    pub fn decided(&self, lane: Lane) -> i64 {
        let counts = self.counts.iter().filter(|((_, of), _)| *of == lane);
        counts.map(|(_, counts)| counts.decided).sum()
    }

    /// Adds a part of a tally of shadow mode.
    pub fn add_shadow(&mut self, variant: VariantIndex, tally: &ShadowTally) {
        self.shadow.entry(variant).or_default().merge(tally);
    }

    /// The tallies of shadow mode, by variant.
    pub fn shadow(&self) -> Vec<ShadowTally> {
        self.shadow.values().copied().collect()
    }

    /// Adds counts of an hour.
    pub fn add_counts(&mut self, slot: &TimelineSlot, counts: &HourCounts) {
        self.counts
            .entry((slot.variant, slot.lane))
            .or_default()
            .merge(counts);
        let (first, last) = self.hours.unwrap_or((slot.hour, slot.hour));
        self.hours = Some((first.min(slot.hour), last.max(slot.hour)));
        if slot.lane == Lane::Policy {
            let (decided, confirmed) = (counts.decided, counts.confirmed);
            self.ratio
                .count(slot.hour, slot.variant, decided, confirmed);
        }
    }

    /// Adds a decision of the policy to the check of shares.
    pub fn add_decision(&mut self, table: &Arc<Table>, chosen: VariantIndex) {
        self.drawn.add(table, chosen, &mut self.ratio);
    }

    /// The check of shares, as of now.
    pub fn ratio(&mut self, now: Timestamp) -> &SampleRatio {
        self.drawn.settle(&mut self.ratio);
        let hour = now.as_millisecond().div_euclid(HOUR_MS);
        self.ratio.settle(i32::try_from(hour).unwrap_or(i32::MAX));
        &self.ratio
    }

    /// What speaks against a variant in all its cells, the holdout's included.
    pub fn harm(
        &mut self,
        experiment: ExperimentUid,
        variant: VariantIndex,
        now: Timestamp,
    ) -> HarmEvidence {
        self.move_due(now);
        let context = |byte| Context {
            segment: byte,
            daypart: byte,
        };
        let end = |byte, lane| CellId {
            experiment,
            variant,
            context: context(byte),
            lane,
            track: Track::CONFIGURED,
        };
        let mut sum = Cell::default();
        let of_variant = end(0, Lane::Policy)..=end(u8::MAX, Lane::Holdout);
        let of_track = |id: &CellId| id.track == Track::CONFIGURED;
        let cells = self.cells.range(of_variant);
        for (_, cell) in cells.filter(|(id, _)| of_track(id)) {
            sum.merge(cell);
        }
        sum.advance(now.as_millisecond());
        HarmEvidence {
            mails: sum.click.trials,
            harm: sum.harm,
            pending: sum.click.pending,
        }
    }

    /// Delays of the harm that people did under the policy, with the mails that it may come from.
    pub fn harm_delays(&self, now: Timestamp) -> DelayEvidence {
        let mut sum = Cell::default();
        let counts = |id: &CellId| id.lane == Lane::Policy && id.track == Track::CONFIGURED;
        for (_, cell) in self.cells.iter().filter(|(id, _)| counts(id)) {
            sum.merge(cell);
        }
        let now_ms = now.as_millisecond();
        sum.advance(now_ms);
        let mut arrivals = self.arrivals.clone();
        arrivals.advance(now_ms);
        DelayEvidence {
            arrived: arrivals.harm(),
            trials: sum.click.trials,
            pending: sum.click.pending,
            successes: sum.harm.unsubscribed + sum.harm.complained + sum.harm.replied_negative,
            window_hours: HARM_WINDOW_HOURS,
            importance: 1.0,
        }
    }

    /// Adds delays of answers.
    pub fn add_arrivals(&mut self, part: &Arrivals) {
        self.arrivals.merge(part);
    }

    /// When delays were last added, milliseconds since 1970.
    pub fn arrivals_as_of_ms(&self) -> i64 {
        self.arrivals.as_of_ms
    }

    /// Delays of a response under the policy, with the trials that they may come from; none where nothing was tried.
    pub fn delay_evidence(&self, response: Objective, now: Timestamp) -> Option<DelayEvidence> {
        let now_ms = now.as_millisecond();
        let mut sum = Exposure::default();
        let counts = |id: &CellId| id.lane == Lane::Policy && id.track == Track::CONFIGURED;
        for (_, cell) in self.cells.iter().filter(|(id, _)| counts(id)) {
            let mut exposure = cell.objective(response).clone();
            let hours = (now_ms - cell.as_of_ms) as f64 / HOUR_MS as f64;
            let half_life = (cell.half_life_hours > 0.0).then_some(cell.half_life_hours);
            exposure.advance(hours, half_life);
            sum.add(&exposure);
        }
        let mut arrivals = self.arrivals.clone();
        arrivals.advance(now_ms);
        (sum.trials > 0.0).then(|| DelayEvidence {
            arrived: arrivals.of(response),
            trials: sum.trials,
            pending: sum.pending,
            successes: sum.successes,
            ..DelayEvidence::default()
        })
    }

    /// The cells as of now, one per context: those of the half-lives weighed by how well each predicts.
    pub fn due(&mut self, now: Timestamp) -> BTreeMap<CellId, Cell> {
        self.copied(now).due(now)
    }

    /// The cells as they stand, planned trials whose time has come moved to them; to be faded where nobody waits for the sums.
    pub fn copied(&mut self, now: Timestamp) -> CopiedCells {
        self.move_due(now);
        CopiedCells::new(self.cells.clone(), self.scores)
    }

    /// Weighs the half-lives by these scores from now on.
    pub fn weigh(&mut self, scores: Scores) {
        self.scores = scores;
    }

    /// The cells of all half-lives as of now; planned trials whose time has come count from here on.
    pub fn due_tracks(&mut self, now: Timestamp) -> BTreeMap<CellId, Cell> {
        self.copied(now).faded(now)
    }

    fn move_due(&mut self, now: Timestamp) {
        let now_ms = now.as_millisecond();
        while let Some(entry) = self
            .planned
            .first_entry()
            .filter(|entry| entry.key().0 <= now_ms)
        {
            let ((_, id), cell) = entry.remove_entry();
            self.cells.entry(id).or_default().merge(&cell);
        }
    }

    /// Counts of a variant.
    pub fn counts(&self, variant: VariantIndex, lane: Lane) -> HourCounts {
        self.counts
            .get(&(variant, lane))
            .cloned()
            .unwrap_or_default()
    }

    /// Trials planned for later, by variant, in the policy lane.
    pub fn planned_trials(&self, variant: VariantIndex, objective: Objective) -> f64 {
        let of_variant = self.planned.iter().filter(|((_, id), _)| {
            id.variant == variant && id.lane == Lane::Policy && id.track == Track::CONFIGURED
        });
        of_variant
            .map(|(_, cell)| cell.objective(objective).trials)
            .sum()
    }

    /// Effective trials and successes over all variants of the policy lane.
    pub fn overall(
        &mut self,
        objective: Objective,
        curve: &DelayCurve,
        now: Timestamp,
    ) -> (f64, f64) {
        let cells = self.due(now);
        let policy = cells
            .iter()
            .filter(|(id, _)| id.lane == Lane::Policy)
            .map(|(_, cell)| cell.objective(objective));
        policy.fold((0.0, 0.0), |(trials, successes), exposure| {
            (
                trials + exposure.effective_trials(curve),
                successes + exposure.successes,
            )
        })
    }
}

// === impl HoursState ===

impl HoursState {
    /// Moves the hours of days that have matured to the settled ones.
    fn settle(&mut self, now: Timestamp) {
        let is_due = |day: i32| day != SETTLED_DAY && is_matured(day, now);
        let (due, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.hours)
            .into_iter()
            .partition(|((day, _), _)| is_due(*day));
        self.hours = rest;
        self.dirty |= !due.is_empty();
        for ((_, hour), activity) in due {
            self.hours
                .entry((SETTLED_DAY, hour))
                .or_default()
                .merge(&activity);
        }
    }

    fn settled(&self) -> impl Iterator<Item = (HourOfWeek, &HourActivity)> {
        let settled = self
            .hours
            .iter()
            .filter(|((day, _), _)| *day == SETTLED_DAY);
        settled.map(|((_, hour), activity)| (*hour, activity))
    }
}

// === impl TenantHours ===

impl TenantHours {
    fn state(&self) -> MutexGuard<'_, HoursState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a change to an hour.
    pub fn add(&self, delta: &HourDelta) {
        let mut state = self.state();
        state
            .hours
            .entry((delta.day, delta.hour))
            .or_default()
            .merge(&delta.part);
        // Hours of mails that have not matured teach nothing yet.
        state.dirty |= delta.day == SETTLED_DAY;
    }

    /// Adds what was learned of how far people differ.
    pub fn add_individuality(&self, part: &Individuality) {
        self.state().individuality.merge(part);
    }

    /// Puts newly fitted chronotypes in service with the next model.
    pub fn set_chronotypes(&self, chronotypes: Chronotypes) {
        let mut state = self.state();
        state.chronotypes = chronotypes;
        state.learned_at_ms = None;
        state.dirty = true;
    }

    /// The model learned from the present sums, if they changed and the last one is old enough.
    pub fn refreshed_model(&self, now: Timestamp) -> Option<SendTimeModel> {
        let mut state = self.state();
        let recent = state
            .learned_at_ms
            .is_some_and(|at_ms| (0..MODEL_INTERVAL_MS).contains(&(now.as_millisecond() - at_ms)));
        if recent {
            return None;
        }
        state.settle(now);
        if !std::mem::take(&mut state.dirty) {
            return None;
        }
        state.learned_at_ms = Some(now.as_millisecond());
        let assembled = assemble(state.settled(), now);
        let interest = learned_interest(&assembled);
        let sums = assembled.sums(interest);
        let chronotypes = state.chronotypes.clone();
        let learned = || state.individuality.kappa(&Parameters::default());
        let parameters = Parameters {
            kappa: chronotypes.kappa.unwrap_or_else(learned),
            ..Parameters::default()
        };
        let everyone = EveryoneCurve::learned(&sums);
        Some(SendTimeModel::new(
            everyone,
            interest.curve(),
            parameters,
            chronotypes,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hour_activity::day_of;

    fn model_after(days: i64) -> Option<SendTimeModel> {
        let sent_at = Timestamp::from_second(1_800_000_000).unwrap();
        let hours = TenantHours::default();
        let ten = HourOfWeek::new(10).unwrap();
        let part = HourActivity {
            as_of_ms: sent_at.as_millisecond(),
            sends: 10_000.0,
            observed: 1_500.0,
            ..HourActivity::default()
        };
        let day = day_of(sent_at);
        hours.add(&HourDelta {
            day,
            hour: ten,
            part,
        });
        let now = Timestamp::from_second(sent_at.as_second() + days * 86_400).unwrap();
        hours.refreshed_model(now)
    }

    #[test]
    fn a_blast_of_this_morning_does_not_make_its_hour_everybodys_best() {
        assert_eq!(model_after(0), None);
        assert!(model_after(5).is_some_and(|model| model.everyone.observations > 1_000.0));
    }
}
