//! Changing one touch: load the record, make the touch again if its commit was lost, apply the change, commit the difference it makes.
//!
//! Invariant: the difference of the touch's contributions is all that is committed, so nothing counts twice and all can be taken back.
use jiff::Timestamp;

use crate::app::writes::{Address, Effects, TRIES_MAX, or_new};
use crate::app::{App, AppError};
use crate::domain::civil::Zone;
use crate::domain::contribution::Change as TouchChange;
use crate::domain::decide::Allowed;
use crate::domain::experiment::Experiment;
use crate::domain::feedback::{EventOutcome, Rules, TouchState, touch_from_token, touch_state};
use crate::domain::recipient::{Answer, ConsentLevel, Recipient, Response, Touch};
use crate::domain::token::DecisionToken;

use super::Step;
use super::report::ReportOutcome;

/// A record while a change is applied to one of its touches.
struct Work<'a> {
    recipient: Box<Recipient>,
    effects: Effects,
    token: &'a DecisionToken,
    experiment: &'a Experiment,
    now: Timestamp,
}

impl App {
    /// Applies a change to the touch of a token, again when somebody else changed the record in between.
    pub(super) async fn change_touch(
        &self,
        address: Address,
        token: &DecisionToken,
        experiment: &Experiment,
        mut apply: impl FnMut(&mut Recipient, &mut Touch, &Rules<'_>, &mut Effects) -> EventOutcome,
    ) -> Result<Step, AppError> {
        for _ in 0..TRIES_MAX {
            let now = self.now();
            let loaded = self.read_recipient(address).await?;
            let recipient = or_new(loaded.recipient, now);
            let mut work = Work {
                recipient,
                effects: Effects::default(),
                token,
                experiment,
                now,
            };
            let (outcome, is_changed) = self.change(&mut work, &mut apply)?;
            if !is_changed {
                return Ok((outcome, None));
            }
            work.recipient.mark_changed(now);
            let ticket = self
                .commit(address, &work.recipient, loaded.version, work.effects)
                .await?;
            if ticket.is_some() {
                return Ok((outcome, ticket));
            }
        }
        Err(AppError::contended())
    }

    /// The outcome, and whether there is anything to commit.
    fn change(
        &self,
        work: &mut Work<'_>,
        apply: &mut impl FnMut(&mut Recipient, &mut Touch, &Rules<'_>, &mut Effects) -> EventOutcome,
    ) -> Result<(ReportOutcome, bool), AppError> {
        // Consent comes first: withdrawing it has taken the touches out, which must not look like a late event.
        if self.allowed(&work.recipient.consent).content == ConsentLevel::None {
            return Ok((ReportOutcome::NotAllowed, false));
        }
        let state = touch_state(&work.recipient, work.token, work.now);
        if let Some(outcome) = gone(state) {
            return Ok((outcome, false));
        }
        let zone = work.recipient.zone_or(&self.settings.default_zone);
        if state == TouchState::Lost {
            self.make_again(work, &zone);
        }
        let Some(before) = work.recipient.touch_mut(work.token.decision).cloned() else {
            return Ok((ReportOutcome::TooLate, false));
        };
        let settings = &work.experiment.settings;
        let rules = Rules {
            trial_on: settings.trial_on,
            attribution_window_ms: settings.attribution_window_ms,
            zone: &zone,
            now: work.now,
        };
        let mut after = before.clone();
        let outcome = reported(apply(
            &mut work.recipient,
            &mut after,
            &rules,
            &mut work.effects,
        ))?;
        if before == after {
            return Ok((outcome, state == TouchState::Lost));
        }
        let after = self.within_consent(&work.recipient, after);
        self.add_change(
            work,
            TouchChange {
                before: Some(&before),
                after: Some(&after),
            },
        );
        self.log_outcome(address_of(work.token), &after, &mut work.effects)?;
        if let Some(slot) = work.recipient.touch_mut(work.token.decision) {
            *slot = after;
        }
        Ok((outcome, true))
    }

    /// Makes a touch again from its token, with everything that it added.
    fn make_again(&self, work: &mut Work<'_>, zone: &Zone) {
        let touch = self.within_consent(&work.recipient, touch_from_token(work.token, zone));
        let change = TouchChange {
            before: None,
            after: Some(&touch),
        };
        self.add_change(work, change);
        work.effects.count_decision(&touch);
        work.recipient.remember(touch, work.now);
    }

    /// A consent withdrawn since the decision takes the touch out of the hours and the segment it was in.
    pub(in crate::app) fn within_consent(&self, recipient: &Recipient, touch: Touch) -> Touch {
        let Allowed { timing, content } = self.allowed(&recipient.consent);
        // When somebody opens is nobody's business then; that they did may still count for the content.
        let placeless = |response: Option<Response>| match timing {
            ConsentLevel::None => response.map(|response| Response {
                local_hour_of_week: 0,
                ..response
            }),
            _ => response,
        };
        let mut answer = touch.answer;
        if let Answer::Send { context, .. } = &mut answer
            && content < ConsentLevel::Segment
        {
            context.segment = 0;
        }
        Touch {
            answer,
            open: placeless(touch.open),
            click: placeless(touch.click),
            exposure_recorded: touch.exposure_recorded && timing == ConsentLevel::Individual,
            everyone_recorded: touch.everyone_recorded && timing >= ConsentLevel::Aggregate,
            ..touch
        }
    }

    fn add_change(&self, work: &mut Work<'_>, change: TouchChange<'_>) {
        work.effects
            .of_touch(change, Some(work.experiment), work.now);
        let Recipient {
            activity, opens, ..
        } = &mut *work.recipient;
        change.apply_to(activity, opens);
    }
}

fn address_of(token: &DecisionToken) -> Address {
    Address {
        tenant: token.tenant,
        recipient: token.recipient,
    }
}

/// What is answered of an outcome.
fn reported(outcome: EventOutcome) -> Result<ReportOutcome, AppError> {
    Ok(match outcome {
        EventOutcome::BeforeDecision => {
            let description =
                "is before the decision it belongs to; check the clock of whoever reports it";
            return Err(AppError::invalid_field(
                "EVENT_BEFORE_DECISION",
                "event_time",
                description,
            ));
        }
        EventOutcome::Erased => ReportOutcome::NotAllowed,
        EventOutcome::Counted => ReportOutcome::Counted,
        EventOutcome::Duplicate => ReportOutcome::Duplicate,
        EventOutcome::Upgraded => ReportOutcome::Upgraded,
        EventOutcome::TooLate => ReportOutcome::TooLate,
    })
}

/// Whether a touch is gone for good, and what its events come to then.
fn gone(state: TouchState) -> Option<ReportOutcome> {
    match state {
        TouchState::Present | TouchState::Lost => None,
        TouchState::Forgotten => Some(ReportOutcome::TooLate),
        TouchState::Erased => Some(ReportOutcome::NotAllowed),
    }
}
