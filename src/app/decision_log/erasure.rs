//! Erasure: everything in the log that carries a person's key.
//!
//! Invariant: found by reading the log of the person's partition in full, since nothing leads from a person to older entries.
use crate::app::writes::{Address, Effects};
use crate::app::{App, AppError};
use crate::domain::name::RecipientKey;
use crate::store::Change;
use crate::store::envelope::HEADER_BYTES;
use crate::store::records::key;

impl App {
    /// Adds the deletion of all of a person's entries and outcomes to what is committed; answers how many entries.
    pub(in crate::app) async fn erase_log(
        &self,
        address: Address,
        effects: &mut Effects,
    ) -> Result<usize, AppError> {
        let partition = self.partition_of(address.recipient);
        let mut entries = 0;
        for prefix in [key::DECISIONS, key::OUTCOMES] {
            let mut after = None;
            loop {
                let rows = self.log_page(partition, prefix, after).await?;
                after = rows.last().map(|(key, _)| key.clone());
                if after.is_none() {
                    break;
                }
                let of_person = rows
                    .into_iter()
                    .filter(|(_, stored)| is_of(&stored.value, address.recipient))
                    .map(|(key, _)| Change::Delete {
                        key,
                        expected: None,
                    });
                let before = effects.log.len();
                effects.log.extend(of_person);
                if prefix == key::DECISIONS {
                    entries += effects.log.len() - before;
                }
            }
        }
        Ok(entries)
    }
}

/// Entries and outcomes begin with the key of their recipient.
fn is_of(value: &[u8], recipient: RecipientKey) -> bool {
    value
        .get(HEADER_BYTES..)
        .is_some_and(|payload| payload.starts_with(&recipient.0))
}
