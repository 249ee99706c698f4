//! The survey of a store: how much of each kind it holds, and whether every record can be read.
//!
//! Reads page by page and changes nothing. It passes over every record, so it is for the command line, not for requests.
use std::collections::BTreeMap;

use crate::domain::recipient::Recipient;
use crate::store::records::kinds::kind_of;
use crate::store::records::{self, Record as _};
use crate::store::{Partition, StoreError};

use super::{App, AppError, LoadReport};

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Readable records by the name of their kind.
    pub records: BTreeMap<&'static str, u64>,
    /// Recipients of whom something is kept.
    pub recipients: u64,
    /// Recipients of whom only the fact of their erasure is kept.
    pub erased: u64,
    /// What could not be read: where, and why.
    pub unreadable: Vec<String>,
}

impl App {
    /// Reads every record of the store once.
    ///
    /// Errors when the engine cannot be read, or when a record is of a newer format than this program's.
    pub async fn survey(&self) -> Result<Survey, AppError> {
        let mut survey = Survey::default();
        let mut report = LoadReport::default();
        for partition in (0..self.engine.partitions()).map(Partition) {
            self.each(partition, b"", &mut report, |_, value| survey.count(value))
                .await?;
        }
        survey.unreadable = report.unreadable;
        Ok(survey)
    }
}

// === impl Survey ===

impl Survey {
    fn count(&mut self, value: &[u8]) -> Result<(), StoreError> {
        let kind = kind_of(value)?;
        if kind.kind == Recipient::KIND {
            let recipient: Recipient = records::decode(value)?;
            let kept = recipient.exists();
            self.recipients += u64::from(kept);
            self.erased += u64::from(!kept);
        } else {
            kind.check(value)?;
        }
        *self.records.entry(kind.name).or_default() += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::envelope;
    use crate::store::records::LastUid;

    #[test]
    fn records_are_counted_by_kind_and_erased_recipients_apart() {
        let mut survey = Survey::default();
        let kept = Recipient {
            created_at_ms: 1,
            ..Recipient::default()
        };
        let erased = Recipient {
            erased_at_ms: 2,
            ..Recipient::default()
        };
        for recipient in [kept, erased] {
            survey.count(&records::encode(&recipient).unwrap()).unwrap();
        }
        survey
            .count(&records::encode(&LastUid(7)).unwrap())
            .unwrap();
        assert_eq!((survey.recipients, survey.erased), (1, 1));
        assert_eq!(survey.records.get("recipient"), Some(&2));
        assert_eq!(survey.records.get("last experiment number"), Some(&1));
    }

    #[test]
    fn a_damaged_or_unknown_record_is_reported() {
        let mut survey = Survey::default();
        assert!(survey.count(b"short").is_err());
        assert!(survey.count(&envelope::seal(99, 1, b"")).is_err());
        assert_eq!(survey, Survey::default());
    }
}
