//! The table of kinds: every record by its kind's number, as JSON and back, where it lies, and whether its parts add up.
//!
//! Invariant: whoever handles all kinds alike (export, import, checking) goes through this table. A record that is not in it cannot be
//! written: `records::encode` does not compile for it. A test holds the table against the kept samples.

use serde_json::Value;

use super::{
    LastTenant, LastUid, NumberedTenant, RecipientCount, Record, StoreIdentity, decode, encode, key,
};
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
use crate::store::{StoreError, envelope};

/// What can be done with any record of a kind.
#[derive(Clone, Copy, Debug)]
pub struct RecordKind {
    /// The envelope's first byte.
    pub kind: u8,
    /// The format version that is written.
    pub version: u8,
    /// What people call it.
    pub name: &'static str,
    /// Whether records of one key in several partitions are parts of a sum.
    pub is_additive: bool,
    /// What the keys begin with that it lies under.
    pub prefixes: &'static [&'static [u8]],
    check: fn(&[u8]) -> Result<(), StoreError>,
    to_json: fn(&[u8]) -> Result<Value, StoreError>,
    from_json: fn(Value) -> Result<Vec<u8>, StoreError>,
}

macro_rules! kinds {
    ($($record:ty, $is_additive:literal, [$($prefix:ident),+];)*) => {
        /// All kinds.
        pub const KINDS: &[RecordKind] = &[$(RecordKind {
            kind: <$record as Record>::KIND,
            version: <$record as Record>::VERSION,
            name: <$record as Record>::NAME,
            is_additive: $is_additive,
            prefixes: &[$(key::$prefix),+],
            check: check::<$record>,
            to_json: to_json::<$record>,
            from_json: from_json::<$record>,
        }),*];
    };
}

kinds! {
    StoreIdentity, false, [IDENTITY];
    Experiment, false, [EXPERIMENTS, GROUNDS];
    Cell, true, [CELLS, PLANNED];
    Recipient, false, [RECIPIENTS];
    HourCounts, true, [TIMELINES];
    HourActivity, true, [HOURS];
    Individuality, true, [INDIVIDUALITIES];
    LastUid, false, [LAST_UID];
    Arrivals, true, [ARRIVALS];
    Chronotypes, false, [CHRONOTYPES];
    ZoneTally, false, [ZONE_TALLIES];
    PlannedSends, true, [SEND_PLANS];
    Drift, false, [DRIFTS];
    Alert, false, [ALERTS];
    Oversight, false, [OVERSIGHTS];
    LoggedDecision, false, [DECISIONS];
    LoggedOutcome, false, [OUTCOMES];
    LoggedTable, false, [GROUNDS];
    SendTimeModel, false, [GROUNDS];
    ShadowTally, true, [SHADOWS];
    NumberedTenant, false, [TENANTS];
    LastTenant, false, [LAST_TENANT];
    RecipientCount, true, [RECIPIENT_COUNTS];
}

/// Whether there is a kind of this number; checked when a program that writes it is compiled.
pub(super) const fn is_listed(kind: u8) -> bool {
    let mut at = 0;
    while at < KINDS.len() {
        if KINDS[at].kind == kind {
            return true;
        }
        at += 1;
    }
    false
}

/// The kind of a stored record.
///
/// # Errors
/// The envelope is damaged, or of a kind that this program does not know.
pub fn kind_of(stored: &[u8]) -> Result<RecordKind, StoreError> {
    let envelope = envelope::open(stored).map_err(|error| error.at("record"))?;
    let found = KINDS.iter().find(|of| of.kind == envelope.kind);
    found.copied().ok_or_else(|| StoreError::Corrupt {
        what: format!("a record of the unknown kind {}", envelope.kind),
        place: "record".to_owned(),
    })
}

/// The kind of this name.
pub fn kind_named(name: &str) -> Option<RecordKind> {
    KINDS.iter().find(|of| of.name == name).copied()
}

// === impl RecordKind ===

impl RecordKind {
    /// Whether records of this kind lie under such a key.
    pub fn lies_under(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Whether the record can be read.
    ///
    /// # Errors
    /// Damage, or a newer format.
    pub fn check(&self, stored: &[u8]) -> Result<(), StoreError> {
        (self.check)(stored)
    }

    /// The record as JSON: the fields by their names.
    ///
    /// # Errors
    /// Damage, a newer format, or a number that JSON cannot hold.
    pub fn to_json(&self, stored: &[u8]) -> Result<Value, StoreError> {
        (self.to_json)(stored)
    }

    /// The stored form of JSON, in the present format.
    ///
    /// # Errors
    /// Fields are missing or wrong.
    pub fn from_json(&self, value: Value) -> Result<Vec<u8>, StoreError> {
        (self.from_json)(value)
    }
}

fn check<R: Record>(stored: &[u8]) -> Result<(), StoreError> {
    decode::<R>(stored).map(|_| ())
}

fn to_json<R: Record>(stored: &[u8]) -> Result<Value, StoreError> {
    serde_json::to_value(decode::<R>(stored)?).map_err(|error| corrupt::<R>(&error))
}

fn from_json<R: Record>(value: Value) -> Result<Vec<u8>, StoreError> {
    let record: R = serde_json::from_value(value).map_err(|error| corrupt::<R>(&error))?;
    encode(&record)
}

fn corrupt<R: Record>(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt {
        what: error.to_string(),
        place: R::NAME.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::records::MergeRecords;
    use crate::store::{Merge as _, envelope::KIND_ENGINE_FIRST};

    fn samples() -> Vec<(String, Vec<u8>)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
        let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        files
            .map(|file| {
                let text = std::fs::read_to_string(file.path()).unwrap();
                let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
                let byte = |pair: &[u8]| {
                    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
                };
                let bytes = digits.chunks(2).map(byte).collect();
                (file.file_name().into_string().unwrap(), bytes)
            })
            .collect()
    }

    #[test]
    fn every_kept_sample_goes_to_json_and_back_without_loss() {
        let samples = samples();
        assert!(samples.len() >= 19, "{}", samples.len());
        for (name, stored) in samples {
            let kind = kind_of(&stored).unwrap_or_else(|error| panic!("{name}: {error}"));
            let json = kind.to_json(&stored).unwrap().to_string();
            let back = kind.from_json(serde_json::from_str(&json).unwrap());
            let back = back.unwrap_or_else(|error| panic!("{name}: {error}\n{json}"));
            assert_eq!(back[1], kind.version, "{name}");
            if stored[1] == kind.version {
                assert_eq!(back, stored, "{name}\n{json}");
            }
        }
    }

    #[test]
    fn numbers_and_names_of_kinds_are_unique_and_leave_the_engines_theirs() {
        let numbers: BTreeSet<u8> = KINDS.iter().map(|kind| kind.kind).collect();
        let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!((numbers.len(), names.len()), (KINDS.len(), KINDS.len()));
        assert!(numbers.iter().all(|number| *number < KIND_ENGINE_FIRST));
        assert!(KINDS.iter().all(|kind| kind_named(kind.name).is_some()));
    }

    #[test]
    fn every_kind_has_a_kept_sample() {
        let kept: BTreeSet<u8> = samples().iter().map(|(_, stored)| stored[0]).collect();
        let missing = KINDS.iter().filter(|kind| !kept.contains(&kind.kind));
        assert_eq!(missing.map(|kind| kind.name).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn additive_kinds_are_those_that_merge() {
        for (name, stored) in samples() {
            let kind = kind_of(&stored).unwrap();
            let merged = MergeRecords.merge(b"", None, &stored);
            assert_eq!(merged.is_ok(), kind.is_additive, "{name}");
        }
    }
}
