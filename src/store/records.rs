//! The records of the store: their kinds, keys, format versions and how parts of them merge.
//!
//! Invariant: every value is an envelope of a known kind; a format version newer than this program's is refused, never guessed at.
//! Keys sort so that what is read together lies together.
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Merge, MergeError, StoreError, envelope};
use crate::domain::alert::Alert;
use crate::domain::arrivals::Arrivals;
use crate::domain::cell::Cell;
use crate::domain::decision_log::{LoggedDecision, LoggedOutcome, LoggedTable};
use crate::domain::drift::Drift;
use crate::domain::experiment::Experiment;
use crate::domain::hour_activity::HourActivity;
use crate::domain::oversight::Oversight;
use crate::domain::recipient::Recipient;
use crate::domain::send_plan::PlannedSends;
use crate::domain::send_time::{Chronotypes, Individuality, SendTimeModel, ZoneTally};
use crate::domain::shadow::ShadowTally;
use crate::domain::timeline::HourCounts;

mod appending;
mod earlier;
pub mod key;
pub mod kinds;
mod recipient;

/// A record that the store keeps: its kind, format version and codec.
pub trait Record: Serialize + DeserializeOwned {
    /// Kind, the envelope's first byte.
    const KIND: u8;
    /// Format version that this program writes, and the newest it reads.
    const VERSION: u8 = 1;
    /// What people call it.
    const NAME: &'static str;
    /// Bytes that most take when they are written; more is made room for.
    const USUAL_BYTES: usize = 120;

    /// Reads the payload of a format version up to [`Self::VERSION`].
    ///
    /// # Errors
    /// The payload is not what that version wrote.
    fn read(version: u8, payload: &[u8]) -> Result<Self, postcard::Error> {
        let _ = version;
        postcard::from_bytes(payload)
    }

    /// Appends the payload in the newest format.
    ///
    /// # Errors
    /// It cannot be written in this encoding.
    fn append(&self, to: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
        appending::appended(self, to)
    }
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

/// A tenant's number, under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct NumberedTenant {
    /// The number, in the keys of all that is the tenant's.
    pub number: u32,
    /// When it was given out, milliseconds since 1970.
    pub created_at_ms: i64,
}

/// The highest tenant number given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LastTenant(pub u32);

/// How many recipients a tenant has in a partition, or what a change adds to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RecipientCount(pub i64);

impl RecipientCount {
    /// Adds a part.
    pub fn merge(&mut self, part: &Self) {
        self.0 = self.0.saturating_add(part.0);
    }
}

macro_rules! records {
    ($($record:ty = $kind:literal, $name:literal;)*) => {
        $(impl Record for $record { const KIND: u8 = $kind; const NAME: &'static str = $name; })*
    };
}

records! {
    StoreIdentity = 1, "store identity";
    Cell = 3, "cell";
    Individuality = 7, "individuality";
    LastUid = 8, "last experiment number";
    Arrivals = 9, "arrivals";
    PlannedSends = 20, "planned sends";
    LoggedDecision = 40, "logged decision";
    LoggedOutcome = 41, "logged outcome";
    LoggedTable = 42, "logged table";
    SendTimeModel = 43, "send-time model";
    Alert = 30, "alert";
    ShadowTally = 44, "shadow tally";
    Chronotypes = 16, "chronotypes";
    ZoneTally = 17, "zone tally";
    Drift = 24, "drift";
    NumberedTenant = 50, "tenant";
    LastTenant = 51, "last tenant number";
    RecipientCount = 52, "recipient count";
}

impl Record for Experiment {
    const KIND: u8 = 2;
    const VERSION: u8 = 2;
    const NAME: &'static str = "experiment";

    fn read(version: u8, payload: &[u8]) -> Result<Self, postcard::Error> {
        match version {
            1 => earlier::experiment(payload),
            _ => postcard::from_bytes(payload),
        }
    }
}

impl Record for HourCounts {
    const KIND: u8 = 5;
    const VERSION: u8 = 2;
    const NAME: &'static str = "timeline hour";

    fn read(version: u8, payload: &[u8]) -> Result<Self, postcard::Error> {
        match version {
            1 => earlier::hour_counts(payload),
            _ => postcard::from_bytes(payload),
        }
    }
}

impl Record for Recipient {
    const KIND: u8 = 4;
    const VERSION: u8 = 5;
    const NAME: &'static str = "recipient";
    const USUAL_BYTES: usize = 1_024;

    fn read(version: u8, payload: &[u8]) -> Result<Self, postcard::Error> {
        match version {
            1 => earlier::recipient_v1(payload),
            2 => earlier::recipient_v2(payload),
            3 => earlier::recipient_v3(payload),
            4 => earlier::recipient_v4(payload),
            _ => recipient::read(payload),
        }
    }

    fn append(&self, to: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
        recipient::write(self, to)
    }
}

impl Record for Oversight {
    const KIND: u8 = 31;
    const VERSION: u8 = 2;
    const NAME: &'static str = "oversight";

    fn read(version: u8, payload: &[u8]) -> Result<Self, postcard::Error> {
        match version {
            1 => earlier::oversight(payload),
            _ => postcard::from_bytes(payload),
        }
    }
}

impl Record for HourActivity {
    const KIND: u8 = 6;
    const VERSION: u8 = 2;
    const NAME: &'static str = "activity hour";

    fn read(version: u8, payload: &[u8]) -> Result<Self, postcard::Error> {
        match version {
            1 => earlier::hour_activity(payload),
            _ => postcard::from_bytes(payload),
        }
    }
}

/// The stored form of a record, of a kind that is in the table of kinds.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StoreError> {
    const {
        assert!(
            kinds::is_listed(R::KIND),
            "a record that is not among the kinds"
        )
    };
    let sealed = envelope::seal_with(R::KIND, R::VERSION, R::USUAL_BYTES, |to| record.append(to));
    sealed.map_err(|error| StoreError::Corrupt {
        what: error.to_string(),
        place: R::NAME.to_owned(),
    })
}

/// Reads a stored record. Errors: damaged, of another kind, or of a newer format.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    decode_by(bytes, R::read)
}

/// Reads a recipient for whom only the hours and what the person said count; its touches are left out where the format lets them be.
///
/// # Errors
/// As [`decode`].
pub fn decode_profile(bytes: &[u8]) -> Result<Recipient, StoreError> {
    decode_by(bytes, |version, payload| match version {
        Recipient::VERSION => recipient::read_without_touches(payload),
        earlier => Recipient::read(earlier, payload),
    })
}

fn decode_by<R: Record>(
    bytes: &[u8],
    read: impl FnOnce(u8, &[u8]) -> Result<R, postcard::Error>,
) -> Result<R, StoreError> {
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
    read(envelope.version, envelope.payload).map_err(|error| corrupt(error.to_string()))
}

/// Merges parts of additive records by their kind: cells, delays of answers, timeline hours, activity hours, planned sends, individualities.
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
            Some(Arrivals::KIND) => merged(existing, operand, Arrivals::merge),
            Some(HourCounts::KIND) => merged(existing, operand, HourCounts::merge),
            Some(HourActivity::KIND) => merged(existing, operand, HourActivity::merge),
            Some(PlannedSends::KIND) => merged(existing, operand, PlannedSends::merge),
            Some(Individuality::KIND) => merged(existing, operand, Individuality::merge),
            Some(ShadowTally::KIND) => merged(existing, operand, ShadowTally::merge),
            Some(RecipientCount::KIND) => merged(existing, operand, RecipientCount::merge),
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
    use crate::domain::cell::{CellId, Context, Lane, Track};
    use crate::domain::name::{ExperimentUid, TenantId, VariantIndex};

    fn id() -> CellId {
        CellId {
            experiment: ExperimentUid(u64::MAX),
            variant: VariantIndex(999),
            context: Context {
                segment: 64,
                daypart: 8,
            },
            lane: Lane::Holdout,
            track: Track::CONFIGURED,
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
            key::parse::hour(&key::hour(tenant, -3, 167)),
            Some((tenant, -3, 167))
        );
        assert_eq!(
            key::parse::send_plan(&key::send_plan(tenant, ExperimentUid(9), -4)),
            Some((tenant, ExperimentUid(9), -4))
        );
        assert_eq!(key::parse::alert(&key::alert(tenant, 9)), Some((tenant, 9)));
        let uid = ExperimentUid(5);
        assert_eq!(
            key::parse::oversight(&key::oversight(tenant, uid)),
            Some((tenant, uid))
        );
        assert_eq!(
            key::parse::arrivals(&key::arrivals(tenant, ExperimentUid(5))),
            Some((tenant, ExperimentUid(5)))
        );
        assert_eq!(key::parse::cell(b"c"), None);
    }

    #[test]
    fn the_first_track_has_the_keys_of_stores_written_before_there_were_others() {
        let first = CellId {
            track: Track::CONFIGURED,
            ..id()
        };
        let never = CellId {
            track: Track::NEVER,
            ..id()
        };
        let (old, new) = (key::cell(TenantId(3), first), key::cell(TenantId(3), never));
        assert_eq!(old.len(), 1 + 4 + 8 + 2 + 3);
        assert_eq!(
            new.strip_prefix(old.as_slice()),
            Some([Track::NEVER.0].as_slice())
        );
        assert_eq!(key::parse::cell(&new), Some((TenantId(3), never)));
        assert_eq!(key::parse::cell(&[new, vec![1]].concat()), None);
        let uid = ExperimentUid(9);
        let drift = key::drift(TenantId(3), uid);
        assert_eq!(key::parse::drift(&drift), Some((TenantId(3), uid)));
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
