//! Model cards on the wire.
use crate::app::{CardData, CardGuardrail, CardModel, ModelCard};

use super::check::timestamp;
use super::decisions::choice_level;
use super::{results, wire};

/// A card, for programs and for people.
pub fn model_card(card: &ModelCard) -> wire::ModelCard {
    let ModelCard {
        results,
        data,
        models,
        levels,
        limits,
        guardrails,
    } = card;
    wire::ModelCard {
        results: Some(results::results(results)),
        data: Some(data_wire(data)),
        models: models.iter().map(model_wire).collect(),
        levels: levels
            .iter()
            .map(|(level, contexts)| wire::ModelCardLevel {
                level: choice_level(*level).into(),
                contexts: *contexts as i32,
            })
            .collect(),
        guardrails: guardrails.iter().map(guardrail_wire).collect(),
        limits: limits.clone(),
        update_time: Some(timestamp(results.experiment.updated_at)),
        markdown: card.markdown(),
    }
}

fn data_wire(data: &CardData) -> wire::ModelCardData {
    let CardData {
        trials,
        effective_trials,
        planned_trials,
        successes,
        decided,
        first_at,
        last_at,
    } = *data;
    wire::ModelCardData {
        decided,
        trials,
        effective_trials,
        planned_trials,
        successes,
        first_time: first_at.map(timestamp),
        last_time: last_at.map(timestamp),
    }
}

fn model_wire(model: &CardModel) -> wire::ModelCardModel {
    let CardModel {
        name,
        about,
        parameters,
    } = model;
    wire::ModelCardModel {
        name: (*name).to_owned(),
        about: about.clone(),
        parameters: parameters
            .iter()
            .map(|(name, value)| wire::ModelCardParameter {
                name: name.clone(),
                value: *value,
            })
            .collect(),
    }
}

fn guardrail_wire(guardrail: &CardGuardrail) -> wire::ModelCardGuardrail {
    let CardGuardrail { name, rate_max } = *guardrail;
    wire::ModelCardGuardrail {
        name: name.to_owned(),
        rate_max,
    }
}
