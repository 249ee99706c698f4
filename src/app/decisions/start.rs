//! The record that a decision starts from, and whether its answer can be written back.
//!
//! Invariant: neither a damaged record nor a tenant without room leaves a send without an answer.
use jiff::Timestamp;

use crate::app::writes::{Address, Loaded, or_new};
use crate::app::{App, AppError};
use crate::domain::decide::{Choice, Reason};
use crate::domain::recipient::Recipient;
use crate::store::StoreError;

/// The record that a decision starts from.
pub struct Start {
    pub recipient: Box<Recipient>,
    pub version: u64,
    pub standing: Standing,
}

/// Whether an answer can be recorded, as far as the store goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Recordable,
    /// The record is damaged.
    Unreadable,
    /// There is no record, and no room for one.
    NoRoom,
}

// === impl Start ===

impl Start {
    /// Whether an answer can be recorded.
    pub fn is_recordable(&self) -> bool {
        self.standing == Standing::Recordable
    }

    /// The choice with its reason: why it is not recorded, where the store does not let it be.
    pub fn own(&self, choice: Choice) -> Choice {
        let reason = match self.standing {
            Standing::Recordable => choice.reason,
            Standing::Unreadable => Reason::Fallback,
            Standing::NoRoom if choice.reason == Reason::NoConsent => choice.reason,
            Standing::NoRoom => Reason::RecipientLimit,
        };
        Choice { reason, ..choice }
    }
}

// === impl App ===

impl App {
    /// A damaged record does not leave a send without an answer: it is decided as for somebody unknown, and not recorded.
    pub(super) async fn start(&self, address: Address, now: Timestamp) -> Result<Start, AppError> {
        let read = self.read_recipient(address).await;
        self.started(read, address, now)
    }

    /// The same for an answer that is not written back and looks at no touches.
    pub(super) async fn start_to_predict(
        &self,
        address: Address,
        now: Timestamp,
    ) -> Result<Start, AppError> {
        let read = self.read_profile(address).await;
        self.started(read, address, now)
    }

    fn started(
        &self,
        read: Result<Loaded, StoreError>,
        address: Address,
        now: Timestamp,
    ) -> Result<Start, AppError> {
        match read {
            Ok(loaded) => Ok(Start {
                standing: if loaded.version != 0 || self.has_room(address.tenant) {
                    Standing::Recordable
                } else {
                    Standing::NoRoom
                },
                recipient: or_new(loaded.recipient, now),
                version: loaded.version,
            }),
            Err(StoreError::Corrupt { what, place }) => {
                tracing::error!(%place, %what, "a recipient's record cannot be read; answering as for somebody unknown");
                Ok(Start {
                    recipient: or_new(None, now),
                    version: 0,
                    standing: Standing::Unreadable,
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}
