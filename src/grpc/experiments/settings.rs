//! The settings of an experiment: checked, defaults filled in.
use std::collections::HashMap;

use crate::app::AppSettings;
use crate::domain::experiment::{
    ATTRIBUTION_HOURS_MAX, DAYPARTS_MAX, ExperimentKind, Objective, SEGMENTS_MAX, Settings, TrialOn,
};
use crate::domain::name::Slug;
use crate::domain::policy::Policy;
use crate::grpc::check::{Checks, DurationLimits};
use crate::grpc::constraints::send_defaults;
use crate::grpc::wire;

use super::options;

const HALF_LIFE_HOURS_DEFAULT: f64 = 21.0 * 24.0;
const PLANNED_SENDS_MAX: i64 = 10_000_000_000;
const WEIGHT_MAX: f64 = 1e6;
const SHARE_MAX: f64 = 0.5;
const DAY_SECONDS: i64 = 86_400;

/// Everything that the owner of an experiment chooses. `variants` are those that a fixed policy may name, in order.
pub fn settings(
    checks: &mut Checks,
    experiment: wire::Experiment,
    variants: &[Slug],
    defaults: &AppSettings,
) -> Settings {
    every_field_is_known(&experiment);
    let objective = self::objective(checks, "experiment.objective", experiment.objective);
    let kind = self::kind(checks, experiment.kind);
    let mut share = |field, share: Option<f64>, default| {
        share.map_or(default, |share| checks.share(field, share, SHARE_MAX))
    };
    let holdout_share = share(
        "experiment.holdout_share",
        experiment.holdout_share,
        defaults.default_holdout_share,
    );
    let floor = share("experiment.floor", experiment.floor, defaults.default_floor);
    let exploration_share = share(
        "experiment.exploration_share",
        experiment.exploration_share,
        defaults.default_exploration_share,
    );
    let window = experiment.attribution_window;
    let capacity = experiment.sender_capacity;
    Settings {
        policy: self::policy(checks, experiment.policy, kind, variants),
        objective,
        kind,
        attribution_window_ms: attribution_window_ms(checks, window, objective),
        trial_on: self::trial_on(checks, experiment.trial_on),
        holdout_share,
        floor,
        segments: self::segments(checks, experiment.segments),
        daypart_start_hours: dayparts(checks, experiment.daypart_start_hours),
        send_defaults: send_defaults(checks, experiment.send_defaults),
        half_life_hours: half_life_hours(checks, experiment.half_life),
        planned_sends: self::planned_sends(checks, experiment.planned_sends),
        guardrails: options::guardrails(checks, experiment.guardrails),
        probation: options::probation(checks, experiment.probation),
        utility: options::utility(checks, experiment.utility),
        open_proxy: experiment.open_proxy.unwrap_or(false),
        exploration_share,
        capacity: capacity.map(|capacity| options::capacity(checks, capacity)),
        shadow: experiment.shadow,
    }
}

/// Does not compile once the interface has a field that nobody has thought of here: the owner's choices are read in [`settings`], the others
/// are set by the server or converted elsewhere.
fn every_field_is_known(experiment: &wire::Experiment) {
    let wire::Experiment {
        name: _,
        display_name: _,
        uid: _,
        etag: _,
        state: _,
        variants: _,
        policy: _,
        objective: _,
        kind: _,
        attribution_window: _,
        trial_on: _,
        holdout_share: _,
        floor: _,
        segments: _,
        daypart_start_hours: _,
        send_defaults: _,
        half_life: _,
        planned_sends: _,
        create_time: _,
        update_time: _,
        start_time: _,
        conclude_time: _,
        winner: _,
        guardrails: _,
        probation: _,
        utility: _,
        open_proxy: _,
        exploration_share: _,
        sender_capacity: _,
        shadow: _,
    } = experiment;
}

fn planned_sends(checks: &mut Checks, wire: i64) -> u64 {
    if !(0..=PLANNED_SENDS_MAX).contains(&wire) {
        checks.wrong(
            "experiment.planned_sends",
            format!("must be 0 to {PLANNED_SENDS_MAX}"),
        );
    }
    u64::try_from(wire).unwrap_or(0)
}

/// What counts as success.
pub fn objective(checks: &mut Checks, field: &str, wire: i32) -> Objective {
    match checks.known::<wire::Objective>(field, wire) {
        Some(wire::Objective::Open) => Objective::Open,
        Some(wire::Objective::Conversion) => Objective::Conversion,
        Some(wire::Objective::Value) => Objective::Value,
        Some(wire::Objective::Utility) => Objective::Utility,
        Some(wire::Objective::Click | wire::Objective::Unspecified) | None => Objective::Click,
    }
}

fn kind(checks: &mut Checks, wire: i32) -> ExperimentKind {
    match checks.known::<wire::ExperimentKind>("experiment.kind", wire) {
        Some(wire::ExperimentKind::Flow) => ExperimentKind::Flow,
        Some(wire::ExperimentKind::Campaign | wire::ExperimentKind::Unspecified) | None => {
            ExperimentKind::Campaign
        }
    }
}

fn trial_on(checks: &mut Checks, wire: i32) -> TrialOn {
    match checks.known::<wire::TrialOn>("experiment.trial_on", wire) {
        Some(wire::TrialOn::Sent) => TrialOn::Sent,
        Some(wire::TrialOn::Decision | wire::TrialOn::Unspecified) | None => TrialOn::Decision,
    }
}

fn attribution_window_ms(
    checks: &mut Checks,
    wire: Option<prost_types::Duration>,
    objective: Objective,
) -> i64 {
    let limits = DurationLimits::seconds(3_600, ATTRIBUTION_HOURS_MAX * 3_600);
    let window = checks.duration("experiment.attribution_window", wire, limits);
    let default_hours = if objective.counted() == Objective::Conversion {
        168
    } else {
        72
    };
    window.map_or(default_hours * 3_600_000, |window| {
        window.as_millis() as i64
    })
}

fn half_life_hours(checks: &mut Checks, wire: Option<prost_types::Duration>) -> f64 {
    let limits = DurationLimits::seconds(DAY_SECONDS, 3_650 * DAY_SECONDS);
    let half_life = checks.duration("experiment.half_life", wire, limits);
    half_life.map_or(HALF_LIFE_HOURS_DEFAULT, |half_life| {
        half_life.as_secs_f64() / 3_600.0
    })
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
