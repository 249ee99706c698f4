//! What the owner of an experiment chooses about it.
//!
//! Invariant: plain values that were checked where they came in; what they do is left to the models that read them.
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::domain::experiment::{ExperimentKind, Objective, TrialOn};
use crate::domain::name::Slug;
use crate::domain::policy::Policy;
use crate::domain::send_window::QuietHours;

/// Everything about an experiment that its owner chooses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How variants are chosen.
    pub policy: Policy,
    /// What counts as success.
    pub objective: Objective,
    /// Campaign or flow.
    pub kind: ExperimentKind,
    /// How long after the send a success counts, milliseconds.
    pub attribution_window_ms: i64,
    /// When a trial begins to count.
    pub trial_on: TrialOn,
    /// Share of recipients in the holdout, 0 to 0.5.
    pub holdout_share: f64,
    /// Probability spread evenly over the variants, 0 to 0.5.
    pub floor: f64,
    /// Segments told apart, in order of precedence.
    pub segments: Vec<Slug>,
    /// Local hours at which dayparts begin, ascending.
    pub daypart_start_hours: Vec<u8>,
    /// When mails may be sent, unless a request says otherwise.
    pub send_defaults: SendDefaults,
    /// Half-life that a flow's evidence starts with, hours; others run beside it and are weighed by how well they predict.
    pub half_life_hours: f64,
    /// Mails the campaign will send in all; 0 when unknown.
    pub planned_sends: u64,
    /// Harm at which a variant is stopped.
    pub guardrails: Guardrails,
    /// How a variant that joins later is tried out.
    pub probation: Probation,
    /// What responses are worth and what harm costs, for the utility objective.
    pub utility: Utility,
    /// Whether opens inform the click rates of variants that have few clicks yet.
    pub open_proxy: bool,
    /// Share of mails with a send window that leave at a random allowed time.
    pub exploration_share: f64,
    /// How many mails can be sent per hour; none means any number.
    pub capacity: Option<SenderCapacity>,
    /// Whether it only notes what it would have chosen.
    pub shadow: bool,
}

/// Highest rates of harm per mail that a variant may have; 1 switches a limit off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guardrails {
    /// Complaints.
    pub complaint_rate_max: f64,
    /// Unsubscribes.
    pub unsubscribe_rate_max: f64,
    /// Bounces.
    pub bounce_rate_max: f64,
    /// Negative replies.
    pub negative_reply_rate_max: f64,
}

/// How a variant that joins a started experiment is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probation {
    /// Highest share of decisions that all variants on probation get together, above 0 to 1; 1 means no probation.
    pub share_max: f64,
    /// Effective trials after which it is live.
    pub matured_trials_min: u64,
}

/// What one of each is worth or costs, in units of the caller's choice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utility {
    /// An open.
    pub open_value: f64,
    /// A click.
    pub click_value: f64,
    /// A conversion.
    pub conversion_value: f64,
    /// An unsubscription.
    pub unsubscribe_cost: f64,
    /// A complaint.
    pub complaint_cost: f64,
}

/// How many mails of an experiment can be sent per hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SenderCapacity {
    /// Most mails per hour.
    pub sends_per_hour: u64,
    /// A lower limit at first that grows.
    pub warm_up: Option<WarmUp>,
}

/// A limit that grows from the start of the experiment on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// Most mails per hour on the first day.
    pub initial_sends_per_hour: u64,
    /// Factor from one day to the next, above 1.
    pub daily_growth: f64,
}

/// When mails may be sent, without absolute times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SendDefaults {
    /// Local times of day without mail.
    pub quiet: Vec<QuietHours>,
    /// Local dates without mail.
    pub blocked_days: Vec<Date>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// Length of the window, milliseconds; none means the default of 24 hours.
    pub window_ms: Option<i64>,
}

/// At most so many mails per period for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyCap {
    /// Most mails within the period.
    pub sends_max: u32,
    /// The period, milliseconds.
    pub period_ms: i64,
}

// === impl Guardrails ===

impl Default for Guardrails {
    /// Complaints as the large mailbox providers demand (below 0.1 %), the others as is customary.
    fn default() -> Self {
        Self {
            complaint_rate_max: 0.001,
            unsubscribe_rate_max: 0.01,
            bounce_rate_max: 0.05,
            negative_reply_rate_max: 0.01,
        }
    }
}

// === impl Probation ===

impl Default for Probation {
    fn default() -> Self {
        Self {
            share_max: 0.1,
            matured_trials_min: 100,
        }
    }
}

// === impl Utility ===

impl Default for Utility {
    /// In clicks: somebody who leaves costs ten, a complaint a hundred.
    fn default() -> Self {
        Self {
            open_value: 0.0,
            click_value: 1.0,
            conversion_value: 0.0,
            unsubscribe_cost: 10.0,
            complaint_cost: 100.0,
        }
    }
}

// === impl SenderCapacity ===

impl SenderCapacity {
    /// Most mails in an hour that begins so many hours after the start of the experiment.
    ///
    /// `min(sends_per_hour, initial * growth^(whole days))`, at least 1.
    pub fn sends_max(&self, hours_since_start: f64) -> u64 {
        let grown = self.warm_up.map_or(f64::INFINITY, |warm_up| {
            let days = (hours_since_start.max(0.0) / 24.0).floor();
            warm_up.initial_sends_per_hour as f64 * warm_up.daily_growth.powf(days)
        });
        // Casting saturates.
        self.sends_per_hour.min(grown as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_grows_daily_up_to_the_full_capacity() {
        let capacity = SenderCapacity {
            sends_per_hour: 1_000,
            warm_up: Some(WarmUp {
                initial_sends_per_hour: 50,
                daily_growth: 2.0,
            }),
        };
        let hours = [-5.0, 0.0, 23.9, 24.0, 49.0, 24.0 * 5.0, 24.0 * 4_000.0];
        let allowed = hours.map(|hours| capacity.sends_max(hours));
        assert_eq!(allowed, [50, 50, 50, 100, 200, 1_000, 1_000]);
    }
}
