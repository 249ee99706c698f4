//! Deciding: read the record, ask the domain, remember the touch; or predict a time and remember nothing.
//!
//! Invariant: the same recipient, experiment and occasion, or the same request id, get the same answer, and a retry racing with
//! its original gets it too, because the record's version decides between them.
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::domain::civil::Zone;
use crate::domain::contribution::Change as TouchChange;
use crate::domain::decide::{
    Allowed, Choice, Question, Reason, Timing, Verdict, decide, earlier_answer,
};
use crate::domain::draws::Draws;
use crate::domain::experiment::{Experiment, ExperimentState, FrequencyCap, TrialOn};
use crate::domain::feedback::local_minute_of_week;
use crate::domain::name::{Slug, TenantId, VariantIndex, fingerprint};
use crate::domain::recipient::{Answer, Basis, ConsentLevel, DoNotSend, Recipient, Touch};
use crate::domain::send_time::{Goal, PredictRequest as ModelRequest, Prediction};
use crate::domain::send_window::{QuietHours, SendWindow};
use crate::domain::snapshot::{ChoiceLevel, Snapshot, Table};
use crate::domain::token::DecisionToken;
use crate::store::StoreError;

use super::writes::{Address, Effects, TRIES_MAX};
use super::{App, AppError, Kind, Violation};

/// Length of a send window when nobody says.
const WINDOW_DEFAULT_MS: i64 = 24 * 3_600_000;
/// A send may be planned this far ahead: touches and tokens are kept no longer.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// When a mail may be sent; what is left out falls back to the experiment's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    /// No earlier than this.
    pub earliest_at: Option<Timestamp>,
    /// No later than this.
    pub deadline_at: Option<Timestamp>,
    /// Local times of day without mail; empty falls back.
    pub quiet: Vec<QuietHours>,
    /// Local dates without mail; empty falls back.
    pub blocked_days: Vec<Date>,
    /// Most mails per period.
    pub frequency_cap: Option<FrequencyCap>,
    /// Never delayed, never capped.
    pub transactional: bool,
    /// Length of the window when there is no deadline, milliseconds.
    pub window_ms: Option<i64>,
}

/// Asks for a variant, and for a time unless that is fixed.
#[derive(Clone, Debug)]
pub struct DecideRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The experiment.
    pub experiment: Slug,
    /// The caller's id of the recipient.
    pub recipient_id: String,
    /// For retries; empty for none.
    pub request_id: String,
    /// Names one send of a flow; empty for none.
    pub occasion: String,
    /// The segment to answer for.
    pub segment: Option<Slug>,
    /// The recipient's zone.
    pub zone: Option<Zone>,
    /// When the mail may be sent.
    pub constraints: Constraints,
    /// When the mail leaves, if that is fixed: the variant only.
    pub send_at: Option<Timestamp>,
    /// Variants to choose among; empty for all.
    pub eligible: Vec<Slug>,
    /// Record nothing.
    pub validate_only: bool,
    /// Answer with all candidates and hours.
    pub full: bool,
}

/// Asks for a time only.
#[derive(Clone, Debug)]
pub struct PredictRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The caller's id of the recipient.
    pub recipient_id: String,
    /// Whose constraints apply.
    pub experiment: Option<Slug>,
    /// The recipient's zone.
    pub zone: Option<Zone>,
    /// When the mail may be sent.
    pub constraints: Constraints,
    /// What to aim at.
    pub goal: Goal,
    /// Answer with all hours.
    pub full: bool,
}

/// Where a zone came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneSource {
    /// From the request.
    Request,
    /// Stored with the recipient.
    Recipient,
    /// The server's default.
    Default,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The decision id; empty where nothing was recorded.
    pub decision_id: String,
    /// The experiment decided for.
    pub experiment: Arc<Experiment>,
    /// Send, or do not.
    pub answer: Result<SendAnswer, DoNotSend>,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Whether an earlier answer is given again.
    pub repeated: bool,
    /// Version of the snapshot that answered.
    pub version: u64,
    /// The zone reckoned in.
    pub zone: Zone,
    /// Where it came from.
    pub zone_source: ZoneSource,
    /// Whether the mail is never delayed.
    pub transactional: bool,
}

/// An answer to send.
#[derive(Clone, Debug)]
pub struct SendAnswer {
    /// What the touch remembers.
    pub answer: Answer,
    /// The variant.
    pub variant: VariantIndex,
    /// Probability with which it was chosen.
    pub propensity: f64,
    /// Whether the recipient is in the holdout.
    pub holdout: bool,
    /// Position of the segment from 1; 0 for none.
    pub segment: u8,
    /// Why so.
    pub basis: Basis,
    /// When to send.
    pub send_at: Timestamp,
    /// How the time was found; none for repeated answers and fixed times.
    pub prediction: Option<Prediction>,
    /// All candidates, if asked for.
    pub table: Option<Arc<Table>>,
}

/// A predicted time.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// The time, or that none is allowed.
    pub answer: Result<(Timestamp, Option<Prediction>), DoNotSend>,
    /// Start of the window.
    pub earliest_at: Timestamp,
    /// The zone reckoned in.
    pub zone: Zone,
    /// Where it came from.
    pub zone_source: ZoneSource,
    /// Whether the mail is never delayed.
    pub transactional: bool,
}

/// What a request comes down to once defaults are filled in and names are looked up.
struct Resolved {
    window: SendWindow,
    eligible: Option<Vec<VariantIndex>>,
    frequency_cap: Option<FrequencyCap>,
    transactional: bool,
    request: u64,
    occasion: u64,
}

/// The record that a decision starts from.
struct Start {
    recipient: Recipient,
    version: u64,
    readable: bool,
}

// === impl App ===

impl App {
    /// Which variant, and when; recorded unless asked otherwise.
    pub async fn decide(&self, request: &DecideRequest) -> Result<Decided, AppError> {
        let live = self
            .registry
            .by_name(request.tenant, &request.experiment)
            .ok_or_else(|| AppError::no_experiment(request.experiment.as_str()))?;
        let address = self.address(request.tenant, &request.recipient_id);
        for _ in 0..TRIES_MAX {
            let snapshot = live.snapshot();
            let now = self.now();
            let resolved = resolve(request, &snapshot, now)?;
            let start = self.start(address, now).await?;
            if let Some(decided) = self
                .attempt(request, address, &snapshot, &resolved, start, now)
                .await?
            {
                return Ok(decided);
            }
        }
        Err(AppError::contended())
    }

    /// A damaged record does not leave a send without an answer: it is decided as for somebody unknown, and not recorded.
    async fn start(&self, address: Address, now: Timestamp) -> Result<Start, AppError> {
        match self.read_recipient(address).await {
            Ok(loaded) => Ok(Start {
                recipient: loaded.recipient.unwrap_or_else(|| Recipient::new(now)),
                version: loaded.version,
                readable: true,
            }),
            Err(StoreError::Corrupt { what, place }) => {
                tracing::error!(%place, %what, "a recipient's record cannot be read; answering as for somebody unknown");
                Ok(Start {
                    recipient: Recipient::new(now),
                    version: 0,
                    readable: false,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One try: `None` when the record changed in between.
    async fn attempt(
        &self,
        request: &DecideRequest,
        address: Address,
        snapshot: &Arc<Snapshot>,
        resolved: &Resolved,
        start: Start,
        now: Timestamp,
    ) -> Result<Option<Decided>, AppError> {
        let (zone, zone_source) = self.zone(request.zone.as_ref(), Some(&start.recipient));
        let model = self.model.load();
        let allowed = self.allowed(&start.recipient.consent);
        let question = Question {
            snapshot,
            model: &model,
            draws: self.draws(
                &snapshot.experiment,
                address,
                resolved.occasion,
                &start.recipient,
            ),
            now,
            timing: request
                .send_at
                .map_or(Timing::Within(&resolved.window), Timing::At),
            zone: &zone,
            segment: request.segment.as_ref().map(Slug::as_str),
            eligible: resolved.eligible.as_deref(),
            frequency_cap: resolved.frequency_cap,
            transactional: resolved.transactional,
            allowed,
            want_candidates: request.full,
        };
        let frame = |answer, decision_id, decided_at, repeated| Decided {
            decision_id,
            experiment: snapshot.experiment.clone(),
            answer,
            decided_at,
            repeated,
            version: snapshot.version,
            zone: zone.clone(),
            zone_source,
            transactional: resolved.transactional,
        };
        refuse_foreign_retry(&start.recipient, &snapshot.experiment, resolved.request)?;
        if let Some(touch) = earlier_answer(
            &start.recipient,
            &question,
            resolved.request,
            resolved.occasion,
        ) {
            let same_request = touch.request == resolved.request && resolved.request != 0;
            let (answer, decided_at) = self.repeated(touch, same_request);
            return Ok(Some(frame(
                answer,
                self.token_of(address, snapshot, touch),
                decided_at,
                true,
            )));
        }
        let recorded =
            start.readable && !request.validate_only && allowed.content > ConsentLevel::None;
        match decide(&start.recipient, &question) {
            Verdict::NoCandidate => Err(no_candidate(
                &snapshot.experiment,
                resolved.eligible.is_some(),
            )),
            Verdict::DoNotSend(reason) => {
                let touch = refusal(snapshot, &question, resolved, reason);
                if recorded
                    && resolved.request != 0
                    && !self
                        .remember(address, start, touch, request, &zone, now)
                        .await?
                {
                    return Ok(None);
                }
                Ok(Some(frame(Err(reason), String::new(), now, false)))
            }
            Verdict::Send(choice) => {
                let mut choice = *choice;
                if !start.readable {
                    choice.reason = Reason::Fallback;
                }
                let touch = touch_of(&choice, snapshot, &question, resolved);
                let token = if recorded {
                    self.token_of(address, snapshot, &touch)
                } else {
                    String::new()
                };
                let answer = answer_of(&choice, &touch, request.full);
                if recorded
                    && !self
                        .remember(address, start, touch, request, &zone, now)
                        .await?
                {
                    return Ok(None);
                }
                Ok(Some(frame(Ok(answer), token, now, false)))
            }
        }
    }

    /// The draws of the first answer, or of a further one when the earlier can no longer hold.
    fn draws(
        &self,
        experiment: &Experiment,
        address: Address,
        occasion: u64,
        recipient: &Recipient,
    ) -> Draws {
        let earlier = recipient
            .touches
            .iter()
            .filter(|touch| touch.experiment == experiment.uid && touch.occasion == occasion)
            .count();
        self.seed
            .draws(experiment.uid, address.recipient, occasion, earlier as u64)
    }

    fn zone(&self, of_request: Option<&Zone>, recipient: Option<&Recipient>) -> (Zone, ZoneSource) {
        let stored = || {
            recipient
                .and_then(|recipient| recipient.zone.as_deref())
                .and_then(|name| Zone::parse(name).ok())
        };
        match of_request {
            Some(zone) => (zone.clone(), ZoneSource::Request),
            None => stored().map_or_else(
                || (self.settings.default_zone.clone(), ZoneSource::Default),
                |zone| (zone, ZoneSource::Recipient),
            ),
        }
    }

    /// Commits the touch with what it adds; false when the record changed in between.
    async fn remember(
        &self,
        address: Address,
        start: Start,
        touch: Touch,
        request: &DecideRequest,
        zone: &Zone,
        now: Timestamp,
    ) -> Result<bool, AppError> {
        let mut recipient = start.recipient;
        if recipient.zone.is_none() && request.zone.is_some() {
            recipient.set_zone(zone, &self.settings.default_zone, now);
        }
        let freshness = self.model.load().freshness;
        let change = TouchChange {
            before: None,
            after: Some(&touch),
        };
        let mut effects = Effects::default();
        if touch.sends() {
            let live = self.registry.by_uid(address.tenant, touch.experiment);
            let experiment = live.map(|live| live.experiment());
            effects.of_touch(change, experiment.as_deref(), &freshness, now);
            effects.count_decision(&touch);
            change.apply_to_profile(&mut recipient.activity, &freshness);
        }
        recipient.mark_changed(now);
        recipient.remember(touch, now);
        Ok(self
            .commit(address, &recipient, start.version, &effects)
            .await?
            .is_some())
    }

    fn token_of(&self, address: Address, snapshot: &Snapshot, touch: &Touch) -> String {
        let Answer::Send {
            variant,
            context,
            lane,
            propensity,
        } = touch.answer
        else {
            return String::new();
        };
        let instant = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        self.keys.tokens.sign(&DecisionToken {
            tenant: address.tenant,
            experiment: touch.experiment,
            variant,
            context,
            lane,
            recipient: address.recipient,
            propensity,
            decided_at: instant(touch.decided_at_ms),
            send_at: instant(touch.planned_at_ms),
            occasion: touch.occasion,
            decision: touch.decision,
            trial_on_decision: snapshot.experiment.settings.trial_on == TrialOn::Decision,
            measurable: touch.measurable,
            exposure_recorded: touch.exposure_recorded,
        })
    }

    fn repeated(
        &self,
        touch: &Touch,
        same_request: bool,
    ) -> (Result<SendAnswer, DoNotSend>, Timestamp) {
        let instant = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let answer = match touch.answer {
            Answer::DoNotSend(reason) => Err(reason),
            answer @ Answer::Send {
                variant,
                context,
                lane,
                propensity,
            } => {
                let reason = if same_request {
                    touch.basis.reason
                } else {
                    Reason::Sticky
                };
                Ok(SendAnswer {
                    answer,
                    variant,
                    propensity,
                    holdout: lane == crate::domain::cell::Lane::Holdout,
                    segment: context.segment,
                    basis: Basis {
                        reason,
                        ..touch.basis
                    },
                    send_at: instant(touch.planned_at_ms),
                    prediction: None,
                    table: None,
                })
            }
        };
        (answer, instant(touch.decided_at_ms))
    }

    /// When to send; records nothing.
    pub async fn predict_send_time(&self, request: &PredictRequest) -> Result<Predicted, AppError> {
        let now = self.now();
        let experiment = match &request.experiment {
            None => None,
            Some(id) => Some(
                self.registry
                    .by_name(request.tenant, id)
                    .ok_or_else(|| AppError::no_experiment(id.as_str()))?
                    .experiment(),
            ),
        };
        let (window, transactional) = window(&request.constraints, experiment.as_deref(), now)?;
        let start = self
            .start(self.address(request.tenant, &request.recipient_id), now)
            .await?;
        let (zone, zone_source) = self.zone(request.zone.as_ref(), Some(&start.recipient));
        let earliest_at = window.earliest_at;
        let personal = self.allowed(&start.recipient.consent).timing == ConsentLevel::Individual;
        let model = self.model.load();
        let question = ModelRequest {
            window: &window,
            zone: &zone,
            goal: request.goal,
            jitter: 0,
            campaign_level: 1.0,
            want_candidates: request.full,
        };
        let answer = if transactional {
            Ok((earliest_at, None))
        } else {
            let predicted = model.predict(personal.then_some(&start.recipient.activity), question);
            predicted
                .map(|prediction| (prediction.send_at, Some(prediction)))
                .map_err(|_| DoNotSend::NoAllowedTime)
        };
        Ok(Predicted {
            answer,
            earliest_at,
            zone,
            zone_source,
            transactional,
        })
    }
}

// === requests ===

fn resolve(
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
    let mut violations = Vec::new();
    if let Some(segment) = request
        .segment
        .as_ref()
        .filter(|segment| !experiment.settings.segments.contains(segment))
    {
        let description = format!(
            "{segment} is not a segment of experiments/{}; it has {}",
            experiment.id,
            listed(&experiment.settings.segments)
        );
        violations.push(Violation {
            field: "segment".to_owned(),
            description,
        });
    }
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
    let (window, transactional) = match window(&request.constraints, Some(experiment), now) {
        Ok(window) => window,
        Err(error) => {
            violations.extend(error.violations);
            return Err(AppError::invalid(violations));
        }
    };
    if !violations.is_empty() {
        return Err(AppError::invalid(violations));
    }
    Ok(Resolved {
        window,
        eligible: (!eligible.is_empty()).then_some(eligible),
        frequency_cap: request
            .constraints
            .frequency_cap
            .or(experiment.settings.send_defaults.frequency_cap),
        transactional,
        request: fingerprint(&request.request_id),
        occasion: fingerprint(&request.occasion),
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
fn window(
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
    };
    let transactional = constraints.transactional || defaults.is_some_and(|d| d.transactional);
    let mut violations = match window.validate() {
        Ok(()) => Vec::new(),
        Err(found) => found.into_iter().map(violation).collect(),
    };
    if window.earliest_at.duration_since(now) > AHEAD_MAX {
        violations.push(Violation {
            field: "constraints.earliest_time".to_owned(),
            description: "is more than 30 days ahead; ask nearer to the send".to_owned(),
        });
    }
    if violations.is_empty() {
        Ok((window, transactional))
    } else {
        Err(AppError::invalid(violations))
    }
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
fn refuse_foreign_retry(
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

fn no_candidate(experiment: &Experiment, restricted: bool) -> AppError {
    let why = if restricted {
        "none of the eligible variants is live"
    } else {
        "no variant is live"
    };
    let message = format!("experiments/{}: {why}; add or resume one", experiment.id);
    AppError::new(Kind::FailedPrecondition, "NO_ELIGIBLE_VARIANT", message)
}

// === touches ===

fn touch_of(
    choice: &Choice,
    snapshot: &Snapshot,
    question: &Question<'_>,
    resolved: &Resolved,
) -> Touch {
    let allowed: Allowed = question.allowed;
    let send_at_ms = choice.send_at.as_millisecond();
    let basis = Basis {
        reason: choice.reason,
        choice_level: choice.level,
        time_level: choice.prediction.as_ref().map(|p| p.level),
    };
    Touch {
        decision: question.draws.fingerprint,
        experiment: snapshot.experiment.uid,
        answer: choice.answer(),
        decided_at_ms: question.now.as_millisecond(),
        send_at_ms,
        planned_at_ms: send_at_ms,
        occasion: resolved.occasion,
        request: resolved.request,
        events: 0,
        trial_counted: snapshot.experiment.settings.trial_on == TrialOn::Decision,
        measurable: true,
        exposure_recorded: allowed.timing == ConsentLevel::Individual,
        everyone_recorded: allowed.timing >= ConsentLevel::Aggregate,
        sent_local_minute: local_minute_of_week(question.zone, choice.send_at),
        open: None,
        click: None,
        value: 0.0,
        replied_negative: false,
        basis,
    }
}

/// The touch of an answer not to send: remembered under its request id only.
fn refusal(
    snapshot: &Snapshot,
    question: &Question<'_>,
    resolved: &Resolved,
    reason: DoNotSend,
) -> Touch {
    let now_ms = question.now.as_millisecond();
    Touch {
        decision: question.draws.fingerprint,
        experiment: snapshot.experiment.uid,
        answer: Answer::DoNotSend(reason),
        decided_at_ms: now_ms,
        send_at_ms: now_ms,
        planned_at_ms: now_ms,
        occasion: resolved.occasion,
        request: resolved.request,
        events: 0,
        trial_counted: false,
        measurable: false,
        exposure_recorded: false,
        everyone_recorded: false,
        sent_local_minute: 0,
        open: None,
        click: None,
        value: 0.0,
        replied_negative: false,
        basis: Basis {
            reason: Reason::Policy,
            choice_level: ChoiceLevel::Default,
            time_level: None,
        },
    }
}

fn answer_of(choice: &Choice, touch: &Touch, full: bool) -> SendAnswer {
    SendAnswer {
        answer: touch.answer,
        variant: choice.variant,
        propensity: choice.propensity,
        holdout: choice.lane == crate::domain::cell::Lane::Holdout,
        segment: choice.context.segment,
        basis: touch.basis,
        send_at: choice.send_at,
        prediction: choice.prediction.clone(),
        table: full.then(|| choice.table.clone()),
    }
}
