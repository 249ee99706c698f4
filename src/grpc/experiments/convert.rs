//! Experiments on the wire and within.
use std::collections::HashMap;

use crate::app::{AppError, AppSettings, NewExperiment};
use crate::domain::experiment::{
    ATTRIBUTION_HOURS_MAX, DAYPARTS_MAX, Experiment, ExperimentKind, ExperimentState, Objective,
    SEGMENTS_MAX, Settings, TrialOn, VARIANTS_MAX, Variant, VariantState,
};
use crate::domain::name::{Slug, TenantId};
use crate::domain::policy::Policy;
use crate::grpc::check::{Checks, DurationLimits, duration_ms, timestamp};
use crate::grpc::constraints::{send_defaults, wire_defaults};
use crate::grpc::wire;

/// Most bytes of a text for people.
pub const TEXT_BYTES_MAX: usize = 1_024;
const DISPLAY_NAME_BYTES_MAX: usize = 256;
const HALF_LIFE_HOURS_DEFAULT: f64 = 21.0 * 24.0;
const PLANNED_SENDS_MAX: i64 = 10_000_000_000;
const WEIGHT_MAX: f64 = 1e6;
const SHARE_MAX: f64 = 0.5;

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

/// Everything that the owner of an experiment chooses. `variants` are those that a fixed policy may name, in order.
pub fn settings(
    checks: &mut Checks,
    experiment: wire::Experiment,
    variants: &[Slug],
    defaults: &AppSettings,
) -> Settings {
    // Set by the server or converted elsewhere: names, states, times, variants.
    let wire::Experiment {
        name: _,
        display_name: _,
        uid: _,
        etag: _,
        state: _,
        variants: _,
        policy,
        objective,
        kind,
        attribution_window,
        trial_on,
        holdout_share,
        floor,
        segments,
        daypart_start_hours,
        send_defaults: defaults_wire,
        half_life,
        planned_sends,
        create_time: _,
        update_time: _,
        start_time: _,
        conclude_time: _,
        winner: _,
    } = experiment;
    let objective = match checks.known::<wire::Objective>("experiment.objective", objective) {
        Some(wire::Objective::Open) => Objective::Open,
        Some(wire::Objective::Conversion) => Objective::Conversion,
        _ => Objective::Click,
    };
    let kind = match checks.known::<wire::ExperimentKind>("experiment.kind", kind) {
        Some(wire::ExperimentKind::Flow) => ExperimentKind::Flow,
        _ => ExperimentKind::Campaign,
    };
    let trial_on = match checks.known::<wire::TrialOn>("experiment.trial_on", trial_on) {
        Some(wire::TrialOn::Sent) => TrialOn::Sent,
        _ => TrialOn::Decision,
    };
    let window = checks.duration(
        "experiment.attribution_window",
        attribution_window,
        DurationLimits::seconds(3_600, ATTRIBUTION_HOURS_MAX * 3_600),
    );
    let half_life = checks.duration(
        "experiment.half_life",
        half_life,
        DurationLimits::seconds(86_400, 3_650 * 86_400),
    );
    if !(0..=PLANNED_SENDS_MAX).contains(&planned_sends) {
        checks.wrong(
            "experiment.planned_sends",
            format!("must be 0 to {PLANNED_SENDS_MAX}"),
        );
    }
    let window_hours_default = if objective == Objective::Conversion {
        168
    } else {
        72
    };
    Settings {
        policy: self::policy(checks, policy, kind, variants),
        objective,
        kind,
        attribution_window_ms: window.map_or(window_hours_default * 3_600_000, |window| {
            window.as_millis() as i64
        }),
        trial_on,
        holdout_share: holdout_share.map_or(defaults.default_holdout_share, |share| {
            checks.share("experiment.holdout_share", share, SHARE_MAX)
        }),
        floor: floor.map_or(defaults.default_floor, |floor| {
            checks.share("experiment.floor", floor, SHARE_MAX)
        }),
        segments: self::segments(checks, segments),
        daypart_start_hours: dayparts(checks, daypart_start_hours),
        send_defaults: send_defaults(checks, defaults_wire),
        half_life_hours: half_life.map_or(HALF_LIFE_HOURS_DEFAULT, |half_life| {
            half_life.as_secs_f64() / 3_600.0
        }),
        planned_sends: u64::try_from(planned_sends).unwrap_or(0),
    }
}

/// The default is horizon-scaled for a campaign; a flow has no end, so plain Thompson sampling.
fn policy(
    checks: &mut Checks,
    wire: Option<wire::Policy>,
    kind: ExperimentKind,
    variants: &[Slug],
) -> Policy {
    use wire::policy::Policy as Wire;
    match wire.and_then(|policy| policy.policy) {
        None if kind == ExperimentKind::Flow => Policy::Thompson,
        None | Some(Wire::HorizonThompson(wire::HorizonThompsonPolicy {})) => {
            Policy::HorizonThompson
        }
        Some(Wire::Thompson(wire::ThompsonPolicy {})) => Policy::Thompson,
        Some(Wire::TopTwo(wire::TopTwoPolicy { beta })) => {
            let beta = beta.unwrap_or(0.5);
            if !(beta > 0.0 && beta <= 1.0) {
                checks.wrong(
                    "experiment.policy.top_two.beta",
                    "must be above 0 and at most 1",
                );
            }
            Policy::TopTwo { beta }
        }
        Some(Wire::Uniform(wire::UniformPolicy {})) => Policy::Uniform,
        Some(Wire::Fixed(wire::FixedPolicy { weights })) => fixed(checks, weights, variants),
    }
}

fn fixed(checks: &mut Checks, named: HashMap<String, f64>, variants: &[Slug]) -> Policy {
    let field = "experiment.policy.fixed.weights";
    let mut weights = vec![0.0; variants.len()];
    for (id, weight) in named {
        if !(0.0..=WEIGHT_MAX).contains(&weight) {
            checks.wrong(
                format!("{field}[{id}]"),
                format!("must be a number from 0 to {WEIGHT_MAX}"),
            );
        }
        match variants
            .iter()
            .position(|variant| variant.as_str() == id)
            .and_then(|at| weights.get_mut(at))
        {
            Some(slot) => *slot = weight,
            None => checks.wrong(
                format!("{field}[{id}]"),
                "names no variant of the experiment",
            ),
        }
    }
    if !weights.iter().any(|weight| *weight > 0.0) {
        checks.wrong(field, "must give at least one variant a weight above 0");
    }
    Policy::Fixed { weights }
}

fn segments(checks: &mut Checks, wire: Vec<String>) -> Vec<Slug> {
    if wire.len() > SEGMENTS_MAX {
        checks.wrong(
            "experiment.segments",
            format!("has {}; at most {SEGMENTS_MAX} are allowed", wire.len()),
        );
        return Vec::new();
    }
    let mut segments: Vec<Slug> = Vec::with_capacity(wire.len());
    for (at, name) in wire.iter().enumerate() {
        let field = format!("experiment.segments[{at}]");
        if let Some(segment) = checks.slug(&field, name) {
            if segments.contains(&segment) {
                checks.wrong(field, "is named twice");
            }
            segments.push(segment);
        }
    }
    segments
}

fn dayparts(checks: &mut Checks, wire: Vec<i32>) -> Vec<u8> {
    let hours: Vec<u8> = wire
        .iter()
        .filter_map(|hour| u8::try_from(*hour).ok().filter(|hour| *hour < 24))
        .collect();
    let ascending = hours
        .windows(2)
        .all(|pair| matches!(pair, [one, other] if one < other));
    if hours.len() != wire.len() || !ascending || hours.len() > DAYPARTS_MAX {
        checks.wrong(
            "experiment.daypart_start_hours",
            format!("must be at most {DAYPARTS_MAX} hours from 0 to 23, ascending"),
        );
    }
    hours
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

/// A state on the wire.
pub fn state_wire(state: ExperimentState) -> wire::ExperimentState {
    match state {
        ExperimentState::Draft => wire::ExperimentState::Draft,
        ExperimentState::Running => wire::ExperimentState::Running,
        ExperimentState::Paused => wire::ExperimentState::Paused,
        ExperimentState::Concluded => wire::ExperimentState::Concluded,
    }
}

/// A variant's state on the wire.
pub fn variant_state_wire(state: VariantState) -> wire::VariantState {
    match state {
        VariantState::Live => wire::VariantState::Live,
        VariantState::Paused => wire::VariantState::Paused,
        VariantState::Quarantined => wire::VariantState::Quarantined,
        VariantState::Retired => wire::VariantState::Retired,
    }
}

/// An objective on the wire.
pub fn objective_wire(objective: Objective) -> wire::Objective {
    match objective {
        Objective::Click => wire::Objective::Click,
        Objective::Open => wire::Objective::Open,
        Objective::Conversion => wire::Objective::Conversion,
    }
}

/// An experiment on the wire.
pub fn experiment_wire(experiment: &Experiment) -> wire::Experiment {
    let Experiment {
        id,
        uid,
        revision,
        display_name,
        state,
        variants,
        settings,
        created_at,
        updated_at,
        started_at,
        concluded_at,
        winner,
        request: _,
    } = experiment;
    let Settings {
        policy,
        objective,
        kind,
        attribution_window_ms,
        trial_on,
        holdout_share,
        floor,
        segments,
        daypart_start_hours,
        send_defaults,
        half_life_hours,
        planned_sends,
    } = settings;
    let is_flow = *kind == ExperimentKind::Flow;
    wire::Experiment {
        name: format!("experiments/{id}"),
        display_name: display_name.clone(),
        uid: uid.to_string(),
        etag: format!("r{revision}"),
        state: state_wire(*state).into(),
        variants: variants.iter().map(variant_wire).collect(),
        policy: Some(policy_wire(policy, variants)),
        objective: objective_wire(*objective).into(),
        kind: if is_flow {
            wire::ExperimentKind::Flow
        } else {
            wire::ExperimentKind::Campaign
        }
        .into(),
        attribution_window: Some(duration_ms(*attribution_window_ms)),
        trial_on: if *trial_on == TrialOn::Sent {
            wire::TrialOn::Sent
        } else {
            wire::TrialOn::Decision
        }
        .into(),
        holdout_share: Some(*holdout_share),
        floor: Some(*floor),
        segments: segments.iter().map(ToString::to_string).collect(),
        daypart_start_hours: daypart_start_hours
            .iter()
            .map(|hour| i32::from(*hour))
            .collect(),
        send_defaults: wire_defaults(send_defaults),
        half_life: is_flow.then(|| duration_ms((half_life_hours * 3_600_000.0) as i64)),
        planned_sends: i64::try_from(*planned_sends).unwrap_or(i64::MAX),
        create_time: Some(timestamp(*created_at)),
        update_time: Some(timestamp(*updated_at)),
        start_time: started_at.map(timestamp),
        conclude_time: concluded_at.map(timestamp),
        winner: winner
            .and_then(|winner| experiment.variant(winner))
            .map(|variant| variant.id.to_string())
            .unwrap_or_default(),
    }
}

fn variant_wire(variant: &Variant) -> wire::Variant {
    let Variant {
        id,
        display_name,
        state,
        created_at,
        quarantine_reason,
    } = variant;
    wire::Variant {
        variant_id: id.to_string(),
        display_name: display_name.clone(),
        state: variant_state_wire(*state).into(),
        create_time: Some(timestamp(*created_at)),
        quarantine_reason: quarantine_reason.clone(),
    }
}

fn policy_wire(policy: &Policy, variants: &[Variant]) -> wire::Policy {
    use wire::policy::Policy as Wire;
    let policy = match policy {
        Policy::HorizonThompson => Wire::HorizonThompson(wire::HorizonThompsonPolicy {}),
        Policy::Thompson => Wire::Thompson(wire::ThompsonPolicy {}),
        Policy::TopTwo { beta } => Wire::TopTwo(wire::TopTwoPolicy { beta: Some(*beta) }),
        Policy::Uniform => Wire::Uniform(wire::UniformPolicy {}),
        Policy::Fixed { weights } => {
            let weights = variants
                .iter()
                .zip(weights)
                .map(|(variant, weight)| (variant.id.to_string(), *weight))
                .collect();
            Wire::Fixed(wire::FixedPolicy { weights })
        }
    };
    wire::Policy {
        policy: Some(policy),
    }
}
