//! A decision made again, on the wire.
use crate::app::Replayed;
use crate::domain::decision_log::Comparison;
use crate::grpc::check::timestamp_ms;
use crate::grpc::wire;

/// The decision as logged and as made again.
pub fn response(replayed: Replayed) -> wire::ReplayDecisionResponse {
    let equal = replayed.is_equal();
    let Replayed {
        at,
        experiment,
        code,
        code_now,
        comparisons,
        problem,
    } = replayed;
    wire::ReplayDecisionResponse {
        equal,
        experiment: format!("experiments/{experiment}"),
        decide_time: timestamp_ms(at.decided_at_ms),
        fields: comparisons.into_iter().map(field).collect(),
        problem,
        decided_by_version: code,
        replayed_by_version: code_now.to_owned(),
    }
}

fn field(comparison: Comparison) -> wire::ReplayedField {
    let Comparison {
        field,
        logged,
        repeated,
        equal,
    } = comparison;
    wire::ReplayedField {
        field: field.to_owned(),
        logged,
        replayed: repeated,
        equal,
    }
}
