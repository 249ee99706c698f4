//! The model card of an experiment: what its answers rest on, with which models and parameters, and what is not known.
//!
//! Invariant: it tells what is in the snapshot and the results and computes nothing of its own, so it cannot disagree with them. The form for
//! people is left to `markdown`.
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::cell::{HOUR_MS, Lane};
use crate::domain::delay::{DelayCurve, TAU_HOURS};
use crate::domain::experiment::{ExperimentKind, Settings, TrialOn, VariantState};
use crate::domain::name::{Slug, TenantId};
use crate::domain::policy::Policy;
use crate::domain::posterior::{CellCounts, campaign_prior, reporting_prior};
use crate::domain::snapshot::ChoiceLevel;

use super::results::Results;
use super::{App, AppError};

mod limits;
mod markdown;

/// What an experiment's answers rest on.
#[derive(Clone, Debug)]
pub struct ModelCard {
    /// What it shows now.
    pub results: Results,
    /// The data used.
    pub data: CardData,
    /// The models, with their parameters.
    pub models: Vec<CardModel>,
    /// How many contexts (segment and daypart) are answered from which level.
    pub levels: BTreeMap<ChoiceLevel, usize>,
    /// What is assumed and not known.
    pub limits: Vec<String>,
    /// Limits of harm and what they have stopped.
    pub guardrails: Vec<CardGuardrail>,
}

/// The data behind an experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CardData {
    /// Trials under the policy.
    pub trials: f64,
    /// Those corrected for answers still to come.
    pub effective_trials: f64,
    /// Trials planned for later.
    pub planned_trials: f64,
    /// Successes of the objective.
    pub successes: f64,
    /// Decisions recorded, both lanes.
    pub decided: i64,
    /// The hour of the first decision or event; none before there is one.
    pub first_at: Option<Timestamp>,
    /// The hour of the last.
    pub last_at: Option<Timestamp>,
}

/// One model in use.
#[derive(Clone, Debug, PartialEq)]
pub struct CardModel {
    /// A short name.
    pub name: &'static str,
    /// What it does here, in one sentence.
    pub about: String,
    /// Its parameters and their values.
    pub parameters: Vec<(String, f64)>,
}

/// One limit of harm.
#[derive(Clone, Debug, PartialEq)]
pub struct CardGuardrail {
    /// What is limited.
    pub name: &'static str,
    /// The rate at which it stops a variant; 1 never does.
    pub rate_max: f64,
}

impl App {
    /// What an experiment's answers rest on, as of now.
    pub fn model_card(&self, tenant: TenantId, id: &Slug) -> Result<ModelCard, AppError> {
        let results = self.results(tenant, id)?;
        let live = self
            .registry
            .by_name(tenant, id)
            .ok_or_else(|| AppError::no_experiment(id.as_str()))?;
        let hours = live.sums().hours();
        let settings = &results.experiment.settings;
        let beliefs =
            live.beliefs(&|tenant, objective| self.registry.expected_rate(tenant, objective));
        let belief = beliefs.of(settings.objective);
        let (curve, expected_rate) = (belief.curve, belief.prior.mean);
        let limits = limits::limits(&results, &curve);
        Ok(ModelCard {
            data: CardData::of(&results, live.sums().decided(Lane::Holdout), hours),
            models: models(&results, &curve, expected_rate),
            levels: live.snapshot().levels(),
            limits,
            guardrails: guardrails(settings),
            results,
        })
    }
}

// === impl ModelCard ===

impl ModelCard {
    /// The card for people, as markdown.
    pub fn markdown(&self) -> String {
        markdown::markdown(self)
    }
}

// === impl CardData ===

impl CardData {
    fn of(results: &Results, held_decisions: i64, hours: Option<(i32, i32)>) -> Self {
        let at = |hour: i32| Timestamp::from_millisecond(i64::from(hour) * HOUR_MS).ok();
        let mut data = Self {
            decided: held_decisions,
            first_at: hours.and_then(|(first, _)| at(first)),
            last_at: hours.and_then(|(_, last)| at(last)),
            ..Self::default()
        };
        for variant in &results.variants {
            data.trials += variant.trials;
            data.effective_trials += variant.effective_trials;
            data.planned_trials += variant.planned_trials;
            data.successes += variant.successes;
            data.decided += variant.counts.decided;
        }
        data
    }
}

fn models(results: &Results, curve: &DelayCurve, expected_rate: f64) -> Vec<CardModel> {
    let settings = &results.experiment.settings;
    let counts: Vec<CellCounts> = results
        .variants
        .iter()
        .map(|variant| CellCounts {
            trials: variant.effective_trials,
            successes: variant.successes,
        })
        .collect();
    let mut models = vec![
        policy(settings),
        deciding(settings, &counts, expected_rate),
        reporting(&counts, expected_rate),
        delay(curve),
    ];
    if settings.kind == ExperimentKind::Flow {
        models.push(CardModel {
            name: "decay",
            about: "Evidence fades with the half-life; the prior does not.".to_owned(),
            parameters: vec![("half_life_hours".to_owned(), settings.half_life_hours)],
        });
    }
    if !settings.send_defaults.transactional {
        models.push(CardModel {
            name: "send time",
            about: "The allowed instant with the highest probability of an open under the recipient's and everybody's activity by hour."
                .to_owned(),
            parameters: vec![("exploration_share".to_owned(), settings.exploration_share)],
        });
    }
    models
}

fn policy(settings: &Settings) -> CardModel {
    let (about, own): (&str, Vec<(String, f64)>) = match &settings.policy {
        Policy::HorizonThompson => (
            "Thompson sampling that explores only as far as it can still pay off.",
            Vec::new(),
        ),
        Policy::Thompson => (
            "Thompson sampling: each variant with the probability that it is best.",
            Vec::new(),
        ),
        Policy::TopTwo { beta } => (
            "Top-two Thompson sampling, to find the best variant with few sends.",
            vec![("beta".to_owned(), *beta)],
        ),
        Policy::Uniform => ("The classical test: all variants alike.", Vec::new()),
        Policy::Fixed { weights } => (
            "Shares given beforehand.",
            (1..)
                .zip(weights)
                .map(|(at, weight)| (format!("weight_{at}"), *weight))
                .collect(),
        ),
    };
    let shared = [
        ("floor", settings.floor),
        ("planned_sends", settings.planned_sends as f64),
        (
            "trial_on_decision",
            f64::from(u8::from(settings.trial_on == TrialOn::Decision)),
        ),
        (
            "attribution_window_hours",
            settings.attribution_window_ms as f64 / HOUR_MS as f64,
        ),
    ];
    CardModel {
        name: "policy",
        about: about.to_owned(),
        parameters: own
            .into_iter()
            .chain(shared.map(|(name, value)| (name.to_owned(), value)))
            .collect(),
    }
}

fn deciding(settings: &Settings, counts: &[CellCounts], expected_rate: f64) -> CardModel {
    let (about, mean, weight) = match settings.policy {
        Policy::HorizonThompson => {
            let prior = campaign_prior(expected_rate, counts);
            (
                "What a variant is believed to be before its own data: the campaign's level.",
                prior.mean,
                prior.weight,
            )
        }
        _ => (
            "What a variant is believed to be before its own data: the tenant's rate, weakly.",
            expected_rate,
            (0.25 / expected_rate).max(10.0),
        ),
    };
    CardModel {
        name: "deciding prior",
        about: about.to_owned(),
        parameters: vec![("mean".to_owned(), mean), ("weight".to_owned(), weight)],
    }
}

fn reporting(counts: &[CellCounts], expected_rate: f64) -> CardModel {
    let prior = reporting_prior(expected_rate, counts);
    CardModel {
        name: "reporting prior",
        about:
            "Reported rates are shrunk towards the campaign's level, so that a winner's lead is not overstated."
                .to_owned(),
        parameters: vec![
            ("mean".to_owned(), prior.mean),
            ("kappa".to_owned(), prior.weight),
        ],
    }
}

fn delay(curve: &DelayCurve) -> CardModel {
    let weights = curve.weights();
    let terms = TAU_HOURS
        .iter()
        .zip(weights)
        .map(|(tau_hours, weight)| (format!("weight_tau_{tau_hours}_h"), weight));
    let shares = [1.0, 6.0, 24.0, 72.0]
        .map(|hours| (format!("arrived_by_{hours}_h"), curve.arrived_share(hours)));
    CardModel {
        name: "delay curve",
        about: "The share of successes that has arrived by the age of a mail; a mail that may still be answered counts only in part."
            .to_owned(),
        parameters: terms.chain(shares).collect(),
    }
}

fn guardrails(settings: &Settings) -> Vec<CardGuardrail> {
    let limits = &settings.guardrails;
    [
        ("complaints", limits.complaint_rate_max),
        ("unsubscribes", limits.unsubscribe_rate_max),
        ("bounces", limits.bounce_rate_max),
        ("negative replies", limits.negative_reply_rate_max),
    ]
    .map(|(name, rate_max)| CardGuardrail { name, rate_max })
    .to_vec()
}

/// Variants that a guardrail or a person has stopped.
fn stopped(results: &Results) -> impl Iterator<Item = (&str, &str)> {
    let variants = results.experiment.variants.iter();
    variants
        .filter(|variant| variant.state == VariantState::Quarantined)
        .map(|variant| (variant.id.as_str(), variant.quarantine_reason.as_str()))
}
