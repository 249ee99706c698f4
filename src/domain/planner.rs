//! The blast planner: in which waves to send a campaign, so that the later ones go by what the earlier ones taught.
//!
//! Invariant: the same question and seed give the same plan in bounded time, and what a plan promises was estimated on draws that had no part
//! in choosing it. Deciding mail by mail is left to the policy, which the planner plays as it is.
//!
//! Seeded Monte Carlo: true rates from the posterior (`worlds`), answers that arrive by the delay curve, waves shared out by the experiment's
//! own policy on the delay-corrected posterior (`campaign`), over a small grid of schedules (`schedule`) with common random numbers.
use serde::Serialize;

use crate::domain::beliefs::Belief;
use crate::domain::exposure::Exposure;
use crate::domain::policy::Policy;

mod campaign;
mod estimate;
mod schedule;
mod search;
mod worlds;

pub use estimate::Forecast;
pub use schedule::{Schedule, Wave};

/// Most variants that a plan is made for.
pub const VARIANTS_MAX: usize = 50;
/// Largest audience that a plan is made for.
pub const AUDIENCE_MAX: u64 = 100_000_000;
/// Longest time from the first mail to the deadline, hours.
pub const WINDOW_HOURS_MAX: f64 = 30.0 * 24.0;
/// Scale of variants' effects in log-odds, Student's t with three degrees of freedom: 32,487 tests of headlines (Matias et al. 2021).
pub const EFFECT_SCALE: f64 = 0.15;

/// What is to be sent, and what is known.
#[derive(Clone, Debug)]
pub struct Blast {
    /// What is known of each variant that may be chosen, as of now; empty exposures where nothing is.
    pub known: Vec<Exposure>,
    /// The expected rate and the delay curve.
    pub belief: Belief,
    /// How mails are shared out.
    pub policy: Policy,
    /// Probability spread evenly over the variants.
    pub floor: f64,
    /// Mails the policy takes the campaign to have in all, those sent before included; 0 for unknown.
    pub planned_sends: f64,
    /// Scale of the variants' effects in log-odds.
    pub effect_scale: f64,
    /// Share of the mails in the holdout: sent evenly, and never learned from; 0 to 0.5.
    pub holdout_share: f64,
    /// Mails to send.
    pub audience: u64,
    /// Time from now to the first mail, hours: what was sent before goes on being answered.
    pub lead_hours: f64,
    /// Time from the first mail to the deadline, hours.
    pub window_hours: f64,
    /// Mails that can leave in an hour; none for any number.
    pub sends_per_hour: Option<f64>,
}

/// Why no plan is made.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to choose among, or too much.
    #[error("{variants} variants; a plan takes 1 to {VARIANTS_MAX}")]
    Variants {
        /// How many there are.
        variants: usize,
    },
    /// Nobody to send to, or too many.
    #[error("an audience of {audience}; a plan takes 1 to {AUDIENCE_MAX}")]
    Audience {
        /// How large it is.
        audience: u64,
    },
    /// A number that is none, or out of its range.
    #[error("{what} is {value}; it must be {range}")]
    Number {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Send in the waves of the plan.
    Waves,
    /// Send all now: waiting is not expected to gain anything.
    SendAllNow,
}

/// A plan and what it promises.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlastPlan {
    /// Waves or all at once.
    pub advice: Advice,
    /// The waves.
    pub waves: Vec<PlannedWave>,
    /// Successes to be expected of the plan, in the end.
    pub successes: Forecast,
    /// Of sending all at once, evenly.
    pub evenly: Forecast,
    /// The best test that ends with one winner for the rest; none where the window leaves no time for one.
    pub test: Option<TestPlan>,
    /// Successes that the plan gains over sending evenly, in the same draws.
    pub gain_over_evenly: Forecast,
    /// Successes that the plan gains over the test, in the same draws.
    pub gain_over_test: Option<Forecast>,
    /// What the same waves would gain over sending evenly if they were done sooner, in order of time.
    pub sooner: Vec<Sooner>,
    /// Mails for which there is no time before the deadline at the sender's speed.
    pub unsent: u64,
    /// Worlds that the promise was estimated on.
    pub draws: usize,
}

/// One wave of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedWave {
    /// When it begins, hours after the first mail; until then answers are awaited, and then the shares are renewed.
    pub at_hours: f64,
    /// How long its mails take to leave, hours.
    pub lasts_hours: f64,
    /// Its mails.
    pub mails: u64,
    /// Its mails over the audience.
    pub share: f64,
    /// Expected share of its mails with the variant that gets most.
    pub leader_share: f64,
    /// Expected share of its mails with the variant that is best in truth.
    pub best_share: f64,
}

/// A test on part of the audience, and one winner for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TestPlan {
    /// Share of the audience in the test, evenly over the variants.
    pub test_share: f64,
    /// How long answers are awaited, hours.
    pub wait_hours: f64,
    /// Successes to be expected.
    pub successes: Forecast,
}

/// The plan's waves, done sooner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sooner {
    /// When the last wave begins, hours after the first mail.
    pub last_wave_hours: f64,
    /// Successes gained over sending evenly.
    pub gain: Forecast,
}

/// Finds the waves that promise most, and what they promise.
///
/// # Errors
/// [`PlanError`] if the question cannot be answered.
pub fn plan(blast: &Blast, seed: u64) -> Result<BlastPlan, PlanError> {
    blast.check()?;
    Ok(search::plan(blast, seed))
}

// === impl Blast ===

impl Blast {
    fn check(&self) -> Result<(), PlanError> {
        let variants = self.known.len();
        if !(1..=VARIANTS_MAX).contains(&variants) {
            return Err(PlanError::Variants { variants });
        }
        if !(1..=AUDIENCE_MAX).contains(&self.audience) {
            return Err(PlanError::Audience {
                audience: self.audience,
            });
        }
        let number = |what, value: f64, (low, high): (f64, f64), range| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(PlanError::Number { what, value, range })
            }
        };
        let speed = self.sends_per_hour.unwrap_or(1.0);
        number(
            "the window in hours",
            self.window_hours,
            (0.0, WINDOW_HOURS_MAX),
            "from 0 to 720",
        )?;
        number(
            "the time to the first mail in hours",
            self.lead_hours,
            (0.0, WINDOW_HOURS_MAX),
            "from 0 to 720",
        )?;
        number(
            "the holdout share",
            self.holdout_share,
            (0.0, 0.5),
            "from 0 to 0.5",
        )?;
        number(
            "the sends per hour",
            speed,
            (1e-3, 1e12),
            "from 0.001 to 1e12",
        )?;
        number(
            "the expected rate",
            self.belief.prior.mean,
            (1e-6, 1.0 - 1e-6),
            "between 0 and 1",
        )?;
        number(
            "the scale of effects",
            self.effect_scale,
            (0.0, 2.0),
            "from 0 to 2",
        )
    }

    /// Mails that can leave by the deadline.
    fn sendable(&self) -> u64 {
        self.sends_per_hour.map_or(self.audience, |speed| {
            let room = (speed * self.window_hours).floor();
            (room as u64).clamp(1, self.audience)
        })
    }

    /// Time that so many mails take to leave, hours.
    fn lasting_hours(&self, mails: f64) -> f64 {
        self.sends_per_hour.map_or(0.0, |speed| mails / speed)
    }

    /// Mails sent before.
    fn sent_before(&self) -> f64 {
        self.known.iter().map(|one| one.trials.max(0.0)).sum()
    }
}

#[cfg(test)]
mod tests;
