//! Keys, by what they lead to. All numbers are big-endian so that keys sort as numbers do.
//!
//! Invariant: what is read together lies together, and `parse` gives back what was put in.
use crate::domain::cell::{CellId, Lane, Track};
use crate::domain::content_id::ContentId;
use crate::domain::name::{ExperimentUid, RecipientKey, Slug, TenantId, VariantIndex};

pub mod parse;

/// The store's identity.
pub const IDENTITY: &[u8] = b"m/identity";
/// The highest experiment number given out to the first tenant.
pub const LAST_UID: &[u8] = b"m/last-uid";
/// Prefix of the numbers of tenants.
pub const TENANTS: &[u8] = b"m/tenant/";
/// The highest tenant number given out.
pub const LAST_TENANT: &[u8] = b"m/last-tenant";
/// Prefix of all experiments.
pub const EXPERIMENTS: &[u8] = b"e";
/// Prefix of all cells.
pub const CELLS: &[u8] = b"c";
/// Prefix of all cells of trials planned for later.
pub const PLANNED: &[u8] = b"p";
/// Prefix of all recipients.
pub const RECIPIENTS: &[u8] = b"r";
/// Prefix of the counts of recipients.
pub const RECIPIENT_COUNTS: &[u8] = b"n";
/// Prefix of all hours of timelines.
pub const TIMELINES: &[u8] = b"t";
/// Prefix of all hours of everybody's activity.
pub const HOURS: &[u8] = b"h";
/// Prefix of all delays of answers.
pub const ARRIVALS: &[u8] = b"l";
/// Prefix of all chronotypes.
pub const CHRONOTYPES: &[u8] = b"k";
/// Prefix of all tallies of zones.
pub const ZONE_TALLIES: &[u8] = b"z";
/// Prefix of all records of drift.
pub const DRIFTS: &[u8] = b"f";
/// Prefix of all individualities.
pub const INDIVIDUALITIES: &[u8] = b"i";
/// Prefix of all tallies of shadow mode.
pub const SHADOWS: &[u8] = b"x";
/// Prefix of all logged decisions.
pub const DECISIONS: &[u8] = b"d";
/// Prefix of all outcomes of logged decisions.
pub const OUTCOMES: &[u8] = b"o";
/// Prefix of all that logged decisions rest on.
pub const GROUNDS: &[u8] = b"g";

/// Prefix of all hours for which mails are planned under a capacity.
pub const SEND_PLANS: &[u8] = b"w";
/// Prefix of all alerts.
pub const ALERTS: &[u8] = b"a";
/// Prefix of what is remembered about watching over experiments.
pub const OVERSIGHTS: &[u8] = b"v";

fn tenant_key(prefix: &[u8], tenant: TenantId) -> Vec<u8> {
    let mut key = Vec::with_capacity(40);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&tenant.0.to_be_bytes());
    key
}

/// A tenant's number, by its name.
pub fn tenant(name: &Slug) -> Vec<u8> {
    [TENANTS, name.as_str().as_bytes()].concat()
}

/// The highest experiment number given out to a tenant.
pub fn last_uid(tenant: TenantId) -> Vec<u8> {
    // The first tenant's has no number of its own: such are the keys of stores written before there were others.
    match tenant {
        TenantId::DEFAULT => LAST_UID.to_vec(),
        TenantId(number) => [LAST_UID, b"/", &number.to_be_bytes()].concat(),
    }
}

/// An experiment, by name.
pub fn experiment(tenant: TenantId, id: &Slug) -> Vec<u8> {
    let mut key = tenant_key(EXPERIMENTS, tenant);
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// All recipients of a tenant, within a partition.
pub fn recipients_of(tenant: TenantId) -> Vec<u8> {
    tenant_key(RECIPIENTS, tenant)
}

/// How many recipients a tenant has, within a partition.
pub fn recipient_count(tenant: TenantId) -> Vec<u8> {
    tenant_key(RECIPIENT_COUNTS, tenant)
}

/// A recipient.
pub fn recipient(tenant: TenantId, recipient: RecipientKey) -> Vec<u8> {
    let mut key = tenant_key(RECIPIENTS, tenant);
    key.extend_from_slice(&recipient.0);
    key
}

fn push_cell(key: &mut Vec<u8>, id: CellId) {
    key.extend_from_slice(&id.experiment.0.to_be_bytes());
    key.extend_from_slice(&id.variant.0.to_be_bytes());
    key.extend_from_slice(&[id.context.segment, id.context.daypart, lane_byte(id.lane)]);
    // The first track has no byte of its own: such are the keys of stores written before there were others.
    if id.track != Track::CONFIGURED {
        key.push(id.track.0);
    }
}

/// All cells of an experiment.
pub fn cells_of(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(CELLS, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// A cell.
pub fn cell(tenant: TenantId, id: CellId) -> Vec<u8> {
    let mut key = tenant_key(CELLS, tenant);
    push_cell(&mut key, id);
    key
}

/// A cell of trials planned for later: by time first, so that what is due lies in front.
pub fn planned(tenant: TenantId, until_ms: i64, id: CellId) -> Vec<u8> {
    let mut key = planned_from(until_ms);
    key.extend_from_slice(&tenant.0.to_be_bytes());
    push_cell(&mut key, id);
    key
}

/// What lies before every planned trial that counts from this instant on, and behind every earlier one.
pub fn planned_from(until_ms: i64) -> Vec<u8> {
    let mut key = Vec::with_capacity(40);
    key.extend_from_slice(PLANNED);
    key.extend_from_slice(&(until_ms as u64 ^ 1 << 63).to_be_bytes());
    key
}

/// All hours of an experiment's timeline.
pub fn timeline_of(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(TIMELINES, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// One hour of a variant's timeline; hours since 1970.
pub fn timeline(tenant: TenantId, slot: TimelineSlot) -> Vec<u8> {
    let mut key = timeline_of(tenant, slot.experiment);
    key.extend_from_slice(&slot.variant.0.to_be_bytes());
    key.push(lane_byte(slot.lane));
    key.extend_from_slice(&(slot.hour as u32 ^ 1 << 31).to_be_bytes());
    key
}

/// All hours for which mails of an experiment are planned.
pub fn send_plan_of(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(SEND_PLANS, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// An hour for which mails of an experiment are planned; hours since 1970.
pub fn send_plan(tenant: TenantId, experiment: ExperimentUid, hour: i64) -> Vec<u8> {
    let mut key = send_plan_of(tenant, experiment);
    key.extend_from_slice(&(hour as u64 ^ 1 << 63).to_be_bytes());
    key
}

/// One hour of the week of everybody's activity, of mails sent on one day; days since 1970, 0 for what is settled.
pub fn hour(tenant: TenantId, day: i32, hour_of_week: u8) -> Vec<u8> {
    let mut key = tenant_key(HOURS, tenant);
    key.extend_from_slice(&(day as u32 ^ 1 << 31).to_be_bytes());
    key.push(hour_of_week);
    key
}

/// The delays of an experiment's answers.
pub fn arrivals(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(ARRIVALS, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// What a flow has shown of its drift.
pub fn drift(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(DRIFTS, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// A tenant's individuality.
pub fn individuality(tenant: TenantId) -> Vec<u8> {
    tenant_key(INDIVIDUALITIES, tenant)
}

/// All tallies of shadow mode of an experiment.
pub fn shadow_of(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(SHADOWS, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// A variant's tally of shadow mode.
pub fn shadow(tenant: TenantId, experiment: ExperimentUid, variant: VariantIndex) -> Vec<u8> {
    let mut key = shadow_of(tenant, experiment);
    key.extend_from_slice(&variant.0.to_be_bytes());
    key
}

/// A decision in the log: by time first, so that what is past its time lies in front.
pub fn decision(at: LoggedAt) -> Vec<u8> {
    logged(DECISIONS, at)
}

/// The outcome of a decision in the log.
pub fn outcome(at: LoggedAt) -> Vec<u8> {
    logged(OUTCOMES, at)
}

fn logged(prefix: &[u8], at: LoggedAt) -> Vec<u8> {
    let mut key = Vec::with_capacity(21);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&(at.decided_at_ms as u64 ^ 1 << 63).to_be_bytes());
    key.extend_from_slice(&at.tenant.0.to_be_bytes());
    key.extend_from_slice(&at.decision.to_be_bytes());
    key
}

/// What decisions of a day rest on, by its content; days since 1970.
pub fn ground(day: i32, id: ContentId) -> Vec<u8> {
    let mut key = Vec::with_capacity(21);
    key.extend_from_slice(GROUNDS);
    key.extend_from_slice(&(day as u32 ^ 1 << 31).to_be_bytes());
    key.extend_from_slice(&id.0);
    key
}

/// Names a decision in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoggedAt {
    /// When it was decided, milliseconds since 1970.
    pub decided_at_ms: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// Fingerprint of the decision.
    pub decision: u64,
}

/// An alert, by its number.
pub fn alert(tenant: TenantId, number: u64) -> Vec<u8> {
    let mut key = tenant_key(ALERTS, tenant);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What is remembered about watching over an experiment.
pub fn oversight(tenant: TenantId, experiment: ExperimentUid) -> Vec<u8> {
    let mut key = tenant_key(OVERSIGHTS, tenant);
    key.extend_from_slice(&experiment.0.to_be_bytes());
    key
}

/// A tenant's chronotypes.
pub fn chronotypes(tenant: TenantId) -> Vec<u8> {
    tenant_key(CHRONOTYPES, tenant)
}

/// A tenant's tally of zones.
pub fn zone_tally(tenant: TenantId) -> Vec<u8> {
    tenant_key(ZONE_TALLIES, tenant)
}

fn lane_byte(lane: Lane) -> u8 {
    match lane {
        Lane::Policy => 0,
        Lane::Holdout => 1,
    }
}

fn lane_of(byte: u8) -> Option<Lane> {
    match byte {
        0 => Some(Lane::Policy),
        1 => Some(Lane::Holdout),
        _ => None,
    }
}

/// Names one hour of a variant's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineSlot {
    /// The experiment.
    pub experiment: ExperimentUid,
    /// The variant.
    pub variant: VariantIndex,
    /// Policy or holdout.
    pub lane: Lane,
    /// Hours since 1970.
    pub hour: i32,
}
