//! Events and verdicts: checked, weighed by the rule table, and turned into reports.
use jiff::{SignedDuration, Timestamp};

use crate::app::{Activity, AppError, EventReport, Reclassification};
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use crate::domain::human::{Evidence, NetworkKind, human_weight};
use crate::grpc::check::{Checks, DurationLimits};
use crate::grpc::wire;

/// No event is older: 2000-01-01.
const OLDEST_SECOND: i64 = 946_684_800;
const VALUE_MAX: f64 = 1e12;
const USER_AGENT_BYTES_MAX: usize = 1_024;

/// Checks an event and weighs it by its evidence.
pub fn event(event: wire::Event) -> Result<EventReport, AppError> {
    let wire::Event {
        kind,
        event_time,
        decision_id,
        recipient_id,
        human_probability,
        evidence,
        value,
        sentiment,
        permanent,
    } = event;
    let mut checks = Checks::default();
    let kind = self::kind(&mut checks, kind);
    let at = instant(&mut checks, event_time);
    if human_probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        checks.wrong("human_probability", "must be a number from 0 to 1");
    }
    if !(0.0..=VALUE_MAX).contains(&value) {
        checks.wrong("value", format!("must be a number from 0 to {VALUE_MAX}"));
    }
    let evidence = evidence
        .map(|wire| self::evidence(&mut checks, wire))
        .unwrap_or_default();
    let sentiment = self::sentiment(&mut checks, sentiment);
    let is_active = kind == Some(wire::EventKind::Active);
    let recipient_id = checks.identifier("recipient_id", recipient_id, is_active);
    if decision_id.is_empty() && !is_active {
        checks.wrong(
            "decision_id",
            "is required; pass the decision_id of the decision unchanged",
        );
    }
    checks.finish()?;
    let weight = |kind| {
        human_probability.map_or_else(|| human_weight(kind, &evidence).0, HumanWeight::nearest)
    };
    Ok(match kind.and_then(event_kind) {
        None => EventReport::Active(Activity {
            recipient_id,
            at,
            weight: weight(EventKind::Clicked),
        }),
        Some(kind) => {
            let event = DecisionEvent {
                kind,
                at,
                weight: weight(kind),
                value,
                sentiment,
                permanent,
            };
            EventReport::Decision {
                token: decision_id,
                event,
            }
        }
    })
}

fn kind(checks: &mut Checks, wire: i32) -> Option<wire::EventKind> {
    let kind = checks.known::<wire::EventKind>("kind", wire);
    if kind == Some(wire::EventKind::Unspecified) {
        checks.wrong("kind", "is required");
    }
    kind
}

fn sentiment(checks: &mut Checks, wire: i32) -> Sentiment {
    match checks.known::<wire::Sentiment>("sentiment", wire) {
        Some(wire::Sentiment::Negative) => Sentiment::Negative,
        Some(wire::Sentiment::Positive) => Sentiment::Positive,
        Some(wire::Sentiment::Neutral | wire::Sentiment::Unspecified) | None => Sentiment::Neutral,
    }
}

fn instant(checks: &mut Checks, at: Option<prost_types::Timestamp>) -> Timestamp {
    if at.is_none() {
        checks.wrong("event_time", "is required: when it happened");
    }
    let at = checks.instant("event_time", at);
    if at.is_some_and(|at| at.as_second() < OLDEST_SECOND) {
        checks.wrong(
            "event_time",
            "is before the year 2000; give the time at which it happened",
        );
    }
    at.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The kind of an event that belongs to a decision; none for activity without one.
fn event_kind(kind: wire::EventKind) -> Option<EventKind> {
    match kind {
        wire::EventKind::Unspecified | wire::EventKind::Active => None,
        wire::EventKind::Sent => Some(EventKind::Sent),
        wire::EventKind::Delivered => Some(EventKind::Delivered),
        wire::EventKind::Bounced => Some(EventKind::Bounced),
        wire::EventKind::Opened => Some(EventKind::Opened),
        wire::EventKind::Clicked => Some(EventKind::Clicked),
        wire::EventKind::Converted => Some(EventKind::Converted),
        wire::EventKind::Unsubscribed => Some(EventKind::Unsubscribed),
        wire::EventKind::Complained => Some(EventKind::Complained),
        wire::EventKind::Replied => Some(EventKind::Replied),
    }
}

fn evidence(checks: &mut Checks, wire: wire::Evidence) -> Evidence {
    let wire::Evidence {
        user_agent,
        network,
        provider_machine_flag,
        since_delivery,
        links_within_10_seconds,
    } = wire;
    let network = match checks.known::<wire::NetworkKind>("evidence.network", network) {
        Some(wire::NetworkKind::Residential) => NetworkKind::Residential,
        Some(wire::NetworkKind::Corporate) => NetworkKind::Corporate,
        Some(wire::NetworkKind::ImageProxy) => NetworkKind::ImageProxy,
        Some(wire::NetworkKind::PrivacyProxy) => NetworkKind::PrivacyProxy,
        Some(wire::NetworkKind::Hosting) => NetworkKind::Hosting,
        Some(wire::NetworkKind::Unspecified) | None => NetworkKind::Unknown,
    };
    let links = u32::try_from(links_within_10_seconds).unwrap_or_else(|_| {
        checks.wrong("evidence.links_within_10_seconds", "must not be negative");
        0
    });
    let limits = DurationLimits {
        min: SignedDuration::ZERO,
        max: SignedDuration::from_hours(366 * 24),
    };
    Evidence {
        user_agent: checks.text("evidence.user_agent", user_agent, USER_AGENT_BYTES_MAX),
        network,
        provider_machine_flag,
        since_delivery: checks.duration("evidence.since_delivery", since_delivery, limits),
        links_within_10_seconds: links,
    }
}

/// Checks a verdict.
pub fn verdict(wire: wire::Reclassification) -> Result<Reclassification, AppError> {
    let wire::Reclassification {
        decision_id,
        kind,
        human_probability,
    } = wire;
    let mut checks = Checks::default();
    if decision_id.is_empty() {
        checks.wrong(
            "decision_id",
            "is required; pass the decision_id of the decision unchanged",
        );
    }
    let kind = match checks.known::<wire::EventKind>("kind", kind) {
        Some(wire::EventKind::Opened) => EventKind::Opened,
        Some(wire::EventKind::Clicked) => EventKind::Clicked,
        Some(_) => {
            checks.wrong("kind", "must be OPENED or CLICKED");
            EventKind::Opened
        }
        None => EventKind::Opened,
    };
    let weight = human_probability
        .filter(|p| (0.0..=1.0).contains(p))
        .map(HumanWeight::nearest)
        .unwrap_or_else(|| {
            checks.wrong(
                "human_probability",
                "is required: a number from 0 to 1; 0 takes the event out",
            );
            HumanWeight::NONE
        });
    checks.finish()?;
    Ok(Reclassification {
        token: decision_id,
        kind,
        weight,
    })
}
