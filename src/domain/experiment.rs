//! An experiment: its variants, how to choose among them, and its life.
//!
//! Invariant: a variant's position never changes and is never used again, so cells and tokens keep their meaning when variants come and go.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::context::Context;
use crate::domain::half_life::Tracks;
use crate::domain::name::{ExperimentUid, Slug, VariantIndex};

mod settings;
mod variants;

pub use settings::{
    FrequencyCap, Guardrails, Probation, SendDefaults, SenderCapacity, Settings, Utility, WarmUp,
};

/// Most variants of one experiment, retired ones included.
pub const VARIANTS_MAX: usize = 1_000;
/// Most segments of one experiment.
pub const SEGMENTS_MAX: usize = 64;
/// Most dayparts of one experiment.
pub const DAYPARTS_MAX: usize = 8;
/// Most experiments of one tenant.
pub const EXPERIMENTS_MAX: usize = 100_000;
/// Longest attribution window, hours.
pub const ATTRIBUTION_HOURS_MAX: i64 = 30 * 24;

/// Variants of one campaign or flow, and how to choose among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// The caller's name for it.
    pub id: Slug,
    /// Its number, never used again.
    pub uid: ExperimentUid,
    /// Counts changes; the interface's etag.
    pub revision: u64,
    /// A name for people.
    pub display_name: String,
    /// Where it is in its life.
    pub state: ExperimentState,
    /// All variants ever added, in order; [`VariantIndex`] points here.
    pub variants: Vec<Variant>,
    /// What may be changed at creation and later.
    pub settings: Settings,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was first started.
    pub started_at: Option<Timestamp>,
    /// When it was concluded.
    pub concluded_at: Option<Timestamp>,
    /// The winner declared when concluded.
    pub winner: Option<VariantIndex>,
    /// Fingerprint of the request that created it; 0 for none.
    pub request: u64,
}

/// One text to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The caller's name for it.
    pub id: Slug,
    /// The subject line, or a name for people.
    pub display_name: String,
    /// Where it is in its life.
    pub state: VariantState,
    /// When it was added.
    pub created_at: Timestamp,
    /// Why it was quarantined; empty when it never was.
    pub quarantine_reason: String,
}

/// Where an experiment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExperimentState {
    /// Created, not yet deciding.
    Draft,
    /// Deciding and learning.
    Running,
    /// Not deciding, still learning.
    Paused,
    /// Ended, still learning from late events.
    Concluded,
}

/// Where a variant is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VariantState {
    /// Eligible.
    Live,
    /// Not eligible for now.
    Paused,
    /// Stopped because it does harm.
    Quarantined,
    /// Out for good.
    Retired,
    /// Eligible with a capped share, until it is known to do no harm.
    Probation,
}

/// What counts as success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Objective {
    /// A click.
    Click,
    /// An open.
    Open,
    /// A conversion.
    Conversion,
    /// The sum of conversion values per mail.
    Value,
    /// What responses are worth less what harm costs, per mail.
    Utility,
}

/// One campaign or an always-on flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExperimentKind {
    /// Evidence does not age.
    Campaign,
    /// Evidence fades with the half-life.
    Flow,
}

/// When a trial begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrialOn {
    /// With the decision, from its planned send time.
    Decision,
    /// With the sent event.
    Sent,
}

/// Why a step in the life of an experiment or variant cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The experiment is not in a state that allows the step.
    #[error("the experiment is {state:?}; {step} needs {needed}")]
    WrongState {
        /// Its state.
        state: ExperimentState,
        /// The step asked for.
        step: &'static str,
        /// The states that allow it.
        needed: &'static str,
    },
    /// The variant is not in a state that allows the step.
    #[error("the variant is {state:?}; {step} needs {needed}")]
    WrongVariantState {
        /// Its state.
        state: VariantState,
        /// The step asked for.
        step: &'static str,
        /// The states that allow it.
        needed: &'static str,
    },
    /// There is no such variant.
    #[error("the experiment has no variant {id}")]
    UnknownVariant {
        /// The id asked for.
        id: String,
    },
    /// There is such a variant already.
    #[error("the experiment has a variant {id} already; ids are never used again")]
    VariantExists {
        /// The id given.
        id: String,
    },
    /// There are too many variants.
    #[error("an experiment has at most {VARIANTS_MAX} variants, retired ones included")]
    TooManyVariants,
}

// === impl Objective ===

impl Objective {
    /// Whether it is the rate of one kind of response.
    pub fn is_rate(self) -> bool {
        self.counted() == self
    }

    /// The kind of response whose trials and successes are shown for it: conversions behind a value, clicks behind a utility, else itself.
    pub fn counted(self) -> Self {
        match self {
            Self::Value => Self::Conversion,
            Self::Utility => Self::Click,
            Self::Click | Self::Open | Self::Conversion => self,
        }
    }
}

// === impl Experiment ===

impl Experiment {
    /// The variant with this id.
    pub fn variant_index(&self, id: &str) -> Option<VariantIndex> {
        let at = self
            .variants
            .iter()
            .position(|variant| variant.id.as_str() == id)?;
        u16::try_from(at).ok().map(VariantIndex)
    }

    /// The variant at this position.
    pub fn variant(&self, index: VariantIndex) -> Option<&Variant> {
        self.variants.get(usize::from(index.0))
    }

    /// Positions of the variants that may be chosen, those on probation included, ascending.
    pub fn live_variants(&self) -> Vec<VariantIndex> {
        self.variants_where(VariantState::is_eligible)
    }

    /// Positions of the variants on probation, ascending.
    pub fn variants_on_probation(&self) -> Vec<VariantIndex> {
        self.variants_where(|state| state == VariantState::Probation)
    }

    fn variants_where(&self, is_meant: impl Fn(VariantState) -> bool) -> Vec<VariantIndex> {
        (0..)
            .map(VariantIndex)
            .zip(&self.variants)
            .filter(|(_, variant)| is_meant(variant.state))
            .map(|(index, _)| index)
            .collect()
    }

    /// The configured half-life of its evidence, hours; none for a campaign.
    pub fn half_life_hours(&self) -> Option<f64> {
        (self.settings.kind == ExperimentKind::Flow).then_some(self.settings.half_life_hours)
    }

    /// The half-lives in which its evidence is kept: one without end for a campaign, several side by side for a flow.
    pub fn tracks(&self) -> Tracks {
        match self.settings.kind {
            ExperimentKind::Campaign => Tracks::campaign(),
            ExperimentKind::Flow => Tracks::flow(self.settings.half_life_hours),
        }
    }

    /// The context of a mail: the position of its segment and daypart, each from 1, or 0 for none.
    pub fn context(&self, segment: Option<&str>, local_hour: u8) -> Context {
        let segment = segment
            .and_then(|name| {
                self.settings
                    .segments
                    .iter()
                    .position(|s| s.as_str() == name)
            })
            .map_or(0, |at| at as u8 + 1);
        Context {
            segment,
            daypart: self.daypart(local_hour),
        }
    }

    /// Hours before the first start belong to the last daypart, which wraps over midnight.
    fn daypart(&self, local_hour: u8) -> u8 {
        let starts = &self.settings.daypart_start_hours;
        let begun = starts.iter().filter(|start| **start <= local_hour).count();
        if begun == 0 {
            starts.len() as u8
        } else {
            begun as u8
        }
    }

    /// The first of the experiment's segments that is among these.
    pub fn first_segment_of<'a>(&'a self, of_recipient: &[String]) -> Option<&'a str> {
        self.settings
            .segments
            .iter()
            .map(Slug::as_str)
            .find(|s| of_recipient.iter().any(|r| r == s))
    }

    /// Starts a draft or goes on after a pause. Starting a running one changes nothing.
    pub fn start(&mut self, now: Timestamp) -> Result<(), LifecycleError> {
        match self.state {
            ExperimentState::Running => return Ok(()),
            ExperimentState::Draft | ExperimentState::Paused => {}
            ExperimentState::Concluded => {
                return Err(self.wrong_state("start", "DRAFT or PAUSED; create a new experiment"));
            }
        }
        self.started_at.get_or_insert(now);
        self.state = ExperimentState::Running;
        Ok(())
    }

    /// Stops deciding for now. Pausing a paused one changes nothing.
    pub fn pause(&mut self) -> Result<(), LifecycleError> {
        match self.state {
            ExperimentState::Running | ExperimentState::Paused => {
                self.state = ExperimentState::Paused;
                Ok(())
            }
            _ => Err(self.wrong_state("pause", "RUNNING")),
        }
    }

    /// Ends it, with a winner or without.
    pub fn conclude(&mut self, winner: Option<&str>, now: Timestamp) -> Result<(), LifecycleError> {
        if matches!(
            self.state,
            ExperimentState::Draft | ExperimentState::Concluded
        ) {
            return Err(self.wrong_state("conclude", "RUNNING or PAUSED"));
        }
        self.winner = winner.map(|id| self.known(id)).transpose()?;
        self.state = ExperimentState::Concluded;
        self.concluded_at = Some(now);
        Ok(())
    }

    fn known(&self, id: &str) -> Result<VariantIndex, LifecycleError> {
        self.variant_index(id)
            .ok_or_else(|| LifecycleError::UnknownVariant { id: id.to_owned() })
    }

    fn wrong_state(&self, step: &'static str, needed: &'static str) -> LifecycleError {
        LifecycleError::WrongState {
            state: self.state,
            step,
            needed,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
