//! What a request comes down to: names looked up, defaults filled in, the window checked.
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::app::{AppError, Kind, Violation};
use crate::domain::decision_log::PlatformSend;
use crate::domain::experiment::{Experiment, ExperimentState, FrequencyCap};
use crate::domain::name::{Slug, VariantIndex, fingerprint};
use crate::domain::recipient::Recipient;
use crate::domain::send_window::{QuietHours, SendWindow, WINDOW_DAYS_MAX};
use crate::domain::snapshot::Snapshot;
use crate::domain::timing::CampaignLevel;

use super::question::{Constraints, DecideRequest};

/// Length of a send window when nobody says.
const WINDOW_DEFAULT_MS: i64 = 24 * 3_600_000;

/// What a request comes down to once defaults are filled in and names are looked up.
pub struct Resolved {
    pub window: SendWindow,
    pub eligible: Option<Vec<VariantIndex>>,
    /// What the platform sends, in shadow mode.
    pub platform: Option<PlatformSend>,
    pub frequency_cap: Option<FrequencyCap>,
    pub transactional: bool,
    pub request: u64,
    pub occasion: u64,
    pub campaign_level: CampaignLevel,
}

/// Looks up names and fills in defaults; all bad fields at once.
pub fn resolve(
    request: &DecideRequest,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Resolved, AppError> {
    let experiment = &snapshot.experiment;
    if experiment.state != ExperimentState::Running {
        let message = format!(
            "experiments/{} is {:?}; StartExperiment lets it decide",
            experiment.id, experiment.state
        );
        return Err(AppError::new(
            Kind::FailedPrecondition,
            "EXPERIMENT_NOT_RUNNING",
            message,
        ));
    }
    let mut violations: Vec<Violation> = unknown_segment(request, experiment).into_iter().collect();
    let eligible = eligible(request, experiment, &mut violations);
    let platform = platform(request, experiment, &mut violations);
    violations.extend(far_platform_time(request, now));
    let resolved = window(&request.constraints, Some(experiment), now);
    violations.extend(
        resolved
            .as_ref()
            .err()
            .into_iter()
            .flat_map(|error| error.violations.clone()),
    );
    if !violations.is_empty() {
        return Err(AppError::invalid(violations));
    }
    let (window, transactional) = resolved?;
    let cap = request.constraints.frequency_cap;
    let earliest_at = request.send_at.unwrap_or(window.earliest_at);
    let platform = platform.map(|(variant, send_at)| PlatformSend {
        variant,
        send_at_ms: send_at.unwrap_or(earliest_at).as_millisecond(),
    });
    Ok(Resolved {
        platform,
        window,
        eligible: (!eligible.is_empty()).then_some(eligible),
        frequency_cap: cap.or(experiment.settings.send_defaults.frequency_cap),
        transactional,
        request: fingerprint(&request.request_id),
        occasion: fingerprint(&request.occasion),
        campaign_level: CampaignLevel::default(),
    })
}

fn unknown_segment(request: &DecideRequest, experiment: &Experiment) -> Option<Violation> {
    let segments = &experiment.settings.segments;
    let segment = request
        .segment
        .as_ref()
        .filter(|segment| !segments.contains(segment))?;
    let description = format!(
        "{segment} is not a segment of experiments/{}; it has {}",
        experiment.id,
        listed(segments)
    );
    Some(Violation {
        field: "segment".to_owned(),
        description,
    })
}

fn eligible(
    request: &DecideRequest,
    experiment: &Experiment,
    violations: &mut Vec<Violation>,
) -> Vec<VariantIndex> {
    let mut eligible = Vec::new();
    for (at, id) in request.eligible.iter().enumerate() {
        match experiment.variant_index(id.as_str()) {
            Some(index) => eligible.push(index),
            None => violations.push(Violation {
                field: format!("eligible_variants[{at}]"),
                description: format!(
                    "experiments/{} has no variant {id}; GetExperiment shows those it has",
                    experiment.id
                ),
            }),
        }
    }
    eligible
}

/// The platform's own choice, which shadow mode needs and nothing else takes.
fn platform(
    request: &DecideRequest,
    experiment: &Experiment,
    violations: &mut Vec<Violation>,
) -> Option<(VariantIndex, Option<Timestamp>)> {
    let mut wrong = |description: String| {
        violations.push(Violation {
            field: "platform_variant_id".to_owned(),
            description,
        });
        None
    };
    let id = &experiment.id;
    match (&request.platform, experiment.settings.shadow) {
        (None, false) => None,
        (None, true) => wrong(format!(
            "is required: experiments/{id} is in shadow mode, so say which variant the platform sends"
        )),
        (Some(_), false) => wrong(format!(
            "is only for shadow mode, and experiments/{id} is not in it; leave it out, or set shadow"
        )),
        (Some(platform), true) => match experiment.variant_index(platform.variant.as_str()) {
            Some(variant) => Some((variant, platform.send_at)),
            None => wrong(format!(
                "experiments/{id} has no variant {}; GetExperiment shows those it has",
                platform.variant
            )),
        },
    }
}

/// A platform's mail leaves about now or within the longest window.
fn far_platform_time(request: &DecideRequest, now: Timestamp) -> Option<Violation> {
    let at = request.platform.as_ref()?.send_at?;
    let near = SignedDuration::from_hours(-24)..=SignedDuration::from_hours(24 * WINDOW_DAYS_MAX);
    (!near.contains(&at.duration_since(now))).then(|| Violation {
        field: "platform_send_time".to_owned(),
        description: "must be at most 24 hours ago and at most 30 days ahead".to_owned(),
    })
}

fn listed(slugs: &[Slug]) -> String {
    if slugs.is_empty() {
        "none".to_owned()
    } else {
        slugs
            .iter()
            .map(Slug::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The window that request and experiment come down to, and whether the mail is transactional.
pub fn window(
    constraints: &Constraints,
    experiment: Option<&Experiment>,
    now: Timestamp,
) -> Result<(SendWindow, bool), AppError> {
    let defaults = experiment.map(|experiment| &experiment.settings.send_defaults);
    let earliest_at = constraints.earliest_at.map_or(now, |at| at.max(now));
    let length_ms = constraints
        .window_ms
        .or(defaults.and_then(|d| d.window_ms))
        .unwrap_or(WINDOW_DEFAULT_MS);
    let end = earliest_at
        .checked_add(SignedDuration::from_millis(length_ms))
        .unwrap_or(Timestamp::MAX);
    let fallback = |own: &[QuietHours]| {
        if own.is_empty() {
            defaults.map(|d| d.quiet.clone()).unwrap_or_default()
        } else {
            own.to_vec()
        }
    };
    let days = |own: &[Date]| {
        if own.is_empty() {
            defaults.map(|d| d.blocked_days.clone()).unwrap_or_default()
        } else {
            own.to_vec()
        }
    };
    let window = SendWindow {
        earliest_at,
        deadline_at: constraints.deadline_at.unwrap_or(end),
        quiet: fallback(&constraints.quiet),
        blocked_days: days(&constraints.blocked_days),
        full_hours: Vec::new(),
    };
    let transactional = constraints.transactional || defaults.is_some_and(|d| d.transactional);
    let found = window.validate().err().unwrap_or_default();
    let violations: Vec<Violation> = too_far_ahead(earliest_at, now)
        .into_iter()
        .chain(found.into_iter().map(violation))
        .collect();
    if violations.is_empty() {
        Ok((window, transactional))
    } else {
        Err(AppError::invalid(violations))
    }
}

/// A mail years ahead would outlive every record of it.
fn too_far_ahead(earliest_at: Timestamp, now: Timestamp) -> Option<Violation> {
    let ahead = earliest_at.duration_since(now);
    (ahead > SignedDuration::from_hours(24 * WINDOW_DAYS_MAX)).then(|| Violation {
        field: "constraints.earliest_time".to_owned(),
        description: format!(
            "is more than {WINDOW_DAYS_MAX} days ahead; ask again nearer to the time"
        ),
    })
}

fn violation(found: crate::domain::send_window::WindowViolation) -> Violation {
    use crate::domain::send_window::WindowViolation as Found;
    let field = match found {
        Found::DeadlineBeforeEarliest { .. } | Found::SpanTooLong { .. } => {
            "constraints.deadline_time"
        }
        Found::TooManyBlockedDays { .. } => "constraints.blocked_dates",
        _ => "constraints.quiet_hours",
    };
    Violation {
        field: field.to_owned(),
        description: found.to_string(),
    }
}

/// A request id names one request; the same one for another experiment is a mistake of the caller.
pub fn refuse_foreign_retry(
    recipient: &Recipient,
    experiment: &Experiment,
    request: u64,
) -> Result<(), AppError> {
    match recipient.touch_of_request(request) {
        Some(touch) if touch.experiment != experiment.uid => Err(AppError::invalid_field(
            "REQUEST_ID_REUSED",
            "request_id",
            "was used for another experiment of this recipient; give every request its own id",
        )),
        _ => Ok(()),
    }
}

/// There is nothing to choose among.
pub fn no_candidate(experiment: &Experiment, restricted: bool) -> AppError {
    let why = if restricted {
        "none of the eligible variants is live"
    } else {
        "no variant is live"
    };
    let message = format!("experiments/{}: {why}; add or resume one", experiment.id);
    AppError::new(Kind::FailedPrecondition, "NO_ELIGIBLE_VARIANT", message)
}
