//! UpdateExperiment: the fields of the mask, checked like those of a new experiment, and nothing else.
use std::sync::Arc;

use crate::app::{App, AppError, FIELDS_IN_DRAFT, SettingsChange};
use crate::domain::experiment::{Experiment, Settings};
use crate::domain::name::{Slug, TenantId};
use crate::grpc::check::Checks;
use crate::grpc::wire;

use super::convert::revision;
use super::settings::settings;

/// Fields that may change at any time.
const FIELDS_ALWAYS: [&str; 12] = [
    "display_name",
    "policy",
    "floor",
    "planned_sends",
    "send_defaults",
    "guardrails",
    "probation",
    "utility",
    "open_proxy",
    "exploration_share",
    "sender_capacity",
    "shadow",
];

/// Changes the fields of the mask.
pub async fn update(
    app: &App,
    tenant: TenantId,
    request: wire::UpdateExperimentRequest,
) -> Result<Arc<Experiment>, AppError> {
    let wire::UpdateExperimentRequest {
        experiment,
        update_mask,
    } = request;
    let mut checks = Checks::default();
    if experiment.is_none() {
        checks.wrong(
            "experiment",
            "is required, with its name and the new values",
        );
    }
    let wire = experiment.unwrap_or_default();
    let id = checks.experiment("experiment.name", &wire.name);
    let fields = fields(&mut checks, update_mask);
    let Some(id) = id else {
        return Err(checks.into_error());
    };
    checks.finish()?;
    let revision = revision(&wire.etag)?;
    let current = app.experiment(tenant, &id)?;
    let variants: Vec<Slug> = current
        .variants
        .iter()
        .map(|variant| variant.id.clone())
        .collect();
    let new = new_values(app, wire, &variants)?;
    let change = SettingsChange {
        revision,
        fields: &fields,
        apply: &|experiment| apply(experiment, &new, &fields),
    };
    app.update_experiment(tenant, &id, change).await
}

/// The new values, all fields checked: a value outside the mask must still be a possible one.
fn new_values(
    app: &App,
    wire: wire::Experiment,
    variants: &[Slug],
) -> Result<(String, Settings), AppError> {
    let mut checks = Checks::default();
    let display_name = checks.text("experiment.display_name", wire.display_name.clone(), 256);
    let settings = settings(&mut checks, wire, variants, app.settings());
    checks.finish()?;
    Ok((display_name, settings))
}

fn fields(checks: &mut Checks, mask: Option<prost_types::FieldMask>) -> Vec<String> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        checks.wrong(
            "update_mask",
            "is required: the names of the fields to change, or *",
        );
    }
    let all = || FIELDS_ALWAYS.iter().chain(&FIELDS_IN_DRAFT);
    if paths.iter().any(|path| path == "*") {
        return all().map(ToString::to_string).collect();
    }
    for path in &paths {
        if !all().any(|field| field == path) {
            checks.wrong(
                "update_mask",
                format!(
                    "{path} cannot be updated; these can: {}",
                    all().copied().collect::<Vec<_>>().join(", ")
                ),
            );
        }
    }
    paths
}

fn apply(
    experiment: &mut Experiment,
    (display_name, new): &(String, Settings),
    fields: &[String],
) -> Result<(), AppError> {
    let settings = &mut experiment.settings;
    for field in fields {
        match field.as_str() {
            "display_name" => experiment.display_name.clone_from(display_name),
            "policy" => settings.policy = new.policy.clone(),
            "floor" => settings.floor = new.floor,
            "planned_sends" => settings.planned_sends = new.planned_sends,
            "send_defaults" => settings.send_defaults = new.send_defaults.clone(),
            "guardrails" => settings.guardrails = new.guardrails,
            "probation" => settings.probation = new.probation,
            "utility" => settings.utility = new.utility,
            "open_proxy" => settings.open_proxy = new.open_proxy,
            "exploration_share" => settings.exploration_share = new.exploration_share,
            "sender_capacity" => settings.capacity = new.capacity,
            "shadow" => settings.shadow = new.shadow,
            "objective" => settings.objective = new.objective,
            "kind" => settings.kind = new.kind,
            "attribution_window" => settings.attribution_window_ms = new.attribution_window_ms,
            "trial_on" => settings.trial_on = new.trial_on,
            "holdout_share" => settings.holdout_share = new.holdout_share,
            "segments" => settings.segments = new.segments.clone(),
            "daypart_start_hours" => settings.daypart_start_hours = new.daypart_start_hours.clone(),
            "half_life" => settings.half_life_hours = new.half_life_hours,
            _ => {}
        }
    }
    Ok(())
}
