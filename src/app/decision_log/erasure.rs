//! A person's rights: everything in the log that carries the person's key, to show it or to erase it.
//!
//! Invariant: found by reading the log of the person's partition in full, since nothing leads from a person to older entries.
use crate::app::writes::{Address, Effects};
use crate::app::{App, AppError};
use crate::domain::decision_log::{LoggedDecision, LoggedOutcome};
use crate::domain::name::{RecipientKey, TenantId};
use crate::store::envelope::HEADER_BYTES;
use crate::store::records;
use crate::store::records::key;
use crate::store::{Change, Partition, Rows};

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
                let page = self.log_page(partition, prefix, after).await?;
                after = page.last().map(|(key, _)| key.clone());
                if after.is_none() {
                    break;
                }
                let of_person = of_person(page, address.recipient).map(|(key, _)| Change::Delete {
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

    /// A person's entries in the decision log, oldest first, with what became of them.
    pub async fn logged_of_recipient(
        &self,
        tenant: TenantId,
        recipient_id: &str,
    ) -> Result<Vec<(LoggedDecision, Option<LoggedOutcome>)>, AppError> {
        let recipient = self.address(tenant, recipient_id).recipient;
        let partition: Partition = self.partition_of(recipient);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.log_page(partition, key::DECISIONS, after).await?;
            after = page.last().map(|(key, _)| key.clone());
            if after.is_none() {
                return Ok(found);
            }
            for (key, stored) in of_person(page, recipient) {
                let outcome = match key::parse::logged(&key) {
                    Some(at) => self.engine.read(partition, &key::outcome(at)).await?,
                    None => None,
                };
                let outcome = outcome.map(|stored| records::decode(&stored.value));
                found.push((records::decode(&stored.value)?, outcome.transpose()?));
            }
        }
    }
}

fn of_person(
    page: Rows,
    recipient: RecipientKey,
) -> impl Iterator<Item = (Vec<u8>, crate::store::Stored)> {
    page.into_iter()
        .filter(move |(_, stored)| is_of(&stored.value, recipient))
}

/// Entries and outcomes begin with the key of their recipient.
fn is_of(value: &[u8], recipient: RecipientKey) -> bool {
    value
        .get(HEADER_BYTES..)
        .is_some_and(|payload| payload.starts_with(&recipient.0))
}
