//! hermod's own decision log as samples for an estimate.
//!
//! Invariant: another policy's probabilities are made of the very posteriors that the decision was made of, over the variants eligible then.
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::app::{App, AppError, Joined};
use crate::domain::cell::Lane;
use crate::domain::content_id::ContentId;
use crate::domain::decision_log::{LoggedTable, LoggedVerdict};
use crate::domain::event::EventKind;
use crate::domain::experiment::{Experiment, Objective, TrialOn};
use crate::domain::name::{Slug, TenantId, VariantIndex};
use crate::domain::off_policy::Sample;
use crate::domain::policy::Policy;
use crate::domain::recipient::Answer;
use crate::domain::snapshot::{Rule, Table};

use super::Row;

/// What is asked of a log.
#[derive(Clone, Debug)]
pub struct Question {
    /// The tenant.
    pub tenant: TenantId,
    /// The experiment.
    pub experiment: Slug,
    /// The policy to evaluate.
    pub target: Target,
    /// What counts as success; none for the experiment's own.
    pub objective: Option<Objective>,
    /// Decisions count whose attribution window has closed by then.
    pub as_of: Timestamp,
}

/// A policy to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The log's own, as it was.
    Log,
    /// All eligible variants alike.
    Uniform,
    /// Always this variant.
    Variant(Slug),
    /// This policy on the posteriors as they were, without a floor.
    Policy(Policy),
}

/// Decisions that are not in the samples, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Their attribution window is still open.
    pub not_matured: u64,
    /// In the holdout, which gets another send time as well.
    pub holdout: u64,
    /// Answers not to send, and decisions whose mail was not reported as sent where only that counts.
    pub not_sent: u64,
    /// The variant asked for was not among the eligible ones.
    pub not_eligible: u64,
    /// Entries that cannot be read.
    pub unreadable: u64,
    /// Decided in shadow mode, where the platform chose.
    pub shadow: u64,
}

/// The samples of a log, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The samples.
    pub samples: Vec<Sample>,
    /// Decisions that are not among them.
    pub left_out: LeftOut,
}

/// Probabilities that were worked out, by table and eligible variants.
#[derive(Default)]
struct Worked(HashMap<Drawn, Option<Arc<Both>>>);

/// A table and the variants that were eligible.
type Drawn = (ContentId, Option<Vec<VariantIndex>>);

/// Probabilities of all variants by position: of the log and of the other policy.
struct Both {
    logged: Vec<f64>,
    target: Vec<f64>,
}

/// Evaluates policies on hermod's own decision log, with what was left out.
///
/// # Errors
/// The store cannot be read, or there is no such experiment.
pub async fn evaluate_own(
    app: &App,
    question: &Question,
    weight_max: f64,
) -> Result<(Row, LeftOut), AppError> {
    let Found { samples, left_out } = samples_of(app, question).await?;
    let log = format!("experiments/{}", question.experiment);
    let row = Row::of(log, question.target.name(), &samples, weight_max);
    Ok((row, left_out))
}

/// The samples of a log for one policy.
///
/// # Errors
/// The store cannot be read, or there is no such experiment.
pub async fn samples_of(app: &App, question: &Question) -> Result<Found, AppError> {
    let (mut found, mut left_out) = (Vec::new(), LeftOut::default());
    let mut worked = Worked::default();
    let unreadable = app
        .each_logged(question.tenant, &question.experiment, |joined| {
            if let Some(sample) = sample(&joined, question, &mut worked, &mut left_out) {
                found.push((joined.at.decided_at_ms, joined.at.decision, sample));
            }
        })
        .await?;
    left_out.unreadable = unreadable.len() as u64;
    found.sort_by_key(|(at_ms, decision, _)| (*at_ms, *decision));
    let samples = found.into_iter().map(|(_, _, sample)| sample).collect();
    Ok(Found { samples, left_out })
}

fn sample(
    joined: &Joined,
    question: &Question,
    worked: &mut Worked,
    left_out: &mut LeftOut,
) -> Option<Sample> {
    if joined.decision.platform.is_some() {
        left_out.shadow += 1;
        return None;
    }
    let LoggedVerdict::Send {
        answer:
            Answer::Send {
                variant,
                lane,
                propensity,
                ..
            },
        send_at_ns,
        ..
    } = &joined.decision.outcome
    else {
        left_out.not_sent += 1;
        return None;
    };
    if *lane == Lane::Holdout {
        left_out.holdout += 1;
        return None;
    }
    let planned_ms = i64::try_from(send_at_ns.div_euclid(1_000_000)).unwrap_or(i64::MAX);
    let sent_at_ms = joined
        .outcome
        .map_or(planned_ms, |outcome| outcome.send_at_ms);
    let settings = &joined.experiment.settings;
    if sent_at_ms.saturating_add(settings.attribution_window_ms) > question.as_of.as_millisecond() {
        left_out.not_matured += 1;
        return None;
    }
    let has_left = joined
        .outcome
        .is_some_and(|outcome| outcome.has(EventKind::Sent));
    if settings.trial_on == TrialOn::Sent && !has_left {
        left_out.not_sent += 1;
        return None;
    }
    let Some(both) = worked.probabilities(joined, &question.target) else {
        left_out.not_eligible += 1;
        return None;
    };
    Some(Sample {
        action: usize::from(variant.0),
        reward: reward(joined, question),
        propensity: *propensity,
        logged: both.logged.clone(),
        target: both.target.clone(),
    })
}

/// What came of a decision, by the objective asked for or else the experiment's own.
fn reward(joined: &Joined, question: &Question) -> f64 {
    let settings = &joined.experiment.settings;
    let objective = question.objective.unwrap_or(settings.objective);
    joined
        .outcome
        .map_or(0.0, |outcome| outcome.reward(objective, &settings.utility))
}

// === impl Worked ===

impl Worked {
    /// The probabilities at a decision; none where the policy could not have been followed.
    fn probabilities(&mut self, joined: &Joined, target: &Target) -> Option<Arc<Both>> {
        let id = joined.decision.inputs.table?;
        let table = joined.table.as_ref()?;
        let eligible = joined.decision.inputs.eligible.clone();
        self.0
            .entry((id, eligible))
            .or_insert_with_key(|(_, eligible)| {
                both(table, eligible.as_deref(), &joined.experiment, target).map(Arc::new)
            })
            .clone()
    }
}

fn both(
    logged: &LoggedTable,
    eligible: Option<&[VariantIndex]>,
    experiment: &Experiment,
    target: &Target,
) -> Option<Both> {
    let mut candidates = logged.candidates.clone();
    if let Some(eligible) = eligible {
        candidates.retain(|candidate| eligible.contains(&candidate.variant));
    }
    let table_of = |rule: Rule| Table::of(&Arc::new(rule), candidates.clone(), logged.level);
    let own = table_of(logged.rule.clone())?;
    let own_probabilities = own.allocation.probabilities().to_vec();
    let probabilities = match target {
        Target::Log => own_probabilities.clone(),
        Target::Uniform => vec![1.0 / candidates.len() as f64; candidates.len()],
        Target::Variant(id) => {
            let wanted = experiment.variant_index(id.as_str())?;
            let position = own.position(wanted)?;
            (0..candidates.len())
                .map(|at| f64::from(u8::from(at == position)))
                .collect()
        }
        Target::Policy(policy) => {
            let rule = Rule {
                policy: policy.clone(),
                floor: 0.0,
                ..logged.rule.clone()
            };
            table_of(rule)?.allocation.probabilities().to_vec()
        }
    };
    let by_position = |values: &[f64]| {
        let mut all = vec![0.0; experiment.variants.len()];
        for (candidate, value) in candidates.iter().zip(values) {
            if let Some(slot) = all.get_mut(usize::from(candidate.variant.0)) {
                *slot = *value;
            }
        }
        all
    };
    Some(Both {
        logged: by_position(&own_probabilities),
        target: by_position(&probabilities),
    })
}

// === impl Target ===

impl Target {
    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Self::Log => "log".to_owned(),
            Self::Uniform => "uniform".to_owned(),
            Self::Variant(id) => format!("variant:{id}"),
            Self::Policy(Policy::HorizonThompson) => "horizon_thompson".to_owned(),
            Self::Policy(Policy::Thompson) => "thompson".to_owned(),
            Self::Policy(Policy::TopTwo { .. }) => "top_two".to_owned(),
            Self::Policy(Policy::Uniform) => "uniform".to_owned(),
            Self::Policy(Policy::Fixed { .. }) => "fixed".to_owned(),
        }
    }
}
