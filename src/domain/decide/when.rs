//! When a mail leaves: at the best instant that its window, the frequency cap and consent leave.
//!
//! Invariant: no instant is answered that the window or the cap forbids. Which variant leaves is left to others.
use jiff::Timestamp;

use super::{Question, Timing};
use crate::domain::civil::Zone;
use crate::domain::recipient::{ConsentLevel, DoNotSend, Recipient};
use crate::domain::send_time::{Exploration, Goal, PredictRequest, Prediction, Segments};
use crate::domain::send_window::SendWindow;

/// The platform's own time, which the holdout gets: the first allowed instant; none if none is allowed.
pub fn platform_time(window: &SendWindow, zone: &Zone) -> Option<Timestamp> {
    let clock = window.clock(zone, 0);
    window.candidates(&clock).next()
}

/// When the mail leaves, and how that was found; or why it does not.
pub(super) fn when(
    recipient: &Recipient,
    question: &Question<'_>,
    holdout: bool,
) -> Result<(Timestamp, Option<Prediction>), DoNotSend> {
    let window = match question.timing {
        Timing::At(at) if is_capped(recipient, question, at) => {
            return Err(DoNotSend::FrequencyCap);
        }
        Timing::At(at) => return Ok((at, None)),
        Timing::Within(window) if question.transactional => return Ok((window.earliest_at, None)),
        Timing::Within(window) => window,
    };
    let free_at = earliest_under_cap(recipient, question, window).ok_or(DoNotSend::FrequencyCap)?;
    let window = SendWindow {
        earliest_at: free_at,
        ..window.clone()
    };
    if holdout {
        let first = platform_time(&window, question.zone);
        return Ok((first.ok_or_else(|| nothing_left(question, &window))?, None));
    }
    let profile =
        (question.allowed.timing == ConsentLevel::Individual).then_some(&recipient.activity);
    let request = PredictRequest {
        window: &window,
        zone: question.zone,
        goal: Goal::OpenProbability,
        jitter: question.draws.jitter,
        segments: segments(recipient, question),
        campaign_level: question.campaign_level.get(),
        want_candidates: question.want_candidates,
        exploration: Exploration {
            share: question.snapshot.experiment.settings.exploration_share,
            whether: question.draws.explore,
            hour: question.draws.hour,
            within: question.draws.jitter,
        },
    };
    let prediction = question
        .model
        .predict(profile, request)
        .map_err(|_| nothing_left(question, &window))?;
    if !is_capped(recipient, question, prediction.send_at) {
        return Ok((prediction.send_at, Some(prediction)));
    }
    let clock = window.clock(question.zone, 0);
    let first = window
        .candidates(&clock)
        .find(|at| !is_capped(recipient, question, *at))
        .ok_or(DoNotSend::FrequencyCap)?;
    // What the cap leaves was not chosen with any probability that is known.
    let prediction = Prediction {
        propensity: 0.0,
        ..prediction
    };
    Ok((first, Some(prediction)))
}

/// Segments count from that level of consent on.
fn segments<'a>(recipient: &'a Recipient, question: &Question<'a>) -> Segments<'a> {
    if question.allowed.timing < ConsentLevel::Segment {
        return Segments::default();
    }
    let experiment = &question.snapshot.experiment;
    Segments {
        asked: question
            .segment
            .or_else(|| experiment.first_segment_of(&recipient.segments)),
        known: &[],
    }
}

/// Why a window has no candidate: rules alone, or because the hours that they leave are full.
fn nothing_left(question: &Question<'_>, window: &SendWindow) -> DoNotSend {
    let with_room = SendWindow {
        full_hours: Vec::new(),
        ..window.clone()
    };
    let clock = window.clock(question.zone, 0);
    let is_allowed = with_room.candidates(&clock).next().is_some();
    if is_allowed {
        DoNotSend::CapacityFull
    } else {
        DoNotSend::NoAllowedTime
    }
}

fn is_capped(recipient: &Recipient, question: &Question<'_>, at: Timestamp) -> bool {
    !question.transactional
        && question
            .frequency_cap
            .is_some_and(|cap| recipient.is_capped(cap, at.as_millisecond()))
}

/// The first instant of the window at which the cap leaves room: now, or when an earlier mail leaves the period.
fn earliest_under_cap(
    recipient: &Recipient,
    question: &Question<'_>,
    window: &SendWindow,
) -> Option<Timestamp> {
    let Some(cap) = question.frequency_cap.filter(|_| !question.transactional) else {
        return Some(window.earliest_at);
    };
    let earliest_ms = window.earliest_at.as_millisecond();
    let freed = recipient
        .touches
        .iter()
        .map(|touch| touch.send_at_ms.saturating_add(cap.period_ms))
        .filter(|at| *at > earliest_ms);
    let mut instants: Vec<i64> = std::iter::once(earliest_ms).chain(freed).collect();
    instants.sort_unstable();
    let clock = window.clock(question.zone, 0);
    instants
        .into_iter()
        .filter(|at| !recipient.is_capped(cap, *at))
        .filter_map(|at| Timestamp::from_millisecond(at).ok())
        .find(|at| {
            *at <= window.deadline_at
                && SendWindow {
                    earliest_at: *at,
                    ..window.clone()
                }
                .candidates(&clock)
                .next()
                .is_some()
        })
}
