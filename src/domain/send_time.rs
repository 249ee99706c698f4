//! When to send: the best allowed instant for one recipient, with what the answer rests on.
//!
//! Never none while the window allows anything, and everybody's hour for whoever is not known well enough.
//! Allowed times are left to `send_window`, remembering to `activity`, capacity and frequency caps to the callers.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::activity::ActivityProfile;
use super::civil::{LocalHour, Zone};
use super::freshness::FreshnessCurve;
use super::send_window::SendWindow;

mod allowed_hours;
pub mod chronotypes;
mod circle;
pub mod everyone;
mod exploration;
mod fading;
pub mod individuality;
mod personal;
mod portrait;
mod remembered;
mod search;
mod zones;

pub use chronotypes::{Chronotype, Chronotypes, Kinds, SegmentWeights};
pub use circle::CircularKernel;
pub use everyone::EveryoneCurve;
pub use fading::learned_interest;
pub use individuality::Individuality;
pub use portrait::Portrait;
pub use zones::{ZONES_MAX, ZoneGuess, ZoneTally};

use personal::{Rates, Whole};
use remembered::{Common, Remembered};
use search::{TAIL_HOURS, Valuation, ValueCurve, jittered};

/// How far one recipient's record may move the answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Observations that everybody's curve is worth, spread over the day; learned by [`Individuality::kappa`].
    pub kappa: f64,
    /// Standard deviation of the circular smoothing, hours.
    pub smoothing_sd_hours: f64,
    /// Expected observations on a weekday that everybody's weekday is worth.
    pub weekday_kappa: f64,
    /// Below this many effective observations, or half of `kappa`, the recipient gets everybody's curve.
    pub observations_min: f64,
    /// From this many observations on the tenant's curve is its own rather than the default.
    pub everyone_observations_min: f64,
}

impl Default for Parameters {
    /// Measured on when 640 people were active: 8 observations, 1.8 h; with three events nobody beats everybody's hour.
    fn default() -> Parameters {
        Parameters {
            kappa: 8.0,
            smoothing_sd_hours: 1.8,
            weekday_kappa: 20.0,
            observations_min: 4.0,
            everyone_observations_min: 300.0,
        }
    }
}

/// What a good instant is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// The mail is most likely to be opened in the end: `1 - exp(-c integral r(s + a) phi(a) da)`.
    #[default]
    OpenProbability,
    /// The recipient is most likely to be there within an hour: the middle of the best hour.
    Activity,
}

/// Whose record the answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level {
    /// The recipient's own: a third of the weight or more, and [`Parameters::observations_min`] observations.
    Recipient,
    /// The tenant's: at least [`Parameters::everyone_observations_min`] observations.
    Everyone,
    /// The default curve of waking hours, as far as the tenant's few observations have not moved it.
    Default,
    /// People with like hours, as far as the recipient's few observations tell which.
    Chronotype,
    /// The recipient's segment: how its people fall into the chronotypes.
    Segment,
    /// None: the hour was drawn at random among the allowed ones, to learn.
    Exploration,
}

impl Level {
    /// Whether the person's own record moved the answer.
    pub fn rests_on_profile(self) -> bool {
        match self {
            Self::Recipient | Self::Chronotype => true,
            Self::Segment | Self::Everyone | Self::Default | Self::Exploration => false,
        }
    }
}

/// One question: when to send this mail to this recipient.
#[derive(Debug, Clone, Copy)]
pub struct PredictRequest<'a> {
    /// The allowed times. Check them beforehand with [`SendWindow::validate`]: an invalid window allows nothing.
    pub window: &'a SendWindow,
    /// The recipient's zone.
    pub zone: &'a Zone,
    /// What a good instant is.
    pub goal: Goal,
    /// A hash that spreads sends by up to ten minutes; 0 for none.
    pub jitter: u64,
    /// Segments of the recipient, the most telling first.
    pub segments: Segments<'a>,
    /// The campaign's opens relative to the tenant's, 1 if not known.
    pub campaign_level: f64,
    /// Whether to list all hours of the window.
    pub want_candidates: bool,
    /// How often, and with which luck, a random hour is answered to learn from.
    pub exploration: Exploration,
}

/// A share of answers gets a random allowed hour, which tells the hours' worth from the habit of sending in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exploration {
    /// The share, 0 to 1.
    pub share: f64,
    /// Decides whether this answer explores.
    pub whether: u64,
    /// Draws the hour.
    pub hour: u64,
    /// Draws the candidate within the hour.
    pub within: u64,
}

/// The segments that a recipient may be answered for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Segments<'a> {
    /// The one that was asked for.
    pub asked: Option<&'a str>,
    /// Those the recipient belongs to.
    pub known: &'a [String],
}

/// An hour of the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HourCandidate {
    /// Start of the local hour.
    pub start_at: Timestamp,
    /// The local hour it is.
    pub local: LocalHour,
    /// Its best value, in the unit of [`Prediction::value`].
    pub value: f64,
    /// Whether any candidate instant in it is allowed.
    pub allowed: bool,
}

/// A central 80 % credible interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The 10 % quantile.
    pub low: f64,
    /// The mean.
    pub mean: f64,
    /// The 90 % quantile.
    pub high: f64,
}

/// The best allowed instant and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// When to send, jitter included.
    pub send_at: Timestamp,
    /// The local hour of `send_at`.
    pub local: LocalHour,
    /// Value of the best candidate: the probability of an open, or the share of a day's activity within an hour.
    pub value: f64,
    /// The hours of the window, ascending; empty unless asked for.
    pub candidates: Vec<HourCandidate>,
    /// The recipient's activity at this hour over everybody's: straddles 1 unless a personal preference is sure.
    pub relative_activity: Interval,
    /// Decayed opens and activity of the recipient, whether or not they sufficed.
    pub effective_observations: f64,
    /// Whose record the answer rests on.
    pub level: Level,
    /// Probability with which this hour was chosen: `(1 - e) [it is the best] + e / hours`, e the share that is explored.
    pub propensity: f32,
}

/// The window allows no candidate instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no allowed time between {earliest_at} and {deadline_at}")]
pub struct NoAllowedTime {
    /// Start of the window.
    pub earliest_at: Timestamp,
    /// End of the window.
    pub deadline_at: Timestamp,
}

/// All that is learned of a tenant for timing; shared by all predictions until the next refresh.
///
/// Once it has been asked its fields must not change: what all answers have in common is worked out once. A copy works it out anew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SendTimeModel {
    /// Activity by hour and weekday.
    pub everyone: EveryoneCurve,
    /// How interest fades.
    pub freshness: FreshnessCurve,
    /// How far one recipient may differ.
    pub parameters: Parameters,
    /// Groups of people with like hours, as fitted last.
    pub chronotypes: Chronotypes,
    /// The same on top of everybody's curve.
    pub kinds: Kinds,
    #[serde(skip)]
    remembered: Remembered,
}

// === impl SendTimeModel ===

impl SendTimeModel {
    /// The model of what was learned.
    pub fn new(
        everyone: EveryoneCurve,
        freshness: FreshnessCurve,
        parameters: Parameters,
        chronotypes: Chronotypes,
    ) -> SendTimeModel {
        SendTimeModel {
            kinds: chronotypes.on(&everyone),
            everyone,
            freshness,
            parameters,
            chronotypes,
            remembered: Remembered::default(),
        }
    }

    /// The best allowed instant for a recipient as of the window's start; fails only if nothing is allowed.
    pub fn predict(
        &self,
        profile: Option<&ActivityProfile>,
        request: PredictRequest<'_>,
    ) -> Result<Prediction, NoAllowedTime> {
        let window = request.window;
        let no_time = NoAllowedTime {
            earliest_at: window.earliest_at,
            deadline_at: window.deadline_at,
        };
        if window.validate().is_err() {
            return Err(no_time);
        }
        let clock = window.clock(request.zone, TAIL_HOURS);
        let (rates, level) = self.rates(profile, request.segments, window.earliest_at);
        let valuation = Valuation {
            by_week: &rates.by_week,
            freshness: &self.freshness,
            goal: request.goal,
            shared: (!level.rests_on_profile()).then_some(&self.remembered),
            is_everyone: matches!(rates, Cow::Borrowed(_)),
        };
        let curve = ValueCurve::over(window, &clock, valuation);
        let best_at = curve.best(window, &clock).ok_or(no_time)?;
        let planned_at = jittered(best_at, request.jitter, window, &clock);
        let chosen = request.exploration.choose(planned_at, window, &clock);
        let (send_at, level) = match chosen.explored_at {
            Some(at) => (at, Level::Exploration),
            None => (planned_at, level),
        };
        // The jitter is not part of the value: the model knows no minutes that fine.
        let valued_at = chosen.explored_at.unwrap_or(best_at);
        let unit = |raw: f64| match request.goal {
            Goal::OpenProbability => -(-rates.level * request.campaign_level * raw).exp_m1(),
            Goal::Activity => raw,
        };
        let mut candidates = Vec::new();
        if request.want_candidates {
            candidates = curve.hours(window, &clock);
            candidates
                .iter_mut()
                .for_each(|hour| hour.value = unit(hour.value));
        }
        Ok(Prediction {
            send_at,
            local: clock.local_hour(send_at),
            value: unit(curve.at(valued_at)),
            candidates,
            relative_activity: rates.interval(clock.local_hour(valued_at).hour),
            effective_observations: profile
                .map_or(0.0, |p| p.effective_observations(window.earliest_at)),
            level,
            propensity: chosen.propensity as f32,
        })
    }

    /// The rates to answer by; those that are borrowed are everybody's.
    fn rates(
        &self,
        profile: Option<&ActivityProfile>,
        segments: Segments<'_>,
        at: Timestamp,
    ) -> (Cow<'_, Rates>, Level) {
        let group = self.chronotypes.first(segments);
        let observations = profile.map_or(0.0, |p| p.effective_observations(at));
        // A third of the weight: n / (n + kappa) >= 1/3.
        let least = (self.parameters.kappa / 2.0).max(self.parameters.observations_min);
        let is_known = observations >= least;
        let common = self.common();
        match profile {
            // A few events tell nobody apart where people are not known to fall into groups.
            Some(profile) if is_known || self.is_grouped(observations) => {
                let reading = profile.read(at);
                let whole = Whole {
                    curve: &self.everyone,
                    kinds: &self.kinds,
                    kernel: &common.kernel,
                    parameters: &self.parameters,
                };
                let rates = Rates::recipient(whole, &reading, group);
                let level = if is_known {
                    Level::Recipient
                } else {
                    Level::Chronotype
                };
                (Cow::Owned(rates), level)
            }
            _ => match group {
                Some(weights) => {
                    let (everyone, kinds) = (&self.everyone, &self.kinds);
                    let rates = common.everyone.of_group(everyone, kinds, weights);
                    (Cow::Owned(rates), Level::Segment)
                }
                None => (Cow::Borrowed(&common.everyone), self.everyone_level()),
            },
        }
    }

    fn common(&self) -> &Common {
        self.remembered.common(|| {
            let kernel = CircularKernel::new(self.parameters.smoothing_sd_hours);
            Common {
                everyone: Rates::everyone(&self.everyone, &kernel, &self.parameters),
                kernel,
            }
        })
    }

    /// Whether so many observations may speak for a chronotype: there are some, and as many as for anything personal.
    fn is_grouped(&self, observations: f64) -> bool {
        !self.kinds.is_empty() && observations >= self.parameters.observations_min
    }

    fn everyone_level(&self) -> Level {
        if self.everyone.observations >= self.parameters.everyone_observations_min {
            Level::Everyone
        } else {
            Level::Default
        }
    }
}

#[cfg(test)]
mod tests;
