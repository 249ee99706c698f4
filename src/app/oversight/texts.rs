//! The words and numbers of alerts: what was seen, and what to do.
use jiff::Timestamp;

use crate::app::Results;
use crate::domain::alert::{Alert, AlertKind};
use crate::domain::experiment::Experiment;
use crate::domain::guardrail::{QUARANTINE_ABOVE, Reading};
use crate::domain::name::{Slug, VariantIndex};

/// An alert about an experiment.
fn about(experiment: &Experiment, kind: AlertKind, now: Timestamp) -> Alert {
    Alert {
        kind,
        experiment: Some(experiment.id.clone()),
        variant: None,
        text: String::new(),
        numbers: Vec::new(),
        raised_at: now,
    }
}

fn variant_id(experiment: &Experiment, variant: VariantIndex) -> Option<Slug> {
    experiment
        .variant(variant)
        .map(|variant| variant.id.clone())
}

fn word(id: &Option<Slug>) -> &str {
    id.as_ref().map_or("", Slug::as_str)
}

fn numbers(named: &[(&str, f64)]) -> Vec<(String, f64)> {
    named
        .iter()
        .map(|(name, number)| ((*name).to_owned(), *number))
        .collect()
}

fn numbers_of(reading: &Reading) -> Vec<(String, f64)> {
    numbers(&[
        ("events", reading.events),
        ("mails", reading.mails),
        ("mails_by_their_age", reading.matured),
        ("limit", reading.limit),
        ("probability_above_limit", reading.probability),
    ])
}

/// The alerts of a quarantine: about the variant, and about the experiment if it was the last.
pub fn stopped(
    after: &Experiment,
    variant: VariantIndex,
    reading: &Reading,
    now: Timestamp,
) -> Vec<Alert> {
    let id = variant_id(after, variant);
    let text = format!(
        "variant {} of experiments/{} was quarantined: {}; look into it, then resume or retire it",
        word(&id),
        after.id,
        reading.describe()
    );
    let mut alerts = vec![Alert {
        variant: id,
        text,
        numbers: numbers_of(reading),
        ..about(after, AlertKind::VariantQuarantined, now)
    }];
    if after.live_variants().is_empty() {
        let text = format!(
            "experiments/{} has no variant left and answers FAILED_PRECONDITION; add or resume one",
            after.id
        );
        alerts.push(Alert {
            text,
            ..about(after, AlertKind::NoVariantLeft, now)
        });
    }
    alerts
}

/// The alert that a guardrail is more likely broken than not.
pub fn warned(
    experiment: &Experiment,
    variant: VariantIndex,
    reading: &Reading,
    now: Timestamp,
) -> Alert {
    let id = variant_id(experiment, variant);
    let text = format!(
        "variant {} of experiments/{} may do harm: {}; above {QUARANTINE_ABOVE} it is quarantined",
        word(&id),
        experiment.id,
        reading.describe()
    );
    Alert {
        variant: id,
        text,
        numbers: numbers_of(reading),
        ..about(experiment, AlertKind::GuardrailWarning, now)
    }
}

/// The alert that a variant passed its probation.
pub fn passed(
    experiment: &Experiment,
    variant: VariantIndex,
    trials: f64,
    now: Timestamp,
) -> Alert {
    let id = variant_id(experiment, variant);
    let text = format!(
        "variant {} of experiments/{} passed its probation with {} matured trials and is live",
        word(&id),
        experiment.id,
        trials.floor()
    );
    Alert {
        variant: id,
        text,
        numbers: numbers(&[("effective_trials", trials)]),
        ..about(experiment, AlertKind::ProbationPassed, now)
    }
}

/// The alert that the stopping rule is met.
pub fn concludable(experiment: &Experiment, results: &Results) -> Alert {
    let leader = results.leader.and_then(|at| experiment.variants.get(at));
    let id = leader.map(|variant| variant.id.clone());
    let text = format!(
        "experiments/{} can be concluded: choosing {} is expected to lose {:.3} % of its rate at most",
        experiment.id,
        word(&id),
        100.0 * results.relative_loss
    );
    Alert {
        variant: id,
        text,
        numbers: numbers(&[("relative_expected_loss", results.relative_loss)]),
        ..about(experiment, AlertKind::SafeToConclude, results.as_of)
    }
}

/// The alert that shares are not as decided.
pub fn skewed(experiment: &Experiment, results: &Results) -> Alert {
    let text = format!(
        "variants of experiments/{} do not get the shares that were decided (p = {:.1e}); check that mails of all variants leave alike",
        experiment.id, results.ratio.p_value
    );
    Alert {
        text,
        numbers: numbers(&[
            ("p_value", results.ratio.p_value),
            ("e_value", results.ratio.evidence),
        ]),
        ..about(experiment, AlertKind::SampleRatio, results.as_of)
    }
}
