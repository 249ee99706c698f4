//! Decisions on the wire, with a sentence that says why.
use std::sync::OnceLock;

use jiff::Timestamp;
use metrics::Counter;

use crate::app::{Decided, Predicted, SendAnswer, WouldHave, ZoneSource};
use crate::domain::civil::Zone;
use crate::domain::decide::Reason;
use crate::domain::experiment::Experiment;
use crate::domain::name::VariantIndex;
use crate::domain::recipient::DoNotSend;
use crate::domain::send_time::{Level, Prediction};
use crate::domain::snapshot::{ChoiceLevel, Table};
use crate::grpc::check::{duration_ms, timestamp};
use crate::grpc::wire;

mod explanation;

use explanation::{explain, why_not};

/// Counters of decisions by their reason, each looked up once: by name it costs several allocations.
#[derive(Debug, Default)]
pub struct Counted {
    by_reason: [OnceLock<Counter>; REASONS],
    by_refusal: [OnceLock<Counter>; REFUSALS],
}

/// Reasons of answers to send, and of answers not to.
const REASONS: usize = 8;
const REFUSALS: usize = 4;

// === impl Counted ===

impl Counted {
    fn count(&self, decided: &Decided) {
        let (counter, word) = match &decided.answer {
            Ok(answer) => {
                let reason = answer.basis.reason;
                (self.by_reason.get(place_of(reason)), reason_word(reason))
            }
            Err(reason) => (self.by_refusal.get(*reason as usize), refusal_word(*reason)),
        };
        let named = || metrics::counter!("hermod_decisions_total", "reason" => word);
        // Only reasons that have occurred become labels.
        match counter {
            Some(counter) => counter.get_or_init(named).increment(1),
            None => named().increment(1),
        }
    }
}

fn place_of(reason: Reason) -> usize {
    match reason {
        Reason::Policy => 0,
        Reason::Holdout => 1,
        Reason::OnlyCandidate => 2,
        Reason::NoConsent => 3,
        Reason::Fallback => 4,
        Reason::RecipientLimit => 5,
        Reason::Sticky => 6,
        Reason::Shadow { .. } => 7,
    }
}

/// A decision, counted by its reason.
pub fn decision(decided: &Decided, counted: &Counted) -> wire::Decision {
    counted.count(decided);
    let frame = wire::Decision {
        decision_id: decided.decision_id.clone(),
        experiment: format!("experiments/{}", decided.experiment.id),
        decide_time: Some(timestamp(decided.decided_at)),
        repeated_answer: decided.repeated,
        allocation_version: decided.version,
        ..wire::Decision::default()
    };
    match &decided.answer {
        Err(reason) => wire::Decision {
            send: false,
            do_not_send_reason: do_not_send(*reason).into(),
            explanation: why_not(*reason),
            ..frame
        },
        Ok(answer) => sending(frame, decided, answer),
    }
}

fn sending(frame: wire::Decision, decided: &Decided, answer: &SendAnswer) -> wire::Decision {
    let experiment = &decided.experiment;
    let variant = experiment
        .variant(answer.variant)
        .map(|variant| variant.id.to_string())
        .unwrap_or_default();
    let segment = usize::from(answer.segment)
        .checked_sub(1)
        .and_then(|at| experiment.settings.segments.get(at));
    let time = Time {
        at: answer.send_at,
        zone: &decided.zone,
        source: decided.zone_source,
        transactional: decided.transactional,
        propensity: answer.time_propensity,
    };
    let explanation = explain(answer, &variant, &time);
    wire::Decision {
        send: true,
        variant,
        reason: reason(answer.basis.reason).into(),
        propensity: answer.propensity,
        variant_level: choice_level(answer.basis.choice_level).into(),
        segment: segment.map(ToString::to_string).unwrap_or_default(),
        holdout: answer.holdout,
        send_time: Some(timestamp(answer.send_at)),
        send_time_explanation: Some(
            time.explained(answer.prediction.as_ref(), answer.basis.time_level),
        ),
        ranked_variants: answer
            .table
            .as_deref()
            .map(|table| ranking(experiment, table))
            .unwrap_or_default(),
        explanation,
        shadow: answer
            .would_have
            .map(|would_have| shadow(experiment, answer.variant, would_have)),
        ..frame
    }
}

fn shadow(
    experiment: &Experiment,
    platform: VariantIndex,
    would_have: WouldHave,
) -> wire::ShadowDecision {
    let variant = would_have
        .variant
        .and_then(|index| experiment.variant(index));
    wire::ShadowDecision {
        send: would_have.variant.is_some(),
        do_not_send_reason: would_have
            .refusal
            .map_or(wire::DoNotSendReason::Unspecified, do_not_send)
            .into(),
        variant: variant
            .map(|variant| variant.id.to_string())
            .unwrap_or_default(),
        send_time: would_have.send_at.map(timestamp),
        propensity: would_have.propensity,
        agrees: would_have.variant == Some(platform),
    }
}

/// A predicted time.
pub fn prediction(predicted: &Predicted) -> wire::PredictSendTimeResponse {
    match &predicted.answer {
        Err(reason) => wire::PredictSendTimeResponse {
            send: false,
            do_not_send_reason: do_not_send(*reason).into(),
            ..Default::default()
        },
        Ok((at, prediction)) => {
            let time = Time {
                at: *at,
                zone: &predicted.zone,
                source: predicted.zone_source,
                transactional: predicted.transactional,
                propensity: prediction.as_ref().map_or(0.0, |found| found.propensity),
            };
            let level = prediction.as_ref().map(|prediction| prediction.level);
            wire::PredictSendTimeResponse {
                send: true,
                do_not_send_reason: 0,
                send_time: Some(timestamp(*at)),
                explanation: Some(time.explained(prediction.as_ref(), level)),
                delay: Some(duration_ms(
                    at.as_millisecond() - predicted.earliest_at.as_millisecond(),
                )),
                holdout: predicted.holdout,
            }
        }
    }
}

/// A send time and the zone it is read in.
struct Time<'a> {
    at: Timestamp,
    zone: &'a Zone,
    source: ZoneSource,
    transactional: bool,
    propensity: f32,
}

// === impl Time ===

impl Time<'_> {
    fn explained(
        &self,
        prediction: Option<&Prediction>,
        known_level: Option<Level>,
    ) -> wire::SendTimeExplanation {
        let local = self.zone.local_hour(self.at);
        let relative = prediction.map(|prediction| prediction.relative_activity);
        wire::SendTimeExplanation {
            level: known_level
                .map_or(wire::EvidenceLevel::Unspecified, time_level)
                .into(),
            value: prediction.map_or(0.0, |prediction| prediction.value),
            effective_observations: prediction
                .map_or(0.0, |prediction| prediction.effective_observations),
            local_hour: local.hour.into(),
            local_weekday: i32::from(local.weekday) + 1,
            time_zone: self.zone.name().to_owned(),
            time_zone_source: zone_source(self.source).into(),
            relative_activity_low: relative.map_or(0.0, |interval| interval.low),
            relative_activity: relative.map_or(0.0, |interval| interval.mean),
            relative_activity_high: relative.map_or(0.0, |interval| interval.high),
            candidates: prediction.map(candidates).unwrap_or_default(),
            transactional: self.transactional,
            send_time_propensity: self.propensity.into(),
        }
    }
}

fn candidates(prediction: &Prediction) -> Vec<wire::CandidateHour> {
    let hour = |hour: &crate::domain::send_time::HourCandidate| wire::CandidateHour {
        start_time: Some(timestamp(hour.start_at)),
        value: hour.value,
        allowed: hour.allowed,
    };
    prediction.candidates.iter().map(hour).collect()
}

fn ranking(experiment: &Experiment, table: &Table) -> Vec<wire::RankedVariant> {
    let chances = &table.best().probability;
    let mut ranked: Vec<wire::RankedVariant> = table
        .candidates
        .iter()
        .enumerate()
        .map(|(at, candidate)| {
            let interval = candidate.posterior.credible_interval(0.95);
            wire::RankedVariant {
                variant: experiment
                    .variant(candidate.variant)
                    .map(|variant| variant.id.to_string())
                    .unwrap_or_default(),
                propensity: table.allocation.propensity(at),
                probability_best: chances.get(at).copied().unwrap_or(0.0),
                mean: candidate.posterior.mean(),
                interval_low: interval.low,
                interval_high: interval.high,
                effective_trials: candidate.effective_trials,
                successes: candidate.successes,
            }
        })
        .collect();
    ranked.sort_by(|one, other| other.propensity.total_cmp(&one.propensity));
    ranked
}

fn do_not_send(reason: DoNotSend) -> wire::DoNotSendReason {
    match reason {
        DoNotSend::FrequencyCap => wire::DoNotSendReason::FrequencyCap,
        DoNotSend::Suppressed => wire::DoNotSendReason::Suppressed,
        DoNotSend::NoAllowedTime => wire::DoNotSendReason::NoAllowedTime,
        DoNotSend::CapacityFull => wire::DoNotSendReason::CapacityFull,
    }
}

fn reason(reason: Reason) -> wire::DecisionReason {
    match reason {
        Reason::Policy => wire::DecisionReason::Policy,
        Reason::Holdout => wire::DecisionReason::Holdout,
        Reason::OnlyCandidate => wire::DecisionReason::OnlyCandidate,
        Reason::NoConsent => wire::DecisionReason::NoConsent,
        Reason::Fallback => wire::DecisionReason::Fallback,
        Reason::RecipientLimit => wire::DecisionReason::RecipientLimit,
        Reason::Sticky => wire::DecisionReason::Sticky,
        Reason::Shadow { .. } => wire::DecisionReason::Shadow,
    }
}

fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::Policy => "policy",
        Reason::Holdout => "holdout",
        Reason::OnlyCandidate => "only_candidate",
        Reason::NoConsent => "no_consent",
        Reason::Fallback => "fallback",
        Reason::RecipientLimit => "recipient_limit",
        Reason::Sticky => "sticky",
        Reason::Shadow { .. } => "shadow",
    }
}

fn refusal_word(reason: DoNotSend) -> &'static str {
    match reason {
        DoNotSend::FrequencyCap => "frequency_cap",
        DoNotSend::Suppressed => "suppressed",
        DoNotSend::NoAllowedTime => "no_allowed_time",
        DoNotSend::CapacityFull => "capacity_full",
    }
}

/// A level behind a variant on the wire.
pub fn choice_level(level: ChoiceLevel) -> wire::EvidenceLevel {
    match level {
        ChoiceLevel::Segment => wire::EvidenceLevel::Segment,
        ChoiceLevel::Everyone => wire::EvidenceLevel::Everyone,
        ChoiceLevel::Default => wire::EvidenceLevel::Default,
    }
}

/// The level of a time on the wire.
pub fn time_level(level: Level) -> wire::EvidenceLevel {
    match level {
        Level::Recipient => wire::EvidenceLevel::Recipient,
        Level::Everyone => wire::EvidenceLevel::Everyone,
        Level::Default => wire::EvidenceLevel::Default,
        Level::Chronotype => wire::EvidenceLevel::Chronotype,
        Level::Segment => wire::EvidenceLevel::Segment,
        Level::Exploration => wire::EvidenceLevel::Exploration,
    }
}

fn zone_source(source: ZoneSource) -> wire::TimeZoneSource {
    match source {
        ZoneSource::Request => wire::TimeZoneSource::Request,
        ZoneSource::Recipient => wire::TimeZoneSource::Recipient,
        ZoneSource::Default => wire::TimeZoneSource::Default,
        ZoneSource::Inferred => wire::TimeZoneSource::Inferred,
    }
}
