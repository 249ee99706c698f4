//! What one touch adds to cells and hours of activity: a function of the touch alone.
//!
//! Invariant: every change is the difference of two contributions, so whatever a touch added can be taken back exactly, by a
//! reclassification, a corrected send time or an erasure alike.
use jiff::Timestamp;

use crate::domain::activity::{ActivityProfile, OpenShares};
use crate::domain::arrivals::Arrivals;
use crate::domain::cell::{Cell, CellDelta, HOUR_MS, Lane, Trial};
use crate::domain::civil::{HourOfWeek, LocalHour, LocalTime};
use crate::domain::event::EventKind;
use crate::domain::experiment::Objective;
use crate::domain::freshness::{AGE_HOURS_MAX, ExposureVector, Waiting};
use crate::domain::half_life::{Track, Tracks};
use crate::domain::hour_activity::{HourActivity, HourDelta, day_of, interest_left};
use crate::domain::recipient::{Answer, Response, Touch};
use crate::domain::timing::TouchTiming;

/// A touch before and after a change; none where there was or will be no touch.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Before.
    pub before: Option<&'a Touch>,
    /// After.
    pub after: Option<&'a Touch>,
}

/// The outcome of a touch in units of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outcome {
    open: f64,
    click: f64,
    conversion: f64,
    harm: [f64; 4],
    value: f64,
    value_square: f64,
}

/// What a touch adds to the person's own record.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Own {
    hours: Option<Hours>,
    open: Option<(f64, Timestamp)>,
}

/// What a touch adds to hours of activity.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hours {
    sent_at: Timestamp,
    waiting: Waiting,
    timing: TouchTiming,
    /// The response that counts: its weight, age in hours and local hour.
    response: Option<(f64, f64, Timestamp, LocalHour)>,
}

// === impl Change ===

impl Change<'_> {
    /// The changes to cells, as of now: the same change in every half-life that runs in parallel.
    pub fn cells(&self, tracks: Tracks, now: Timestamp) -> Vec<CellDelta> {
        let of_track = |(track, half_life_hours)| self.cells_of(track, half_life_hours, now);
        tracks.each().flat_map(of_track).collect()
    }

    fn cells_of(
        &self,
        track: Track,
        half_life_hours: Option<f64>,
        now: Timestamp,
    ) -> Vec<CellDelta> {
        let place = |touch: Option<&Touch>| {
            touch
                .filter(|t| t.trial_counted)
                .and_then(|t| Some((t.trial(track, half_life_hours)?, t.measurable)))
        };
        let outcome = |touch: Option<&Touch>| touch.map(Outcome::of).unwrap_or_default();
        let (before, after) = (place(self.before), place(self.after));
        let (was, is) = (outcome(self.before), outcome(self.after));
        let mut deltas = Vec::new();
        if before == after {
            let trial = after.map(|(trial, _)| trial);
            deltas.extend(
                trial
                    .filter(|_| was != is)
                    .map(|trial| is.since(&was).delta(&trial, now)),
            );
            return deltas;
        }
        for (place, outcome, times) in [(before, was, -1.0), (after, is, 1.0)] {
            let Some((trial, measurable)) = place else {
                continue;
            };
            deltas.push(trial.count(times, measurable, now));
            if outcome != Outcome::default() {
                deltas.push(outcome.times(times).delta(&trial, now));
            }
        }
        deltas
    }

    /// The change to the delays of its experiment's answers, as of now; none when it is none.
    pub fn arrivals(&self, half_life_hours: Option<f64>, now: Timestamp) -> Option<Arrivals> {
        let of = |touch: Option<&Touch>| {
            touch
                .map(|touch| delays(touch, half_life_hours, now))
                .unwrap_or_default()
        };
        let (before, after) = (of(self.before), of(self.after));
        let mut change = Arrivals::empty(now.as_millisecond(), half_life_hours);
        change.merge(&after);
        change.subtract(&before);
        (!change.is_empty()).then_some(change)
    }

    /// Applies the change to the person's own hours and to the shares of machines and person in the opens.
    pub fn apply_to(&self, profile: &mut ActivityProfile, opens: &mut OpenShares) {
        let own = |touch: Option<&Touch>| touch.filter(|t| t.exposure_recorded).map(Own::of);
        let (before, after) = (own(self.before), own(self.after));
        if before == after {
            return;
        }
        if let Some(before) = before {
            before.take_from(profile, opens);
        }
        if let Some(after) = after {
            after.add_to(profile, opens);
        }
    }

    /// The changes to everybody's hours.
    pub fn everyone(&self) -> Vec<HourDelta> {
        let hours = |touch: Option<&Touch>| {
            touch
                .filter(|t| t.everyone_recorded && t.measurable)
                .and_then(Hours::of)
        };
        let (before, after) = (hours(self.before), hours(self.after));
        if before == after {
            return Vec::new();
        }
        let parts = [(before, -1.0), (after, 1.0)].into_iter();
        parts
            .filter_map(|(hours, times)| Some((hours?, times)))
            .flat_map(|(hours, times)| hours.everyone(times))
            .collect()
    }
}

/// The delays of the answers that count, faded from the send on like their trial; none of the holdout, from which nothing is learned.
fn delays(touch: &Touch, half_life_hours: Option<f64>, now: Timestamp) -> Arrivals {
    let mut arrivals = Arrivals::empty(now.as_millisecond(), half_life_hours);
    let is_held = matches!(
        touch.answer,
        Answer::Send {
            lane: Lane::Holdout,
            ..
        }
    );
    if !touch.trial_counted || !touch.sends() || is_held {
        return arrivals;
    }
    let hours_since = |ms: i64| (ms - touch.send_at_ms).max(0) as f64 / HOUR_MS as f64;
    let age_hours = hours_since(now.as_millisecond());
    let kept = half_life_hours.map_or(1.0, |half_life| (-age_hours / half_life).exp2());
    let seen = |response: Option<Response>| response.map(|r| (r.at_ms, r.weight.get()));
    let converted = touch
        .converted_at_ms
        .filter(|_| touch.has(EventKind::Converted));
    let opened = touch.open.filter(|_| touch.measurable);
    let responses = [
        (Objective::Open, seen(opened)),
        (Objective::Click, seen(touch.click)),
        (Objective::Conversion, converted.map(|at_ms| (at_ms, 1.0))),
    ];
    if let Some(at_ms) = touch.harmed_at_ms {
        arrivals.count_harm(hours_since(at_ms), kept);
    }
    for (objective, response) in responses {
        if let Some((at_ms, weight)) = response.filter(|(_, weight)| *weight > 0.0) {
            arrivals.count(objective, hours_since(at_ms), kept * weight);
        }
    }
    arrivals
}

// === impl Outcome ===

impl Outcome {
    fn of(touch: &Touch) -> Self {
        let weight = |response: Option<Response>| response.map_or(0.0, |r| r.weight.get());
        let has = |kind| f64::from(u8::from(touch.has(kind)));
        Self {
            // Opens of somebody whose mail a machine opens count in neither trials nor successes.
            open: if touch.measurable {
                weight(touch.open)
            } else {
                0.0
            },
            click: weight(touch.click),
            conversion: has(EventKind::Converted),
            harm: [
                has(EventKind::Unsubscribed),
                has(EventKind::Complained),
                has(EventKind::Bounced),
                f64::from(u8::from(touch.replied_negative)),
            ],
            value: touch.value,
            value_square: touch.value * touch.value,
        }
    }

    fn times(&self, by: f64) -> Self {
        Self {
            open: self.open * by,
            click: self.click * by,
            conversion: self.conversion * by,
            harm: self.harm.map(|harm| harm * by),
            value: self.value * by,
            value_square: self.value_square * by,
        }
    }

    fn since(&self, was: &Self) -> Self {
        let mut harm = self.harm;
        for (harm, was) in harm.iter_mut().zip(was.harm) {
            *harm -= was;
        }
        Self {
            open: self.open - was.open,
            click: self.click - was.click,
            conversion: self.conversion - was.conversion,
            harm,
            value: self.value - was.value,
            value_square: self.value_square - was.value_square,
        }
    }

    fn delta(&self, trial: &Trial, now: Timestamp) -> CellDelta {
        trial.outcome(now, |cell: &mut Cell, unit| {
            cell.open.successes = self.open * unit;
            cell.click.successes = self.click * unit;
            cell.conversion.successes = self.conversion * unit;
            let [unsubscribed, complained, bounced, replied_negative] =
                self.harm.map(|harm| harm * unit);
            cell.harm = crate::domain::cell::Harm {
                unsubscribed,
                complained,
                bounced,
                replied_negative,
            };
            cell.value_sum = self.value * unit;
            cell.value_square_sum = self.value_square * unit;
        })
    }
}

// === impl Own ===

impl Own {
    fn of(touch: &Touch) -> Self {
        let open = touch.open.and_then(|open| {
            Some((
                open.weight.get(),
                Timestamp::from_millisecond(open.at_ms).ok()?,
            ))
        });
        Self {
            hours: Hours::of(touch),
            open,
        }
    }

    fn add_to(&self, profile: &mut ActivityProfile, opens: &mut OpenShares) {
        if let Some(hours) = self.hours {
            hours.add_to(profile);
        }
        if let Some((human, at)) = self.open {
            opens.record(at, human);
        }
    }

    fn take_from(&self, profile: &mut ActivityProfile, opens: &mut OpenShares) {
        if let Some(hours) = self.hours {
            hours.take_from(profile);
        }
        if let Some((human, at)) = self.open {
            opens.take_back(at, human);
        }
    }
}

// === impl Hours ===

impl Hours {
    /// The hours of a touch whose trial has begun; the stronger of open and click counts, the earlier if they are equal, and only the
    /// click where opens cannot be measured.
    fn of(touch: &Touch) -> Option<Self> {
        if !touch.trial_counted || !touch.sends() {
            return None;
        }
        let open = touch.open.filter(|_| touch.measurable);
        let responses = [open, touch.click].into_iter().flatten();
        let strongest = responses.max_by_key(|response| (response.weight, -response.at_ms));
        let hour = |index: u8| HourOfWeek::new(index).map(HourOfWeek::local_hour);
        let sent = LocalTime {
            hour: hour((touch.sent_local_minute / 60) as u8)?,
            minute: (touch.sent_local_minute % 60) as u8,
        };
        let response = strongest.filter(|r| r.weight.get() > 0.0).and_then(|r| {
            let age_hours = (r.at_ms - touch.send_at_ms).max(0) as f64 / HOUR_MS as f64;
            Some((
                r.weight.get(),
                age_hours,
                Timestamp::from_millisecond(r.at_ms).ok()?,
                hour(r.local_hour_of_week)?,
            ))
        });
        let waiting = Waiting {
            sent,
            from_age_hours: 0.0,
            until_age_hours: AGE_HOURS_MAX,
        };
        Some(Self {
            sent_at: Timestamp::from_millisecond(touch.send_at_ms).ok()?,
            waiting,
            timing: TouchTiming {
                propensity: 0.0,
                ..touch.timing
            },
            response,
        })
    }

    /// Exposure of a stretch of waiting under the fading that was believed then.
    fn exposure(&self, waiting: Waiting) -> ExposureVector {
        self.timing.interest.curve().exposure(waiting)
    }

    /// The stretch that no longer waited, because it had been opened.
    fn beyond(&self, age_hours: f64) -> Waiting {
        Waiting {
            from_age_hours: age_hours,
            ..self.waiting
        }
    }

    fn add_to(&self, profile: &mut ActivityProfile) {
        let level = self.timing.campaign_level.get();
        profile.record_exposure(self.sent_at, &self.exposure(self.waiting), level);
        if let Some((weight, age_hours, at, hour)) = self.response {
            let beyond = self.exposure(self.beyond(age_hours));
            profile.take_back_exposure(self.sent_at, &beyond, weight * level);
            profile.record_open(at, hour, weight);
        }
    }

    fn take_from(&self, profile: &mut ActivityProfile) {
        let level = self.timing.campaign_level.get();
        if let Some((weight, age_hours, at, hour)) = self.response {
            let beyond = self.exposure(self.beyond(age_hours));
            profile.take_back_open(at, hour, weight);
            profile.record_exposure(self.sent_at, &beyond, weight * level);
        }
        profile.take_back_exposure(self.sent_at, &self.exposure(self.waiting), level);
    }

    fn everyone(&self, times: f64) -> Vec<HourDelta> {
        let level = self.timing.campaign_level.get();
        let day = day_of(self.sent_at);
        let sent = HourActivity {
            as_of_ms: self.sent_at.as_millisecond(),
            sends: times * level,
            ..HourActivity::default()
        };
        let mut deltas = vec![HourDelta {
            day,
            hour: self.waiting.sent.hour.hour_of_week(),
            part: sent,
        }];
        if let Some((weight, age_hours, at, hour)) = self.response {
            let cut_off = interest_left(age_hours).map(|left| left * weight * level * times);
            let part = HourActivity {
                as_of_ms: at.as_millisecond(),
                observed: weight * times,
                cut_off,
                ..HourActivity::default()
            };
            deltas.push(HourDelta {
                day,
                hour: hour.hour_of_week(),
                part,
            });
        }
        deltas
    }
}

#[cfg(test)]
mod tests;
