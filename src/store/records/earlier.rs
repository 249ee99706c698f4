//! Records as earlier versions of this program wrote them, and what they mean now.
//!
//! Invariant: a layout here never changes again; fields that came later get the value that keeps the old behaviour.
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::alert::Condition;
use crate::domain::cell::Harm;
use crate::domain::experiment::{
    Experiment, ExperimentKind, ExperimentState, Guardrails, Objective, Probation, SendDefaults,
    Settings, TrialOn, Utility, Variant,
};
use crate::domain::freshness::TAU_HOURS;
use crate::domain::guardrail::HarmEvidence;
use crate::domain::hour_activity::HourActivity;
use crate::domain::name::{ExperimentUid, Slug, VariantIndex};
use crate::domain::oversight::Oversight;
use crate::domain::policy::Policy;
use crate::domain::timeline::HourCounts;

mod recipient;

pub use recipient::{recipient_v1, recipient_v2, recipient_v3, recipient_v4};

/// Reads a timeline hour of format 1.
pub fn hour_counts(payload: &[u8]) -> Result<HourCounts, postcard::Error> {
    let HourCountsV1 {
        decided,
        events,
        replied_negative,
        value,
    } = postcard::from_bytes(payload)?;
    Ok(HourCounts {
        decided,
        events,
        replied_negative,
        value,
        confirmed: 0,
    })
}

/// A timeline hour before confirmed mails were counted by the hour of their decision.
#[derive(Deserialize)]
struct HourCountsV1 {
    decided: i64,
    events: [i64; 9],
    replied_negative: i64,
    value: f64,
}

/// Reads what is remembered of watching of format 1: mails taken out of the counts passed for old ones.
pub fn oversight(payload: &[u8]) -> Result<Oversight, postcard::Error> {
    let OversightV1 { baselines, holding } = postcard::from_bytes(payload)?;
    let dealt_with = baselines.into_iter().map(|(variant, baseline)| {
        let evidence = HarmEvidence {
            mails: baseline.evidence.mails,
            harm: baseline.evidence.harm,
            ..HarmEvidence::default()
        };
        (variant, baseline.at_ms, evidence)
    });
    Ok(Oversight::remembered(dealt_with, holding))
}

/// Watching before it was remembered how young the mails were that a person has dealt with.
#[derive(Deserialize)]
struct OversightV1 {
    baselines: BTreeMap<VariantIndex, BaselineV1>,
    holding: BTreeSet<Condition>,
}

#[derive(Deserialize)]
struct BaselineV1 {
    at_ms: i64,
    evidence: HarmEvidenceV1,
}

#[derive(Deserialize)]
struct HarmEvidenceV1 {
    mails: f64,
    harm: Harm,
}

/// Reads an experiment of format 1.
pub fn experiment(payload: &[u8]) -> Result<Experiment, postcard::Error> {
    postcard::from_bytes::<ExperimentV1>(payload).map(Experiment::from)
}

/// Reads an activity hour of format 1: what was cut off had the shares of freshness multiplied in, which were halves; that of the time
/// constant in between, which was not kept, lies between both on a logarithmic scale.
pub fn hour_activity(payload: &[u8]) -> Result<HourActivity, postcard::Error> {
    let old: HourActivityV1 = postcard::from_bytes(payload)?;
    let [moment, days] = old.cut_off.map(|amount| 2.0 * amount);
    let [shortest, between, longest] = TAU_HOURS.map(f64::ln);
    let share = (longest - between) / (longest - shortest);
    let day = if moment > 0.0 && days > 0.0 {
        moment.powf(share) * days.powf(1.0 - share)
    } else {
        0.0
    };
    Ok(HourActivity {
        as_of_ms: old.as_of_ms,
        observed: old.observed,
        active: old.active,
        sends: old.sends,
        cut_off: [moment, day, days],
    })
}

#[derive(Deserialize)]
struct HourActivityV1 {
    as_of_ms: i64,
    observed: f64,
    active: f64,
    sends: f64,
    cut_off: [f64; 2],
}

/// An experiment before guardrails, probation, utilities, exploration, capacity and shadow mode.
#[derive(Deserialize)]
struct ExperimentV1 {
    id: Slug,
    uid: ExperimentUid,
    revision: u64,
    display_name: String,
    state: ExperimentState,
    variants: Vec<Variant>,
    settings: SettingsV1,
    created_at: Timestamp,
    updated_at: Timestamp,
    started_at: Option<Timestamp>,
    concluded_at: Option<Timestamp>,
    winner: Option<VariantIndex>,
    request: u64,
}

#[derive(Deserialize)]
struct SettingsV1 {
    policy: Policy,
    objective: Objective,
    kind: ExperimentKind,
    attribution_window_ms: i64,
    trial_on: TrialOn,
    holdout_share: f64,
    floor: f64,
    segments: Vec<Slug>,
    daypart_start_hours: Vec<u8>,
    send_defaults: SendDefaults,
    half_life_hours: f64,
    planned_sends: u64,
}

impl From<ExperimentV1> for Experiment {
    fn from(old: ExperimentV1) -> Self {
        Self {
            id: old.id,
            uid: old.uid,
            revision: old.revision,
            display_name: old.display_name,
            state: old.state,
            variants: old.variants,
            settings: old.settings.into(),
            created_at: old.created_at,
            updated_at: old.updated_at,
            started_at: old.started_at,
            concluded_at: old.concluded_at,
            winner: old.winner,
            request: old.request,
        }
    }
}

impl From<SettingsV1> for Settings {
    fn from(old: SettingsV1) -> Self {
        Self {
            policy: old.policy,
            objective: old.objective,
            kind: old.kind,
            attribution_window_ms: old.attribution_window_ms,
            trial_on: old.trial_on,
            holdout_share: old.holdout_share,
            floor: old.floor,
            segments: old.segments,
            daypart_start_hours: old.daypart_start_hours,
            send_defaults: old.send_defaults,
            half_life_hours: old.half_life_hours,
            planned_sends: old.planned_sends,
            guardrails: Guardrails::default(),
            probation: Probation::default(),
            utility: Utility::default(),
            open_proxy: false,
            // Nobody agreed to random times when it was created.
            exploration_share: 0.0,
            capacity: None,
            shadow: false,
        }
    }
}
