//! Remembering a decision: its touch, its place in the sender's capacity, what it adds to sums, and its entry in the log, in one commit.
//!
//! Invariant: all of it or nothing; a record that changed in between leaves no trace.
use crate::app::writes::Effects;
use crate::app::{App, AppError};
use crate::domain::contribution::Change as TouchChange;
use crate::domain::decision_log::Place;
use crate::domain::experiment::Experiment;
use crate::domain::recipient::{Recipient, Touch};

use super::capacity::Admission;
use super::{Asked, Start};

impl App {
    /// Commits the touch with what it adds; false when the record changed in between.
    pub(super) async fn remember(
        &self,
        asked: &Asked<'_>,
        start: Start,
        touch: Touch,
        mut effects: Effects,
    ) -> Result<bool, AppError> {
        let (address, now) = (asked.address, asked.now);
        let experiment = &asked.snapshot.experiment;
        let is_movable = asked.request.send_at.is_none()
            && !asked.resolved.transactional
            && asked.resolved.platform.is_none();
        let place = match self.take_place(address.tenant, experiment, &touch, is_movable) {
            Admission::Full => return Ok(false),
            Admission::Taken(place) => Some(place),
            Admission::NotNeeded => None,
        };
        let mut recipient = start.recipient;
        if recipient.zone.is_none() && asked.request.zone.is_some() {
            recipient.set_zone(&asked.reckoned.zone, &self.settings.default_zone, now);
        }
        let change = TouchChange {
            before: None,
            after: Some(&touch),
        };
        if touch.sends() {
            effects.of_touch(change, Some(experiment), now);
            effects.count_decision(&touch);
            change.apply_to(&mut recipient.activity, &mut recipient.opens);
        }
        if let Some(place) = &place {
            place.note(&mut effects);
        }
        recipient.mark_changed(now);
        recipient.remember(touch, now);
        let committed = self
            .commit(address, &recipient, start.version, effects)
            .await?;
        if let (Some(_), Some(place)) = (&committed, place) {
            place.keep();
        }
        Ok(committed.is_some())
    }
}

/// Which answer of its occasion this will be: the first, or a further one when the earlier can no longer hold.
pub fn place(experiment: &Experiment, occasion: u64, recipient: &Recipient) -> Place {
    let earlier = recipient
        .touches
        .iter()
        .filter(|touch| touch.experiment == experiment.uid && touch.occasion == occasion)
        .count();
    Place {
        occasion,
        attempt: earlier as u64,
    }
}
