//! Requests about experiments: checked, and turned into what the use cases take.
use std::collections::HashMap;

use crate::app::{AppError, AppSettings, NewExperiment};
use crate::domain::experiment::{ExperimentState, VARIANTS_MAX};
use crate::domain::name::{Slug, TenantId};
use crate::grpc::check::Checks;
use crate::grpc::wire;

use super::settings::settings;

/// Most bytes of a text for people.
pub const TEXT_BYTES_MAX: usize = 1_024;
const DISPLAY_NAME_BYTES_MAX: usize = 256;

/// A request to create an experiment.
pub fn new_experiment(
    tenant: TenantId,
    request: wire::CreateExperimentRequest,
    defaults: &AppSettings,
) -> Result<NewExperiment, AppError> {
    let wire::CreateExperimentRequest {
        experiment_id,
        experiment,
        request_id,
        validate_only,
    } = request;
    let mut checks = Checks::default();
    let id = checks.slug("experiment_id", &experiment_id);
    if experiment.is_none() {
        checks.wrong("experiment", "is required, with one variant or more");
    }
    let mut wire = experiment.unwrap_or_default();
    let variants = variants(&mut checks, std::mem::take(&mut wire.variants));
    let ids: Vec<Slug> = variants.iter().map(|(id, _)| id.clone()).collect();
    let display_name = checks.text(
        "experiment.display_name",
        std::mem::take(&mut wire.display_name),
        DISPLAY_NAME_BYTES_MAX,
    );
    let settings = settings(&mut checks, wire, &ids, defaults);
    let request_id = checks.identifier("request_id", request_id, false);
    checks.finish()?;
    Ok(NewExperiment {
        tenant,
        id: id.unwrap_or_else(Slug::placeholder),
        display_name,
        variants,
        settings,
        request_id,
        validate_only,
    })
}

fn variants(checks: &mut Checks, wire: Vec<wire::Variant>) -> Vec<(Slug, String)> {
    if wire.is_empty() || wire.len() > VARIANTS_MAX {
        checks.wrong(
            "experiment.variants",
            format!("has {}; give 1 to {VARIANTS_MAX}", wire.len()),
        );
        return Vec::new();
    }
    let mut seen = HashMap::new();
    let mut variants = Vec::with_capacity(wire.len());
    for (at, variant) in wire.into_iter().enumerate() {
        let field = format!("experiment.variants[{at}]");
        if let Some(first) = seen.insert(variant.variant_id.clone(), at) {
            checks.wrong(
                format!("{field}.variant_id"),
                format!("is the same as that of variants[{first}]"),
            );
        }
        variants.extend(self::variant(checks, &field, variant));
    }
    variants
}

fn variant(checks: &mut Checks, field: &str, wire: wire::Variant) -> Option<(Slug, String)> {
    let wire::Variant {
        variant_id,
        display_name,
        state: _,
        create_time: _,
        quarantine_reason: _,
    } = wire;
    let display_name = checks.text(
        &format!("{field}.display_name"),
        display_name,
        TEXT_BYTES_MAX,
    );
    checks
        .slug(&format!("{field}.variant_id"), &variant_id)
        .map(|id| (id, display_name))
}

/// A request to add a variant.
pub fn added_variant(request: wire::AddVariantRequest) -> Result<(Slug, (Slug, String)), AppError> {
    let wire::AddVariantRequest { name, variant } = request;
    let mut checks = Checks::default();
    let id = checks.experiment("name", &name);
    let variant = self::variant(&mut checks, "variant", variant.unwrap_or_default());
    match (id, variant) {
        (Some(id), Some(variant)) => checks.finish().map(|()| (id, variant)),
        _ => Err(checks.into_error()),
    }
}

/// The revision that an etag stands for; none for the empty one.
pub fn revision(etag: &str) -> Result<Option<u64>, AppError> {
    if etag.is_empty() {
        return Ok(None);
    }
    let revision = etag
        .strip_prefix("r")
        .and_then(|number| number.parse().ok());
    revision.map(Some).ok_or_else(|| {
        AppError::invalid_field(
            "ETAG_INVALID",
            "etag",
            "is not an etag of this server; read the experiment and pass its etag",
        )
    })
}

/// The state that a filter asks for; none for all.
pub fn state_of(wire: wire::ExperimentState) -> Option<ExperimentState> {
    match wire {
        wire::ExperimentState::Unspecified => None,
        wire::ExperimentState::Draft => Some(ExperimentState::Draft),
        wire::ExperimentState::Running => Some(ExperimentState::Running),
        wire::ExperimentState::Paused => Some(ExperimentState::Paused),
        wire::ExperimentState::Concluded => Some(ExperimentState::Concluded),
    }
}
