//! Experiments on the wire.
use crate::domain::experiment::{
    Experiment, ExperimentKind, ExperimentState, Objective, Settings, TrialOn, Variant,
    VariantState,
};
use crate::domain::policy::Policy;
use crate::grpc::check::{duration_ms, timestamp};
use crate::grpc::constraints::wire_defaults;
use crate::grpc::wire;

use super::options;

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
        VariantState::Probation => wire::VariantState::Probation,
    }
}

/// An objective on the wire.
pub fn objective_wire(objective: Objective) -> wire::Objective {
    match objective {
        Objective::Click => wire::Objective::Click,
        Objective::Open => wire::Objective::Open,
        Objective::Conversion => wire::Objective::Conversion,
        Objective::Value => wire::Objective::Value,
        Objective::Utility => wire::Objective::Utility,
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
    let winner = winner.and_then(|winner| experiment.variant(winner));
    wire::Experiment {
        name: format!("experiments/{id}"),
        display_name: display_name.clone(),
        uid: uid.to_string(),
        etag: format!("r{revision}"),
        state: state_wire(*state).into(),
        variants: variants.iter().map(variant_wire).collect(),
        create_time: Some(timestamp(*created_at)),
        update_time: Some(timestamp(*updated_at)),
        start_time: started_at.map(timestamp),
        conclude_time: concluded_at.map(timestamp),
        winner: winner
            .map(|variant| variant.id.to_string())
            .unwrap_or_default(),
        ..settings_wire(settings, variants)
    }
}

/// What its owner chose; everything else left empty.
fn settings_wire(settings: &Settings, variants: &[Variant]) -> wire::Experiment {
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
        guardrails,
        probation,
        utility,
        open_proxy,
        exploration_share,
        capacity,
        shadow,
    } = settings;
    let (kind, half_life) = match kind {
        ExperimentKind::Campaign => (wire::ExperimentKind::Campaign, None),
        ExperimentKind::Flow => (
            wire::ExperimentKind::Flow,
            Some(duration_ms((half_life_hours * 3_600_000.0) as i64)),
        ),
    };
    let trial_on = match trial_on {
        TrialOn::Decision => wire::TrialOn::Decision,
        TrialOn::Sent => wire::TrialOn::Sent,
    };
    wire::Experiment {
        policy: Some(policy_wire(policy, variants)),
        objective: objective_wire(*objective).into(),
        kind: kind.into(),
        attribution_window: Some(duration_ms(*attribution_window_ms)),
        trial_on: trial_on.into(),
        holdout_share: Some(*holdout_share),
        floor: Some(*floor),
        segments: segments.iter().map(ToString::to_string).collect(),
        daypart_start_hours: daypart_start_hours
            .iter()
            .map(|hour| i32::from(*hour))
            .collect(),
        send_defaults: wire_defaults(send_defaults),
        half_life,
        planned_sends: i64::try_from(*planned_sends).unwrap_or(i64::MAX),
        guardrails: Some(options::guardrails_wire(guardrails)),
        probation: Some(options::probation_wire(probation)),
        utility: Some(options::utility_wire(utility)),
        open_proxy: Some(*open_proxy),
        exploration_share: Some(*exploration_share),
        sender_capacity: capacity.as_ref().map(options::capacity_wire),
        shadow: *shadow,
        ..wire::Experiment::default()
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
