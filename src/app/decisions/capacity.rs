//! The sender's capacity, shared by all decisions of an experiment: full hours are closed, and a decision takes its place before it is written.
//!
//! Invariant: of all decisions that may choose their hour, no more than the capacity are given an hour, whatever runs side by side.
use std::sync::Arc;

use jiff::Timestamp;

use crate::app::App;
use crate::app::registry::Live;
use crate::app::writes::Effects;
use crate::domain::experiment::Experiment;
use crate::domain::name::TenantId;
use crate::domain::recipient::Touch;
use crate::domain::send_plan::{Throttle, hour_of};
use crate::domain::send_window::SendWindow;

/// A place in an hour, given back when the decision is not written after all.
pub struct Place {
    live: Arc<Live>,
    hour: i64,
    is_kept: bool,
}

/// What became of asking for a place.
pub enum Admission {
    /// Nothing is sent, or the experiment has no capacity to share.
    NotNeeded,
    /// Somebody else took the last one.
    Full,
    /// It is ours.
    Taken(Place),
}

fn throttle(experiment: &Experiment) -> Option<Throttle> {
    Some(Throttle {
        capacity: experiment.settings.capacity?,
        started_at: experiment.started_at.unwrap_or(experiment.created_at),
    })
}

/// Closes the hours of a window that are full.
pub fn close_full_hours(live: &Live, experiment: &Experiment, window: &mut SendWindow) {
    if let Some(throttle) = throttle(experiment) {
        window.full_hours = live.sums().plan.full_hours(window, &throttle);
    }
}

// === impl App ===

impl App {
    /// Takes a place for a touch; one whose time is not ours to choose always gets it.
    pub(super) fn take_place(
        &self,
        tenant: TenantId,
        experiment: &Experiment,
        touch: &Touch,
        is_movable: bool,
    ) -> Admission {
        // Most experiments have no capacity, and then nothing need be looked up.
        let Some(throttle) = throttle(experiment).filter(|_| touch.sends()) else {
            return Admission::NotNeeded;
        };
        let Some(live) = self.registry.by_uid(tenant, experiment.uid) else {
            return Admission::NotNeeded;
        };
        let sent_at = Timestamp::from_millisecond(touch.planned_at_ms).unwrap_or(Timestamp::MAX);
        let hour = hour_of(sent_at);
        let is_taken = {
            let plan = &mut live.sums().plan;
            if is_movable {
                plan.reserve(hour, &throttle)
            } else {
                plan.add(hour, 1);
                true
            }
        };
        if !is_taken {
            return Admission::Full;
        }
        Admission::Taken(Place {
            live,
            hour,
            is_kept: false,
        })
    }
}

// === impl Place ===

impl Place {
    /// Has the place written with the decision.
    pub fn note(&self, effects: &mut Effects) {
        effects.place = Some((self.live.experiment().uid, self.hour));
    }

    /// The decision is written: the place stays taken.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            self.live.sums().plan.add(self.hour, -1);
        }
    }
}
