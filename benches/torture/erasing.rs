//! Erasing a person, also after a fault that cut the erasure off.
//!
//! A decision is answered before its touch is durable, and only an event makes a lost one again: where its recipient is erased first, it was
//! never counted and must not be. Invariant: nothing is assumed; before an erasure is repeated, the server shows what there is to remove.

use hermod::grpc::wire;
use hermod::grpc::wire::recipient_service_client::RecipientServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::caller::{Caller, Operation};
use super::meter::{Meter, count};
use super::model::mark_lost;

impl Caller {
    /// Erases a person; the operation again when it was not acknowledged.
    pub(super) async fn erase(
        &mut self,
        person: usize,
        channels: &[Channel],
        meter: &Meter,
    ) -> Option<Operation> {
        let erased = match self.touches_to_remove(person, channels, meter).await {
            Ok(expected) => self.receipt(person, channels).await.map(|r| (expected, r)),
            Err(status) => Err(status),
        };
        let (expected, receipt) = match erased {
            Ok(erased) => erased,
            Err(status) => {
                meter.failed("EraseRecipient", &status);
                return Some(Operation::Erase(person));
            }
        };
        meter.acknowledged(&meter.tally.erasures);
        if usize::try_from(receipt.touches_removed) != Ok(expected) {
            meter.violation(format!("erased not {expected} touches: {receipt:?}"));
        }
        let person = &mut self.people[person];
        person.erased = true;
        for _ in person.touches.iter().filter(|touch| touch.lost) {
            count(&meter.tally.lost_unclaimed);
        }
        None
    }

    async fn receipt(
        &mut self,
        person: usize,
        channels: &[Channel],
    ) -> Result<wire::EraseRecipientResponse, Status> {
        let request = wire::EraseRecipientRequest {
            recipient_id: self.people[person].id.clone(),
        };
        let mut client = RecipientServiceClient::new(self.channel(channels));
        Ok(client.erase_recipient(request).await?.into_inner())
    }

    /// How many touches an erasure has to remove: all, unless it is repeated. Then either there is nobody any more, as it was carried out
    /// before it was cut off, and the decisions before it with it; or what is missing was lost.
    async fn touches_to_remove(
        &mut self,
        person: usize,
        channels: &[Channel],
        meter: &Meter,
    ) -> Result<usize, Status> {
        if !self.is_uncertain() {
            return Ok(self.people[person].touches.len());
        }
        let kept = match self.kept(person, channels).await {
            Ok(kept) => kept.touches,
            Err(status) if status.code() == Code::NotFound => return Ok(0),
            Err(status) => return Err(status),
        };
        if let Err(what) = mark_lost(&mut self.people[person].touches, &kept) {
            meter.violation(what);
        }
        Ok(kept.len())
    }
}
