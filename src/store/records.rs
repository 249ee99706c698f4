//! The records of the store: their kinds, keys, format versions and how parts of them merge.
//!
//! Invariant: every value is an envelope of a known kind; a format version newer than this program's is refused, never guessed at.
//! Keys sort so that what is read together lies together.
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Merge, MergeError, StoreError, envelope};
use crate::domain::cell::{Cell, CellId, Context, Lane};
use crate::domain::experiment::Experiment;
use crate::domain::hour_activity::HourActivity;
use crate::domain::name::{ExperimentUid, RecipientKey, Slug, TenantId, VariantIndex};
use crate::domain::recipient::Recipient;
use crate::domain::send_time::Individuality;
use crate::domain::timeline::HourCounts;

/// A record that the store keeps: its kind, format version and codec.
pub trait Record: Serialize + DeserializeOwned {
    /// Kind, the envelope's first byte.
    const KIND: u8;
    /// Format version that this program writes, and the newest it reads.
    const VERSION: u8 = 1;
    /// What people call it.
    const NAME: &'static str;
}

/// What the store itself must remember: set once, compared at every start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct StoreIdentity {
    /// Keyed fingerprint of the secret that recipients are hashed with.
    pub recipient_key_fingerprint: [u8; 16],
    /// Seed of all draws.
    pub seed: [u8; 32],
    /// When the store was created, milliseconds since 1970.
    pub created_at_ms: i64,
}

/// The highest experiment number given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LastUid(pub u64);

macro_rules! records {
    ($($record:ty = $kind:literal, $name:literal;)*) => {
        $(impl Record for $record { const KIND: u8 = $kind; const NAME: &'static str = $name; })*
    };
}

records! {
    StoreIdentity = 1, "store identity";
    Experiment = 2, "experiment";
    Cell = 3, "cell";
    Recipient = 4, "recipient";
    HourCounts = 5, "timeline hour";
    HourActivity = 6, "activity hour";
    Individuality = 7, "individuality";
    LastUid = 8, "last experiment number";
}

/// The stored form of a record.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StoreError> {
    let payload = postcard::to_stdvec(record).map_err(|error| StoreError::Corrupt {
        what: error.to_string(),
        place: R::NAME.to_owned(),
    })?;
    Ok(envelope::seal(R::KIND, R::VERSION, &payload))
}

/// Reads a stored record. Errors: damaged, of another kind, or of a newer format.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt {
        what,
        place: R::NAME.to_owned(),
    };
    let envelope = envelope::open(bytes).map_err(|error| error.at(R::NAME))?;
    if envelope.kind != R::KIND {
        return Err(corrupt(format!(
            "record of kind {} where kind {} belongs",
            envelope.kind,
            R::KIND
        )));
    }
    if envelope.version > R::VERSION {
        return Err(StoreError::NewerFormat {
            found: envelope.version.into(),
            supported: R::VERSION.into(),
        });
    }
    postcard::from_bytes(envelope.payload).map_err(|error| corrupt(error.to_string()))
}

/// Keys, by what they lead to. All numbers are big-endian so that keys sort as numbers do.
pub mod key {
    use super::*;

    /// The store's identity.
    pub const IDENTITY: &[u8] = b"m/identity";
    /// The highest experiment number given out.
    pub const LAST_UID: &[u8] = b"m/last-uid";
    /// Prefix of all experiments.
    pub const EXPERIMENTS: &[u8] = b"e";
    /// Prefix of all cells.
    pub const CELLS: &[u8] = b"c";
    /// Prefix of all cells of trials planned for later.
    pub const PLANNED: &[u8] = b"p";
    /// Prefix of all recipients.
    pub const RECIPIENTS: &[u8] = b"r";
    /// Prefix of all hours of timelines.
    pub const TIMELINES: &[u8] = b"t";
    /// Prefix of all hours of everybody's activity.
    pub const HOURS: &[u8] = b"h";
    /// Prefix of all individualities.
    pub const INDIVIDUALITIES: &[u8] = b"i";

    fn tenant_key(prefix: &[u8], tenant: TenantId) -> Vec<u8> {
        let mut key = Vec::with_capacity(40);
        key.extend_from_slice(prefix);
        key.extend_from_slice(&tenant.0.to_be_bytes());
        key
    }

    /// An experiment, by name.
    pub fn experiment(tenant: TenantId, id: &Slug) -> Vec<u8> {
        let mut key = tenant_key(EXPERIMENTS, tenant);
        key.extend_from_slice(id.as_str().as_bytes());
        key
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
        let mut key = Vec::with_capacity(40);
        key.extend_from_slice(PLANNED);
        key.extend_from_slice(&(until_ms as u64 ^ 1 << 63).to_be_bytes());
        key.extend_from_slice(&tenant.0.to_be_bytes());
        push_cell(&mut key, id);
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

    /// One hour of the week of everybody's activity.
    pub fn hour(tenant: TenantId, hour_of_week: u8) -> Vec<u8> {
        let mut key = tenant_key(HOURS, tenant);
        key.push(hour_of_week);
        key
    }

    /// A tenant's individuality.
    pub fn individuality(tenant: TenantId) -> Vec<u8> {
        tenant_key(INDIVIDUALITIES, tenant)
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

    /// Takes keys apart again; `None` for bytes that are not such a key.
    pub mod parse {
        use super::*;

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

            fn cell(&mut self) -> Option<CellId> {
                let experiment = ExperimentUid(u64::from_be_bytes(self.take()?));
                let variant = VariantIndex(u16::from_be_bytes(self.take()?));
                let [segment, daypart, lane] = self.take()?;
                Some(CellId {
                    experiment,
                    variant,
                    context: Context { segment, daypart },
                    lane: lane_of(lane)?,
                })
            }
        }

        /// The tenant of any key but those of planned cells.
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

        /// An activity hour's key.
        pub fn hour(key: &[u8]) -> Option<(TenantId, u8)> {
            let mut parts = Parts(key.strip_prefix(HOURS)?);
            let tenant = parts.tenant()?;
            let [hour] = parts.take()?;
            Some((tenant, hour))
        }
    }
}

/// Merges parts of additive records by their kind: cells, timeline hours, activity hours, individualities.
pub struct MergeRecords;

impl Merge for MergeRecords {
    fn merge(
        &self,
        _key: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Option<Vec<u8>>, MergeError> {
        let kind = operand.first().copied();
        let merged = match kind {
            Some(Cell::KIND) => merged(existing, operand, Cell::merge),
            Some(HourCounts::KIND) => merged(existing, operand, HourCounts::merge),
            Some(HourActivity::KIND) => merged(existing, operand, HourActivity::merge),
            Some(Individuality::KIND) => merged(existing, operand, Individuality::merge),
            _ => Err(StoreError::Corrupt {
                what: format!("records of kind {kind:?} do not merge"),
                place: "merge".to_owned(),
            }),
        };
        merged.map(Some).map_err(|error| MergeError {
            reason: error.to_string(),
        })
    }
}

fn merged<R: Record>(
    existing: Option<&[u8]>,
    operand: &[u8],
    merge: fn(&mut R, &R),
) -> Result<Vec<u8>, StoreError> {
    let Some(existing) = existing else {
        return decode::<R>(operand).map(|_| operand.to_vec());
    };
    let mut record: R = decode(existing)?;
    merge(&mut record, &decode(operand)?);
    encode(&record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CellId {
        CellId {
            experiment: ExperimentUid(u64::MAX),
            variant: VariantIndex(999),
            context: Context {
                segment: 64,
                daypart: 8,
            },
            lane: Lane::Holdout,
        }
    }

    #[test]
    fn keys_say_what_was_put_into_them() {
        let tenant = TenantId(3);
        assert_eq!(
            key::parse::cell(&key::cell(tenant, id())),
            Some((tenant, id()))
        );
        assert_eq!(
            key::parse::planned(&key::planned(tenant, -7, id())),
            Some((-7, tenant, id()))
        );
        let slot = key::TimelineSlot {
            experiment: ExperimentUid(1),
            variant: VariantIndex(2),
            lane: Lane::Policy,
            hour: -3,
        };
        assert_eq!(
            key::parse::timeline(&key::timeline(tenant, slot)),
            Some((tenant, slot))
        );
        assert_eq!(
            key::parse::hour(&key::hour(tenant, 167)),
            Some((tenant, 167))
        );
        assert_eq!(key::parse::cell(b"c"), None);
    }

    #[test]
    fn planned_cells_sort_by_time() {
        let keys: Vec<Vec<u8>> = [-5, 0, 7]
            .map(|until| key::planned(TenantId(1), until, id()))
            .to_vec();
        assert!(keys.is_sorted());
    }

    #[test]
    fn a_newer_format_is_refused_and_another_kind_is_damage() {
        let payload = postcard::to_stdvec(&LastUid(5)).unwrap();
        let newer = envelope::seal(LastUid::KIND, LastUid::VERSION + 1, &payload);
        assert!(matches!(
            decode::<LastUid>(&newer),
            Err(StoreError::NewerFormat {
                found: 2,
                supported: 1
            })
        ));
        assert!(matches!(
            decode::<Cell>(&encode(&LastUid(5)).unwrap()),
            Err(StoreError::Corrupt { .. })
        ));
    }

    #[test]
    fn parts_of_a_cell_merge_and_damage_is_reported() {
        let cell = Cell {
            as_of_ms: 1,
            value_sum: 2.0,
            ..Cell::default()
        };
        let bytes = encode(&cell).unwrap();
        let merged = MergeRecords
            .merge(b"c", Some(&bytes), &bytes)
            .unwrap()
            .unwrap();
        assert_eq!(decode::<Cell>(&merged).unwrap().value_sum, 4.0);
        let mut damaged = bytes.clone();
        damaged[9] ^= 4;
        assert!(MergeRecords.merge(b"c", Some(&damaged), &bytes).is_err());
    }
}
