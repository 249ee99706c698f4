//! Send constraints on the wire and within.
use jiff::civil::Date;

use crate::app::Constraints;
use crate::domain::experiment::{FrequencyCap, SendDefaults};
use crate::domain::recipient::TOUCHES_MAX;
use crate::domain::send_window::{BLOCKED_DAYS_MAX, QuietHours};

use super::check::{Checks, DurationLimits, duration_ms};
use super::wire;

const DAY_SECONDS: i64 = 86_400;
const QUIET_MAX: usize = 8;

/// Checks the constraints of a request.
pub fn constraints(
    checks: &mut Checks,
    prefix: &str,
    wire: Option<wire::SendConstraints>,
) -> Constraints {
    let Some(wire::SendConstraints {
        earliest_time,
        deadline_time,
        quiet_hours,
        blocked_dates,
        frequency_cap,
        transactional,
        window,
    }) = wire
    else {
        return Constraints::default();
    };
    // Fields are named only where there is something to check: most requests leave most of them out.
    let named = |field: &str| format!("{prefix}.{field}");
    let mut instant = |field: &str, time: Option<_>| {
        time.and_then(|time| checks.instant(&named(field), Some(time)))
    };
    let earliest_at = instant("earliest_time", earliest_time);
    let deadline_at = instant("deadline_time", deadline_time);
    if let (Some(earliest_at), Some(deadline_at)) = (earliest_at, deadline_at)
        && deadline_at < earliest_at
    {
        checks.wrong(
            format!("{prefix}.deadline_time"),
            "is before the earliest_time; give a later one",
        );
    }
    if deadline_time.is_some() && window.is_some() {
        checks.wrong(
            format!("{prefix}.window"),
            "goes with no deadline_time; give one of the two",
        );
    }
    let limits = DurationLimits::seconds(300, 30 * DAY_SECONDS);
    let window = window.and_then(|window| checks.duration(&named("window"), Some(window), limits));
    Constraints {
        earliest_at,
        deadline_at,
        quiet: quiet(checks, prefix, quiet_hours),
        blocked_days: blocked_days(checks, prefix, blocked_dates),
        frequency_cap: frequency_cap
            .and_then(|wire| cap(checks, &named("frequency_cap"), Some(wire))),
        transactional,
        window_ms: window.map(|window| window.as_millis() as i64),
    }
}

/// Checks the defaults of an experiment, which have no absolute times.
pub fn send_defaults(checks: &mut Checks, wire: Option<wire::SendConstraints>) -> SendDefaults {
    let prefix = "experiment.send_defaults";
    let Some(wire) = wire else {
        return SendDefaults::default();
    };
    if wire.earliest_time.is_some() || wire.deadline_time.is_some() {
        checks.wrong(
            prefix,
            "takes no earliest_time or deadline_time; give them with the request, or give window",
        );
    }
    let Constraints {
        earliest_at: _,
        deadline_at: _,
        quiet,
        blocked_days,
        frequency_cap,
        transactional,
        window_ms,
    } = constraints(checks, prefix, Some(wire));
    SendDefaults {
        quiet,
        blocked_days,
        frequency_cap,
        transactional,
        window_ms,
    }
}

fn quiet(checks: &mut Checks, prefix: &str, periods: Vec<wire::QuietHours>) -> Vec<QuietHours> {
    if periods.is_empty() {
        return Vec::new();
    }
    let field = format!("{prefix}.quiet_hours");
    if periods.len() > QUIET_MAX {
        checks.wrong(
            &field,
            format!(
                "has {} periods; at most {QUIET_MAX} are allowed",
                periods.len()
            ),
        );
        return Vec::new();
    }
    let mut quiet = Vec::new();
    for (at, wire::QuietHours { start, end }) in periods.iter().enumerate() {
        let start_minute = minute(checks, &format!("{field}[{at}].start"), start);
        let end_minute = minute(checks, &format!("{field}[{at}].end"), end);
        if let (Some(start_minute), Some(end_minute)) = (start_minute, end_minute) {
            if start_minute == end_minute {
                checks.wrong(
                    format!("{field}[{at}]"),
                    "starts and ends in the same minute; leave it out, or give different times",
                );
                continue;
            }
            quiet.push(QuietHours {
                start_minute,
                end_minute,
            });
        }
    }
    let covered = |minute: u16| {
        quiet.iter().any(|q| {
            if q.start_minute < q.end_minute {
                (q.start_minute..q.end_minute).contains(&minute)
            } else {
                minute >= q.start_minute || minute < q.end_minute
            }
        })
    };
    if !quiet.is_empty() && (0..1_440).all(covered) {
        checks.wrong(
            &field,
            "cover the whole day, so nothing could ever be sent; leave some time open",
        );
    }
    quiet
}

/// `HH:MM` as minutes of the day; `24:00` is the end of it.
fn minute(checks: &mut Checks, field: &str, text: &str) -> Option<u16> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let two_digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse::<u16>().ok())
                .flatten()
        };
        let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    });
    if parsed.is_none() {
        checks.wrong(
            field,
            "must be a local time HH:MM from 00:00 to 23:59, such as 22:00",
        );
    }
    parsed
}

fn blocked_days(checks: &mut Checks, prefix: &str, dates: Vec<String>) -> Vec<Date> {
    let field = format!("{prefix}.blocked_dates");
    if dates.len() > BLOCKED_DAYS_MAX {
        checks.wrong(
            &field,
            format!(
                "has {} dates; at most {BLOCKED_DAYS_MAX} are allowed",
                dates.len()
            ),
        );
        return Vec::new();
    }
    let mut days = Vec::new();
    for (at, date) in dates.iter().enumerate() {
        match date.parse::<Date>().ok().filter(|_| date.len() == 10) {
            Some(day) => days.push(day),
            None => checks.wrong(format!("{field}[{at}]"), "must be a date YYYY-MM-DD"),
        }
    }
    days
}

/// Checks a frequency cap.
pub fn cap(
    checks: &mut Checks,
    field: &str,
    wire: Option<wire::FrequencyCap>,
) -> Option<FrequencyCap> {
    let wire::FrequencyCap { max_sends, period } = wire?;
    let sends_max = u32::try_from(max_sends)
        .ok()
        .filter(|max| (1..=TOUCHES_MAX as u32).contains(max));
    if sends_max.is_none() {
        checks.wrong(
            format!("{field}.max_sends"),
            format!("must be 1 to {TOUCHES_MAX}"),
        );
    }
    if period.is_none() {
        checks.wrong(format!("{field}.period"), "is required with max_sends");
    }
    let period = checks.duration(
        &format!("{field}.period"),
        period,
        DurationLimits::seconds(3_600, 30 * DAY_SECONDS),
    )?;
    Some(FrequencyCap {
        sends_max: sends_max?,
        period_ms: period.as_millis() as i64,
    })
}

/// The defaults of an experiment on the wire; none when nothing is set.
pub fn wire_defaults(defaults: &SendDefaults) -> Option<wire::SendConstraints> {
    let SendDefaults {
        quiet,
        blocked_days,
        frequency_cap,
        transactional,
        window_ms,
    } = defaults;
    if *defaults == SendDefaults::default() {
        return None;
    }
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    Some(wire::SendConstraints {
        earliest_time: None,
        deadline_time: None,
        quiet_hours: quiet
            .iter()
            .map(|q| wire::QuietHours {
                start: clock(q.start_minute),
                end: clock(q.end_minute),
            })
            .collect(),
        blocked_dates: blocked_days.iter().map(Date::to_string).collect(),
        frequency_cap: frequency_cap.map(|cap| wire::FrequencyCap {
            max_sends: cap.sends_max as i32,
            period: Some(duration_ms(cap.period_ms)),
        }),
        transactional: *transactional,
        window: window_ms.map(duration_ms),
    })
}
