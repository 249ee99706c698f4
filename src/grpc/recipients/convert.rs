//! Recipients on the wire and within.
use crate::app::{AppError, ErasedAmount, RecipientChange, RecipientView};
use crate::domain::cell::Lane;
use crate::domain::event::EventKind;
use crate::domain::experiment::SEGMENTS_MAX;
use crate::domain::recipient::{Answer, ConsentLevel, Suppression, Touch};
use crate::domain::send_time::{Portrait, ZoneGuess};
use crate::grpc::check::{Checks, timestamp_ms};
use crate::grpc::decisions::time_level;
use crate::grpc::wire;

/// What is kept of a recipient.
pub fn recipient(view: &RecipientView) -> wire::Recipient {
    let record = &view.recipient;
    let consent = wire::Consent {
        timing: consent_wire(view.allowed.timing).into(),
        content: consent_wire(view.allowed.content).into(),
        source: record.consent.source.clone(),
        consent_time: (record.consent.given_at_ms != 0)
            .then(|| timestamp_ms(record.consent.given_at_ms))
            .flatten(),
    };
    wire::Recipient {
        time_zone: record.zone.clone().unwrap_or_default(),
        segments: record.segments.clone(),
        consent: Some(consent),
        suppression: suppression_wire(record.suppression).into(),
        activity: Some(activity(&view.portrait)),
        touches: record
            .touches
            .iter()
            .rev()
            .filter(|touch| touch.sends())
            .map(|touch| touch_wire(view, touch))
            .collect(),
        create_time: timestamp_ms(record.created_at_ms),
        update_time: timestamp_ms(record.updated_at_ms),
        reckoned_time_zone: view.zone.name().to_owned(),
        likely_time_zones: view.likely_zones.iter().map(guess).collect(),
    }
}

fn guess(guess: &ZoneGuess) -> wire::TimeZoneGuess {
    wire::TimeZoneGuess {
        time_zone: guess.zone.name().to_owned(),
        probability: guess.probability,
    }
}

fn activity(portrait: &Portrait) -> wire::ActivitySummary {
    let amount =
        |of: fn(&crate::domain::activity::ActivityReading) -> &crate::domain::activity::Amounts,
         hour: usize| {
            portrait
                .reading
                .as_ref()
                .and_then(|reading| of(reading).by_hour.get(hour))
                .copied()
                .unwrap_or(0.0)
        };
    let hours = portrait
        .by_hour
        .iter()
        .enumerate()
        .map(|(hour, relative)| wire::HourActivity {
            hour: hour as i32,
            observed: amount(|reading| &reading.observed, hour),
            expected: amount(|reading| &reading.exposed, hour),
            activity: amount(|reading| &reading.active, hour),
            relative: *relative,
        });
    let weekdays = portrait
        .by_week
        .chunks(24)
        .map(|day| day.iter().sum::<f64>() / 24.0);
    wire::ActivitySummary {
        hours: hours.collect(),
        weekdays: weekdays.collect(),
        hours_of_week: portrait.by_week.to_vec(),
        effective_observations: portrait.effective_observations,
        best_hour: portrait.best_hour.into(),
        level: time_level(portrait.level).into(),
    }
}

fn touch_wire(view: &RecipientView, touch: &Touch) -> wire::Touch {
    let experiment = view.experiments.get(&touch.experiment);
    let (variant, propensity, holdout) = match touch.answer {
        Answer::Send {
            variant,
            propensity,
            lane,
            ..
        } => (Some(variant), propensity, lane == Lane::Holdout),
        Answer::DoNotSend(_) => (None, 0.0, false),
    };
    let variant = variant.and_then(|variant| experiment?.variant(variant));
    wire::Touch {
        experiment: experiment
            .map(|experiment| format!("experiments/{}", experiment.id))
            .unwrap_or_default(),
        variant: variant
            .map(|variant| variant.id.to_string())
            .unwrap_or_default(),
        decide_time: timestamp_ms(touch.decided_at_ms),
        send_time: timestamp_ms(touch.send_at_ms),
        events: EventKind::ALL
            .into_iter()
            .filter(|kind| touch.has(*kind))
            .map(|kind| kind.word().to_owned())
            .collect(),
        propensity,
        holdout,
    }
}

/// What was taken out of one variant's cells.
pub fn amount(amount: ErasedAmount) -> wire::ErasedAmount {
    let ErasedAmount {
        experiment,
        variant,
        trials,
        opens,
        clicks,
        conversions,
    } = amount;
    wire::ErasedAmount {
        experiment: format!("experiments/{experiment}"),
        variant,
        trials,
        opens,
        clicks,
        conversions,
    }
}

/// A request to change a recipient: only the fields of the mask.
pub fn change(
    request: wire::UpdateRecipientRequest,
) -> Result<(String, RecipientChange), AppError> {
    let wire::UpdateRecipientRequest {
        recipient_id,
        recipient,
        update_mask,
    } = request;
    let mut checks = Checks::default();
    let recipient_id = checks.identifier("recipient_id", recipient_id, true);
    let wire = recipient.unwrap_or_default();
    let mut change = RecipientChange::default();
    let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        checks.wrong(
            "update_mask",
            "is required: the names of the fields to change, or *",
        );
    }
    for path in paths {
        match path.as_str() {
            "*" => ["time_zone", "segments", "consent", "suppression"]
                .iter()
                .for_each(|path| set(&mut checks, &mut change, &wire, path)),
            path => set(&mut checks, &mut change, &wire, path),
        }
    }
    checks.finish()?;
    Ok((recipient_id, change))
}

fn set(checks: &mut Checks, change: &mut RecipientChange, wire: &wire::Recipient, path: &str) {
    let consent = wire.consent.clone().unwrap_or_default();
    match path {
        "time_zone" => change.zone = Some(checks.zone("recipient.time_zone", &wire.time_zone)),
        "segments" => change.segments = Some(segments(checks, &wire.segments)),
        "consent" => ["consent.timing", "consent.content", "consent.source", "consent.consent_time"].iter().for_each(|path| set(checks, change, wire, path)),
        "consent.timing" => change.timing = Some(level(checks, "recipient.consent.timing", consent.timing)),
        "consent.content" => change.content = Some(level(checks, "recipient.consent.content", consent.content)),
        "consent.source" => change.source = Some(checks.text("recipient.consent.source", consent.source, 256)),
        "consent.consent_time" => change.given_at = checks.instant("recipient.consent.consent_time", consent.consent_time),
        "suppression" => change.suppression = Some(suppression(checks, wire.suppression)),
        other => checks.wrong("update_mask", format!("{other} cannot be updated; these can: time_zone, segments, consent and its parts, suppression")),
    }
}

fn segments(checks: &mut Checks, names: &[String]) -> Vec<String> {
    if names.len() > SEGMENTS_MAX {
        checks.wrong(
            "recipient.segments",
            format!("has {}; at most {SEGMENTS_MAX} are allowed", names.len()),
        );
        return Vec::new();
    }
    let checked = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| checks.slug(&format!("recipient.segments[{at}]"), name));
    checked.map(|segment| segment.to_string()).collect()
}

fn level(checks: &mut Checks, field: &str, number: i32) -> Option<ConsentLevel> {
    match checks.known::<wire::ConsentLevel>(field, number)? {
        wire::ConsentLevel::Unspecified => None,
        wire::ConsentLevel::None => Some(ConsentLevel::None),
        wire::ConsentLevel::Aggregate => Some(ConsentLevel::Aggregate),
        wire::ConsentLevel::Segment => Some(ConsentLevel::Segment),
        wire::ConsentLevel::Individual => Some(ConsentLevel::Individual),
    }
}

fn consent_wire(level: ConsentLevel) -> wire::ConsentLevel {
    match level {
        ConsentLevel::None => wire::ConsentLevel::None,
        ConsentLevel::Aggregate => wire::ConsentLevel::Aggregate,
        ConsentLevel::Segment => wire::ConsentLevel::Segment,
        ConsentLevel::Individual => wire::ConsentLevel::Individual,
    }
}

fn suppression(checks: &mut Checks, number: i32) -> Option<Suppression> {
    match checks.known::<wire::Suppression>("recipient.suppression", number)? {
        wire::Suppression::Unspecified => None,
        wire::Suppression::Unsubscribed => Some(Suppression::Unsubscribed),
        wire::Suppression::Complained => Some(Suppression::Complained),
        wire::Suppression::Bounced => Some(Suppression::Bounced),
        wire::Suppression::Manual => Some(Suppression::Manual),
    }
}

fn suppression_wire(suppression: Option<Suppression>) -> wire::Suppression {
    match suppression {
        None => wire::Suppression::Unspecified,
        Some(Suppression::Unsubscribed) => wire::Suppression::Unsubscribed,
        Some(Suppression::Complained) => wire::Suppression::Complained,
        Some(Suppression::Bounced) => wire::Suppression::Bounced,
        Some(Suppression::Manual) => wire::Suppression::Manual,
    }
}
