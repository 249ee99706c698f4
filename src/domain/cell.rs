//! Cells: the additive statistics of one experiment, variant, segment and daypart.
//!
//! Invariant: cells of one key are sums, so order does not matter, parts can be merged, and what was added can be taken back.
//! A trial planned for later waits in a cell of its own, keyed by the end of its five minutes, until that time has come.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::domain::context::Context;
use crate::domain::experiment::Objective;
use crate::domain::exposure::Exposure;
pub use crate::domain::half_life::Track;
use crate::domain::name::{ExperimentUid, VariantIndex};

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Length of the slots in which planned trials wait, milliseconds.
pub const PLANNED_SLOT_MS: i64 = 300_000;

/// Whose mails a cell counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Those decided by the policy.
    Policy,
    /// Those of the holdout, which never train the policy.
    Holdout,
}

/// Names a cell within a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellId {
    /// The experiment.
    pub experiment: ExperimentUid,
    /// The variant.
    pub variant: VariantIndex,
    /// Segment and daypart.
    pub context: Context,
    /// Policy or holdout.
    pub lane: Lane,
    /// Which of the parallel half-lives its sums fade with.
    pub track: Track,
}

/// Additive statistics of one cell, faded to one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The instant that the sums are faded to, milliseconds since 1970.
    pub as_of_ms: i64,
    /// Half-life of all sums, hours; 0 for none.
    pub half_life_hours: f64,
    /// Trials and successes for opens; only measurable recipients.
    pub open: Exposure,
    /// Trials and successes for clicks.
    pub click: Exposure,
    /// Trials and successes for conversions.
    pub conversion: Exposure,
    /// What did harm.
    pub harm: Harm,
    /// Sum of conversion values.
    pub value_sum: f64,
    /// Sum of squared conversion values.
    pub value_square_sum: f64,
}

/// Events that speak against a variant, one per decision and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    /// Unsubscribes.
    pub unsubscribed: f64,
    /// Complaints.
    pub complained: f64,
    /// Bounces.
    pub bounced: f64,
    /// Negative replies.
    pub replied_negative: f64,
}

/// A change to one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellDelta {
    /// The cell.
    pub id: CellId,
    /// For a trial planned for later: the end of the slot it waits in, milliseconds since 1970.
    pub planned_until_ms: Option<i64>,
    /// What to add.
    pub cell: Cell,
}

/// A trial: where it counts, when its mail leaves, and how its evidence fades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The cell it belongs to.
    pub id: CellId,
    /// When the mail leaves.
    pub sent_at: Timestamp,
    /// Half-life of the experiment's evidence, hours.
    pub half_life_hours: Option<f64>,
}

// === impl Cell ===

impl Cell {
    /// An empty cell as of an instant.
    pub fn empty(as_of: Timestamp, half_life_hours: Option<f64>) -> Self {
        Self {
            as_of_ms: as_of.as_millisecond(),
            half_life_hours: half_life_hours.unwrap_or(0.0),
            ..Self::default()
        }
    }

    /// The exposure of the responses that an objective counts.
    pub fn objective(&self, objective: Objective) -> &Exposure {
        match objective.counted() {
            Objective::Open => &self.open,
            Objective::Conversion => &self.conversion,
            _ => &self.click,
        }
    }

    /// Fades the sums to a later instant; an earlier one changes nothing.
    pub fn advance(&mut self, to_ms: i64) {
        if to_ms <= self.as_of_ms {
            return;
        }
        let hours = (to_ms - self.as_of_ms) as f64 / HOUR_MS as f64;
        let half_life = (self.half_life_hours > 0.0).then_some(self.half_life_hours);
        for exposure in [&mut self.open, &mut self.click, &mut self.conversion] {
            exposure.advance(hours, half_life);
        }
        if let Some(half_life) = half_life {
            let kept = (-hours / half_life).exp2();
            for sum in self.plain_sums() {
                *sum *= kept;
            }
        }
        self.as_of_ms = to_ms;
    }

    /// Adds another part of the same cell; the later instant of the two holds afterwards, and so does its half-life.
    pub fn merge(&mut self, part: &Self) {
        let to_ms = self.as_of_ms.max(part.as_of_ms);
        let half_life_hours = if part.as_of_ms >= self.as_of_ms {
            part.half_life_hours
        } else {
            self.half_life_hours
        };
        self.advance(to_ms);
        let mut part = part.clone();
        part.advance(to_ms);
        self.half_life_hours = half_life_hours;
        self.add(&part);
    }

    /// This cell with all sums times a factor.
    pub fn scaled(&self, factor: f64) -> Self {
        let mut cell = self.clone();
        for exposure in [&mut cell.open, &mut cell.click, &mut cell.conversion] {
            exposure.scale(factor);
        }
        for sum in cell.plain_sums() {
            *sum *= factor;
        }
        cell
    }

    /// Adds the sums of another cell as of the same instant.
    pub fn add(&mut self, part: &Self) {
        let mut part = part.clone();
        self.open.add(&part.open);
        self.click.add(&part.click);
        self.conversion.add(&part.conversion);
        let added = part.plain_sums().map(|sum| *sum);
        for (sum, more) in self.plain_sums().into_iter().zip(added) {
            *sum += more;
        }
    }

    /// The sums that fade with the half-life alone.
    fn plain_sums(&mut self) -> [&mut f64; 6] {
        let Harm {
            unsubscribed,
            complained,
            bounced,
            replied_negative,
        } = &mut self.harm;
        [
            unsubscribed,
            complained,
            bounced,
            replied_negative,
            &mut self.value_sum,
            &mut self.value_square_sum,
        ]
    }
}

// === impl Trial ===

impl Trial {
    /// The change that counts this trial `times` times (1 counts it, -1 takes it back), as of now.
    ///
    /// A mail that leaves later counts from the end of its five minutes on.
    pub fn count(&self, times: f64, measurable: bool, now: Timestamp) -> CellDelta {
        let slot_end_ms =
            (self.sent_at.as_millisecond().div_euclid(PLANNED_SLOT_MS) + 1) * PLANNED_SLOT_MS;
        let planned = self.sent_at > now;
        let as_of_ms = if planned {
            slot_end_ms
        } else {
            now.as_millisecond()
        };
        let age_hours = (as_of_ms - self.sent_at.as_millisecond()) as f64 / HOUR_MS as f64;
        let exposure = Exposure::trial(times * self.kept(age_hours), age_hours);
        let cell = Cell {
            as_of_ms,
            half_life_hours: self.half_life_hours.unwrap_or(0.0),
            open: if measurable {
                exposure.clone()
            } else {
                Exposure::default()
            },
            click: exposure.clone(),
            conversion: exposure,
            ..Cell::default()
        };
        CellDelta {
            id: self.id,
            planned_until_ms: planned.then_some(slot_end_ms),
            cell,
        }
    }

    /// A change of this trial's outcome, as of now: `fill` gets an empty cell and the weight that one unit has by now.
    ///
    /// Outcomes fade from the send on, like the trial itself, so that their ratio stays unbiased.
    pub fn outcome(&self, now: Timestamp, fill: impl FnOnce(&mut Cell, f64)) -> CellDelta {
        let as_of = now.max(self.sent_at);
        let mut cell = Cell::empty(as_of, self.half_life_hours);
        let age_hours =
            (as_of.as_millisecond() - self.sent_at.as_millisecond()) as f64 / HOUR_MS as f64;
        fill(&mut cell, self.kept(age_hours));
        CellDelta {
            id: self.id,
            planned_until_ms: None,
            cell,
        }
    }

    fn kept(&self, age_hours: f64) -> f64 {
        self.half_life_hours
            .map_or(1.0, |half_life| (-age_hours / half_life).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: f64) -> Timestamp {
        Timestamp::from_millisecond(
            (1_000_000.0 * HOUR_MS as f64 / 2.0 + hours * HOUR_MS as f64) as i64,
        )
        .unwrap()
    }

    fn trial(sent_hours: f64, half_life_hours: Option<f64>) -> Trial {
        let id = CellId {
            experiment: ExperimentUid(1),
            variant: VariantIndex(0),
            context: Context::default(),
            lane: Lane::Policy,
            track: Track::CONFIGURED,
        };
        Trial {
            id,
            sent_at: at(sent_hours),
            half_life_hours,
        }
    }

    #[test]
    fn merging_in_any_order_gives_the_same_sums() {
        let parts: Vec<Cell> = [0.0, 3.0, 1.0]
            .iter()
            .map(|h| trial(*h, Some(100.0)).count(1.0, true, at(h + 0.5)).cell)
            .collect();
        let fold = |order: [usize; 3]| {
            let mut sum = Cell::default();
            order.iter().for_each(|i| sum.merge(&parts[*i]));
            sum
        };
        let (one, other) = (fold([0, 1, 2]), fold([1, 2, 0]));
        assert_eq!(one.as_of_ms, other.as_of_ms);
        for (x, y) in one.click.pending.iter().zip(other.click.pending) {
            assert!((x - y).abs() < 1e-12);
        }
        assert!((one.click.trials - other.click.trials).abs() < 1e-12);
        assert!(one.click.trials < 3.0);
    }

    #[test]
    fn a_trial_taken_back_later_leaves_nothing() {
        let mut cell = trial(0.0, Some(504.0)).count(1.0, true, at(0.0)).cell;
        cell.merge(&trial(0.0, Some(504.0)).count(-1.0, true, at(30.0)).cell);
        assert!(
            cell.click.trials.abs() < 1e-12 && cell.open.pending.iter().all(|d| d.abs() < 1e-12)
        );
    }

    #[test]
    fn an_outcome_has_the_weight_of_its_trial() {
        let trial = trial(0.0, Some(10.0));
        let mut cell = trial.count(1.0, true, at(0.0)).cell;
        cell.merge(
            &trial
                .outcome(at(20.0), |cell, unit| cell.click.successes = unit)
                .cell,
        );
        assert!((cell.click.successes - 0.25).abs() < 1e-12);
        assert!((cell.click.successes - cell.click.trials).abs() < 1e-12);
    }

    #[test]
    fn a_mail_planned_for_later_waits_in_its_own_slot() {
        let planned = trial(8.0, None).count(1.0, true, at(0.0));
        let until = planned.planned_until_ms.unwrap();
        assert!(
            until > at(8.0).as_millisecond() && until <= at(8.0).as_millisecond() + PLANNED_SLOT_MS
        );
        assert_eq!(planned.cell.as_of_ms, until);
        assert!(
            planned
                .cell
                .click
                .pending
                .iter()
                .all(|d| *d <= 1.0 && *d > 0.6)
        );
        assert_eq!(
            trial(8.0, None).count(1.0, true, at(8.0)).planned_until_ms,
            None
        );
    }
}
