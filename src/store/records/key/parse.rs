//! Takes keys apart again; `None` for bytes that are not such a key.
//!
//! Invariant: what the functions of the folder above put together comes out as it went in.
use super::{
    ALERTS, ARRIVALS, CELLS, DECISIONS, DRIFTS, GROUNDS, HOURS, LoggedAt, OUTCOMES, OVERSIGHTS,
    PLANNED, SEND_PLANS, SHADOWS, TENANTS, TIMELINES, TimelineSlot, lane_of,
};
use crate::domain::cell::{CellId, Context, Track};
use crate::domain::name::{ExperimentUid, Slug, TenantId, VariantIndex};

struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }

    fn tenant(&mut self) -> Option<TenantId> {
        Some(TenantId(u32::from_be_bytes(self.take()?)))
    }

    /// What is left at the end of a cell's key.
    fn track(&mut self) -> Option<Track> {
        match *self.0 {
            [] => Some(Track::CONFIGURED),
            [0, ..] | [_, _, ..] => None,
            [track] => Some(Track(track)),
        }
    }

    fn cell(&mut self) -> Option<CellId> {
        let experiment = ExperimentUid(u64::from_be_bytes(self.take()?));
        let variant = VariantIndex(u16::from_be_bytes(self.take()?));
        let [segment, daypart, lane] = self.take()?;
        Some(CellId {
            experiment,
            variant,
            context: Context { segment, daypart },
            lane: lane_of(lane)?,
            track: self.track()?,
        })
    }
}

/// The name in the key of a tenant's number.
pub fn tenant_name(key: &[u8]) -> Option<Slug> {
    let name = std::str::from_utf8(key.strip_prefix(TENANTS)?).ok()?;
    Slug::parse(name).ok()
}

/// A tally's key.
pub fn shadow(key: &[u8]) -> Option<(TenantId, ExperimentUid, VariantIndex)> {
    let mut parts = Parts(key.strip_prefix(SHADOWS)?);
    let tenant = parts.tenant()?;
    let experiment = ExperimentUid(u64::from_be_bytes(parts.take()?));
    Some((
        tenant,
        experiment,
        VariantIndex(u16::from_be_bytes(parts.take()?)),
    ))
}

/// A logged decision's key, or its outcome's.
pub fn logged(key: &[u8]) -> Option<LoggedAt> {
    let mut parts = Parts(
        key.strip_prefix(DECISIONS)
            .or_else(|| key.strip_prefix(OUTCOMES))?,
    );
    Some(LoggedAt {
        decided_at_ms: (u64::from_be_bytes(parts.take()?) ^ 1 << 63) as i64,
        tenant: parts.tenant()?,
        decision: u64::from_be_bytes(parts.take()?),
    })
}

/// The day of a ground's key.
pub fn ground_day(key: &[u8]) -> Option<i32> {
    let mut parts = Parts(key.strip_prefix(GROUNDS)?);
    Some((u32::from_be_bytes(parts.take()?) ^ 1 << 31) as i32)
}

/// The tenant of a key that begins with it: of any but planned cells and the log.
pub fn tenant(key: &[u8]) -> Option<TenantId> {
    Parts(key.get(1..)?).tenant()
}

/// A cell's key.
pub fn cell(key: &[u8]) -> Option<(TenantId, CellId)> {
    let mut parts = Parts(key.strip_prefix(CELLS)?);
    Some((parts.tenant()?, parts.cell()?))
}

/// A planned cell's key.
pub fn planned(key: &[u8]) -> Option<(i64, TenantId, CellId)> {
    let mut parts = Parts(key.strip_prefix(PLANNED)?);
    let until_ms = (u64::from_be_bytes(parts.take()?) ^ 1 << 63) as i64;
    Some((until_ms, parts.tenant()?, parts.cell()?))
}

/// A timeline hour's key.
pub fn timeline(key: &[u8]) -> Option<(TenantId, TimelineSlot)> {
    let mut parts = Parts(key.strip_prefix(TIMELINES)?);
    let tenant = parts.tenant()?;
    let experiment = ExperimentUid(u64::from_be_bytes(parts.take()?));
    let variant = VariantIndex(u16::from_be_bytes(parts.take()?));
    let [lane] = parts.take()?;
    let hour = (u32::from_be_bytes(parts.take()?) ^ 1 << 31) as i32;
    Some((
        tenant,
        TimelineSlot {
            experiment,
            variant,
            lane: lane_of(lane)?,
            hour,
        },
    ))
}

/// A planned hour's key.
pub fn send_plan(key: &[u8]) -> Option<(TenantId, ExperimentUid, i64)> {
    let mut parts = Parts(key.strip_prefix(SEND_PLANS)?);
    let tenant = parts.tenant()?;
    let experiment = ExperimentUid(u64::from_be_bytes(parts.take()?));
    let hour = (u64::from_be_bytes(parts.take()?) ^ 1 << 63) as i64;
    Some((tenant, experiment, hour))
}

/// An alert's key.
pub fn alert(key: &[u8]) -> Option<(TenantId, u64)> {
    let mut parts = Parts(key.strip_prefix(ALERTS)?);
    Some((parts.tenant()?, u64::from_be_bytes(parts.take()?)))
}

/// The key of what is remembered about watching over an experiment.
pub fn oversight(key: &[u8]) -> Option<(TenantId, ExperimentUid)> {
    let mut parts = Parts(key.strip_prefix(OVERSIGHTS)?);
    let tenant = parts.tenant()?;
    Some((tenant, ExperimentUid(u64::from_be_bytes(parts.take()?))))
}

/// The key of an experiment's delays.
pub fn arrivals(key: &[u8]) -> Option<(TenantId, ExperimentUid)> {
    let mut parts = Parts(key.strip_prefix(ARRIVALS)?);
    Some((
        parts.tenant()?,
        ExperimentUid(u64::from_be_bytes(parts.take()?)),
    ))
}

/// A key of a record of drift.
pub fn drift(key: &[u8]) -> Option<(TenantId, ExperimentUid)> {
    let mut parts = Parts(key.strip_prefix(DRIFTS)?);
    Some((
        parts.tenant()?,
        ExperimentUid(u64::from_be_bytes(parts.take()?)),
    ))
}

/// An activity hour's key.
pub fn hour(key: &[u8]) -> Option<(TenantId, i32, u8)> {
    let mut parts = Parts(key.strip_prefix(HOURS)?);
    let tenant = parts.tenant()?;
    let day = (u32::from_be_bytes(parts.take()?) ^ 1 << 31) as i32;
    let [hour] = parts.take()?;
    Some((tenant, day, hour))
}
