//! One campaign in a rig, or as the domain has it: created, decided mail by mail, and told the answers.
//!
//! Invariant: every mail gets a variant and every answer counts, or the measurement stops. What is measured is left to others.
use jiff::Timestamp;

use crate::app::{Constraints, DecideRequest, EventReport, NewExperiment, ReportOutcome};
use crate::domain::event::{DecisionEvent, EventKind, HumanWeight, Sentiment};
use crate::domain::experiment::{
    Experiment, ExperimentKind, ExperimentState, Guardrails, Objective, Probation, SendDefaults,
    Settings, TrialOn, Utility, Variant, VariantState,
};
use crate::domain::name::{ExperimentUid, Slug, TenantId};
use crate::domain::policy::Policy;

use super::LabError;
use super::rig::{Rig, ready, start};

/// Answers later than this do not count.
pub const ATTRIBUTION_HOURS: f64 = 168.0;
/// Events in one report.
const REPORT_MAX: usize = 10_000;

/// The settings of a campaign under the default policy and floor, without a holdout.
pub fn campaign_settings(objective: Objective, planned_sends: u64) -> Settings {
    Settings {
        policy: Policy::default(),
        objective,
        kind: ExperimentKind::Campaign,
        attribution_window_ms: (ATTRIBUTION_HOURS * 3_600_000.0) as i64,
        trial_on: TrialOn::Decision,
        holdout_share: 0.0,
        floor: 0.02,
        segments: Vec::new(),
        daypart_start_hours: Vec::new(),
        send_defaults: SendDefaults::default(),
        half_life_hours: 504.0,
        planned_sends,
        guardrails: Guardrails::default(),
        probation: Probation::default(),
        utility: Utility::default(),
        open_proxy: false,
        exploration_share: 0.0,
        capacity: None,
        shadow: false,
    }
}

/// The name of the campaign in a rig.
pub fn campaign_name() -> Result<Slug, LabError> {
    Slug::parse("campaign").map_err(|_| LabError::Defect("the campaign's name is refused"))
}

fn arm_names(arms: usize) -> Result<Vec<Slug>, LabError> {
    let name = |arm| {
        Slug::parse(&format!("arm-{arm}")).map_err(|_| LabError::Defect("an arm's name is refused"))
    };
    (0..arms).map(name).collect()
}

/// A running campaign as the domain has it.
pub fn campaign(arms: usize, settings: Settings) -> Result<Experiment, LabError> {
    let at = start();
    let variant = |id| Variant {
        id,
        display_name: String::new(),
        state: VariantState::Live,
        created_at: at,
        quarantine_reason: String::new(),
    };
    Ok(Experiment {
        id: campaign_name()?,
        uid: ExperimentUid(1),
        revision: 1,
        display_name: String::new(),
        state: ExperimentState::Running,
        variants: arm_names(arms)?.into_iter().map(variant).collect(),
        settings,
        created_at: at,
        updated_at: at,
        started_at: Some(at),
        concluded_at: None,
        winner: None,
        request: 0,
    })
}

/// Creates and starts a campaign in a rig.
pub fn start_campaign(rig: &Rig, arms: usize, settings: Settings) -> Result<Slug, LabError> {
    let id = campaign_name()?;
    let new = NewExperiment {
        tenant: TenantId::DEFAULT,
        id: id.clone(),
        display_name: String::new(),
        variants: arm_names(arms)?
            .into_iter()
            .map(|name| (name, String::new()))
            .collect(),
        settings,
        request_id: String::new(),
        validate_only: false,
    };
    ready(rig.app.create_experiment(new))??;
    ready(rig.app.start_experiment(TenantId::DEFAULT, &id))??;
    Ok(id)
}

/// A decision about a mail that leaves at once.
pub fn request_now(experiment: &Slug, recipient: u64, now: Timestamp) -> DecideRequest {
    DecideRequest {
        tenant: TenantId::DEFAULT,
        experiment: experiment.clone(),
        recipient_id: recipient.to_string(),
        request_id: String::new(),
        occasion: String::new(),
        segment: None,
        zone: None,
        constraints: Constraints::default(),
        send_at: Some(now),
        eligible: Vec::new(),
        platform: None,
        validate_only: false,
        full: false,
    }
}

/// The arm and the decision id of the next mail.
pub fn decide(rig: &Rig, request: &DecideRequest) -> Result<(usize, String), LabError> {
    let decided = ready(rig.app.decide(request))??;
    match decided.answer {
        Ok(answer) => Ok((usize::from(answer.variant.0), decided.decision_id)),
        Err(_) => Err(LabError::Defect("hermod would not send")),
    }
}

/// An answer to a mail, made by a person.
pub fn answered(token: String, kind: EventKind, at: Timestamp) -> EventReport {
    EventReport::Decision {
        token,
        event: DecisionEvent {
            kind,
            at,
            weight: HumanWeight::CERTAIN,
            value: 0.0,
            sentiment: Sentiment::Neutral,
            permanent: false,
        },
    }
}

/// Reports events and refuses to go on unless all of them count.
pub fn report(rig: &Rig, events: Vec<EventReport>) -> Result<(), LabError> {
    let mut events = events.into_iter().map(Ok).peekable();
    while events.peek().is_some() {
        let part = events.by_ref().take(REPORT_MAX).collect();
        for result in ready(rig.app.report(TenantId::DEFAULT, part))?? {
            if result? != ReportOutcome::Counted {
                return Err(LabError::Defect("an answer did not count"));
            }
        }
    }
    Ok(())
}
