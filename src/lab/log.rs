//! Off-policy evaluation of logs: of hermod's own decision log, or of a file in the form of the Open Bandit data.
//!
//! Invariant: only matured decisions that a policy made and a mail carried out count, in the order in which they were made; everything left
//! out is counted by its reason.
mod file;
mod own;

use serde::Serialize;

use crate::domain::off_policy::{Concern, Evaluation, RunningMeans, Sample};

pub use file::{FileQuestion, evaluate_file};
pub use own::{Found, LeftOut, Question, Target, evaluate_own, samples_of};

/// One policy on one log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The log: the experiment, or campaign and logging policy of a file.
    pub log: String,
    /// The policy that is evaluated.
    pub policy: String,
    /// The estimates.
    pub evaluation: Evaluation,
    /// What to beware of.
    pub concerns: Vec<Concern>,
    /// What the policy really got, where the file holds its own choices too.
    pub on_policy: Option<crate::domain::off_policy::Value>,
}

impl Row {
    fn of(log: String, policy: String, samples: &[Sample], weight_max: f64) -> Self {
        let evaluation = Evaluation::of(&RunningMeans::choices(samples), weight_max);
        Self {
            log,
            policy,
            concerns: evaluation.concerns(),
            evaluation,
            on_policy: None,
        }
    }
}
