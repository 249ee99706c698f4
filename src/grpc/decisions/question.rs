//! Requests for decisions: checked, and turned into questions.
use jiff::{SignedDuration, Timestamp};

use crate::app::{AppError, Constraints, DecideRequest, PlatformChoice, PredictRequest};
use crate::domain::experiment::VARIANTS_MAX;
use crate::domain::name::{Slug, TenantId};
use crate::domain::send_time::Goal;
use crate::grpc::check::Checks;
use crate::grpc::constraints::{cap, constraints};
use crate::grpc::wire;

/// A request for variant and time.
pub fn decide(tenant: TenantId, request: wire::DecideRequest) -> Result<DecideRequest, AppError> {
    let wire::DecideRequest {
        experiment,
        recipient_id,
        request_id,
        occasion,
        segment,
        time_zone,
        constraints: wire_constraints,
        eligible_variants,
        validate_only,
        view,
        platform_variant_id,
        platform_send_time,
    } = request;
    let mut checks = Checks::default();
    let experiment = checks.experiment("experiment", &experiment);
    let platform_send_at = checks.instant("platform_send_time", platform_send_time);
    let request = DecideRequest {
        tenant,
        experiment: placeholder(&experiment),
        recipient_id: checks.identifier("recipient_id", recipient_id, true),
        request_id: checks.identifier("request_id", request_id, false),
        occasion: checks.identifier("occasion", occasion, false),
        segment: checks.optional_slug("segment", &segment),
        zone: checks.zone("time_zone", &time_zone),
        constraints: constraints(&mut checks, "constraints", wire_constraints),
        send_at: None,
        eligible: eligible(&mut checks, eligible_variants),
        platform: platform(&mut checks, &platform_variant_id, platform_send_at),
        validate_only,
        full: is_full(&mut checks, view),
    };
    checks.finish()?;
    Ok(request)
}

/// A request for a variant only, at a time already fixed.
pub fn choose_variant(
    tenant: TenantId,
    request: wire::ChooseVariantRequest,
    now: Timestamp,
) -> Result<DecideRequest, AppError> {
    let wire::ChooseVariantRequest {
        experiment,
        recipient_id,
        request_id,
        occasion,
        segment,
        time_zone,
        send_time,
        eligible_variants,
        validate_only,
        view,
        frequency_cap,
        platform_variant_id,
    } = request;
    let mut checks = Checks::default();
    let experiment = checks.experiment("experiment", &experiment);
    let send_at = checks.instant("send_time", send_time).unwrap_or(now);
    if !(SignedDuration::from_hours(-24)..=SignedDuration::from_hours(30 * 24))
        .contains(&send_at.duration_since(now))
    {
        checks.wrong(
            "send_time",
            "must be at most 24 hours ago and at most 30 days ahead",
        );
    }
    let request = DecideRequest {
        tenant,
        experiment: placeholder(&experiment),
        recipient_id: checks.identifier("recipient_id", recipient_id, true),
        request_id: checks.identifier("request_id", request_id, false),
        occasion: checks.identifier("occasion", occasion, false),
        segment: checks.optional_slug("segment", &segment),
        zone: checks.zone("time_zone", &time_zone),
        constraints: Constraints {
            frequency_cap: cap(&mut checks, "frequency_cap", frequency_cap),
            ..Constraints::default()
        },
        send_at: Some(send_at),
        eligible: eligible(&mut checks, eligible_variants),
        platform: platform(&mut checks, &platform_variant_id, Some(send_at)),
        validate_only,
        full: is_full(&mut checks, view),
    };
    checks.finish()?;
    Ok(request)
}

/// A request for a time only.
pub fn predict(
    tenant: TenantId,
    request: wire::PredictSendTimeRequest,
) -> Result<PredictRequest, AppError> {
    let wire::PredictSendTimeRequest {
        recipient_id,
        experiment,
        time_zone,
        constraints: wire_constraints,
        goal,
        view,
    } = request;
    let mut checks = Checks::default();
    let experiment = if experiment.is_empty() {
        None
    } else {
        checks.experiment("experiment", &experiment)
    };
    let goal = match checks.known::<wire::TimingGoal>("goal", goal) {
        Some(wire::TimingGoal::Activity) => Goal::Activity,
        _ => Goal::OpenProbability,
    };
    let request = PredictRequest {
        tenant,
        recipient_id: checks.identifier("recipient_id", recipient_id, true),
        experiment,
        zone: checks.zone("time_zone", &time_zone),
        constraints: constraints(&mut checks, "constraints", wire_constraints),
        goal,
        full: is_full(&mut checks, view),
    };
    checks.finish()?;
    Ok(request)
}

/// The decision id of a decision to make again.
pub fn replay(request: wire::ReplayDecisionRequest) -> Result<String, AppError> {
    let wire::ReplayDecisionRequest { decision_id } = request;
    let mut checks = Checks::default();
    if decision_id.is_empty() {
        checks.wrong(
            "decision_id",
            "is required; pass the decision_id of the decision unchanged",
        );
    }
    checks.finish()?;
    Ok(decision_id)
}

/// Stands in for a name that was refused, until the checks are finished and the request is refused as a whole.
fn placeholder(experiment: &Option<Slug>) -> Slug {
    experiment.clone().unwrap_or_else(Slug::placeholder)
}

/// What the platform sends by itself; a time without a variant says nothing.
fn platform(
    checks: &mut Checks,
    variant: &str,
    send_at: Option<Timestamp>,
) -> Option<PlatformChoice> {
    let variant = checks.optional_slug("platform_variant_id", variant)?;
    Some(PlatformChoice { variant, send_at })
}

fn eligible(checks: &mut Checks, ids: Vec<String>) -> Vec<Slug> {
    if ids.len() > VARIANTS_MAX {
        checks.wrong(
            "eligible_variants",
            format!("has {} ids; at most {VARIANTS_MAX} are allowed", ids.len()),
        );
        return Vec::new();
    }
    ids.iter()
        .enumerate()
        .filter_map(|(at, id)| checks.slug(&format!("eligible_variants[{at}]"), id))
        .collect()
}

fn is_full(checks: &mut Checks, view: i32) -> bool {
    checks.known::<wire::DecisionView>("view", view) == Some(wire::DecisionView::Full)
}
