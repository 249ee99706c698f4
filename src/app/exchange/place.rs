//! Keys taken apart for readers of an export: what a record is of.
//!
//! Invariant: a key that no record has gives nothing. Importing does not look at this; the key itself counts.
use serde_json::{Value, json};

use super::hex;
use crate::domain::cell::{CellId, Lane};
use crate::domain::name::TenantId;
use crate::store::records::key::{self, parse};

/// What a key says; `None` for bytes that are no key.
pub(in crate::app) fn place(key: &[u8]) -> Option<Value> {
    match key.get(..1)? {
        b"m" => Some(json!({})),
        key::EXPERIMENTS => {
            let tenant = parse::tenant(key)?.0;
            let name = std::str::from_utf8(key.get(5..)?).ok()?;
            Some(json!({ "tenant": tenant, "experiment_name": name }))
        }
        key::CELLS => parse::cell(key).map(|(tenant, id)| cell(tenant, id)),
        key::PLANNED => parse::planned(key).map(|(until_ms, tenant, id)| {
            let mut place = cell(tenant, id);
            if let Some(fields) = place.as_object_mut() {
                fields.insert("planned_until_ms".to_owned(), json!(until_ms));
            }
            place
        }),
        key::RECIPIENTS => {
            let tenant = parse::tenant(key)?.0;
            let recipient = key.get(5..).filter(|hash| !hash.is_empty())?;
            Some(json!({ "tenant": tenant, "recipient": hex(recipient) }))
        }
        key::TIMELINES => parse::timeline(key).map(|(tenant, slot)| {
            json!({
                "tenant": tenant.0, "experiment": slot.experiment.0, "variant": slot.variant.0,
                "lane": lane(slot.lane), "hours_since_1970": slot.hour,
            })
        }),
        key::HOURS => parse::hour(key).map(|(tenant, day, hour)| {
            json!({ "tenant": tenant.0, "days_since_1970": day, "hour_of_week": hour })
        }),
        key::DECISIONS | key::OUTCOMES => parse::logged(key).map(|at| {
            json!({
                "tenant": at.tenant.0, "decided_at_ms": at.decided_at_ms,
                "decision": format!("{:016x}", at.decision),
            })
        }),
        key::GROUNDS => {
            let day = parse::ground_day(key)?;
            Some(json!({ "days_since_1970": day, "content": hex(key.get(5..)?) }))
        }
        other => of_experiment(other, key),
    }
}

/// Keys that name an experiment, a tenant, or something numbered.
fn of_experiment(prefix: &[u8], key: &[u8]) -> Option<Value> {
    let plain = |(tenant, experiment): (TenantId, crate::domain::name::ExperimentUid)| json!({ "tenant": tenant.0, "experiment": experiment.0 });
    match prefix {
        key::ARRIVALS => parse::arrivals(key).map(plain),
        key::DRIFTS => parse::drift(key).map(plain),
        key::OVERSIGHTS => parse::oversight(key).map(plain),
        key::SHADOWS => parse::shadow(key).map(|(tenant, experiment, variant)| {
            json!({ "tenant": tenant.0, "experiment": experiment.0, "variant": variant.0 })
        }),
        key::SEND_PLANS => parse::send_plan(key).map(|(tenant, experiment, hour)| {
            json!({ "tenant": tenant.0, "experiment": experiment.0, "hours_since_1970": hour })
        }),
        key::ALERTS => {
            parse::alert(key).map(|(tenant, number)| json!({ "tenant": tenant.0, "alert": number }))
        }
        key::INDIVIDUALITIES
        | key::CHRONOTYPES
        | key::ZONE_TALLIES
        | key::RECIPIENT_COUNTS => Some(json!({ "tenant": parse::tenant(key)?.0 })),
        _ => None,
    }
}

fn cell(tenant: TenantId, id: CellId) -> Value {
    json!({
        "tenant": tenant.0, "experiment": id.experiment.0, "variant": id.variant.0,
        "segment": id.context.segment, "daypart": id.context.daypart,
        "lane": lane(id.lane), "half_life": id.track.0,
    })
}

fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Policy => "policy",
        Lane::Holdout => "holdout",
    }
}
