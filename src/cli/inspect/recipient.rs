//! One recipient: zone, consent, segments, remembered touches and the week as the model sees it.
//!
//! Invariant: neither the id that was asked for nor the key it hashes to is ever shown.

use serde_json::json;

use super::Page;
use super::layout::{Ink, instant, local, name, table, word};
use super::week;
use crate::app::{RecipientView, ZoneSource};
use crate::domain::civil::Zone;
use crate::domain::event::EventKind;
use crate::domain::recipient::{Answer, Response, Touch};
use crate::domain::send_time::{Level, ZoneGuess};

/// Most likely zones shown.
const LIKELY_ZONES_MAX: usize = 4;

/// Shows the record.
pub(super) fn page(view: &RecipientView, ink: Ink) -> Page {
    Page {
        text: text(view, ink),
        json: json(view),
    }
}

fn text(view: &RecipientView, ink: Ink) -> String {
    let zone = &view.zone;
    let portrait = &view.portrait;
    let rests_on = match portrait.level {
        Level::Recipient => "the recipient's record",
        Level::Chronotype => "people with like hours",
        Level::Segment => "their segment",
        Level::Exploration => "no evidence",
        Level::Everyone => "everybody's record",
        Level::Default => "the default curve",
    };
    [
        facts(view, zone),
        touches(view, zone),
        format!(
            "hours of activity in {}: best around {:02}:00\nafter {rests_on}, with {:.1} observations of its own\n",
            zone.name(),
            portrait.best_hour,
            portrait.effective_observations
        ),
        week::picture(&portrait.by_week, ink),
    ]
    .join("\n")
}

fn facts(view: &RecipientView, zone: &Zone) -> String {
    let recipient = &view.recipient;
    let origin = |said: bool| if said { "" } else { " (default)" };
    let segments: Vec<String> = recipient.segments.iter().map(|text| name(text)).collect();
    let from = match view.zone_source {
        ZoneSource::Request | ZoneSource::Recipient => "",
        ZoneSource::Inferred => " (by where others live and the recipient's hours)",
        ZoneSource::Default => " (default)",
    };
    let mut rows = vec![
        ("zone", format!("{}{from}", zone.name())),
        (
            "consent to timing",
            word(&view.allowed.timing) + origin(recipient.consent.timing.is_some()),
        ),
        (
            "consent to content",
            word(&view.allowed.content) + origin(recipient.consent.content.is_some()),
        ),
        (
            "segments",
            if segments.is_empty() {
                "none".to_owned()
            } else {
                segments.join(", ")
            },
        ),
        (
            "suppressed",
            recipient
                .suppression
                .map_or_else(|| "no".to_owned(), |why| word(&why)),
        ),
        ("created", local(recipient.created_at_ms, zone.name())),
        ("changed", local(recipient.updated_at_ms, zone.name())),
    ];
    if let [_, _, ..] = view.likely_zones.as_slice() {
        rows.insert(1, ("likely zones", likely_zones(&view.likely_zones)));
    }
    rows.iter()
        .map(|(label, value)| format!("{label:<19} {value}\n"))
        .collect()
}

/// The likeliest zones with their probabilities, percent.
fn likely_zones(guesses: &[ZoneGuess]) -> String {
    let shown = guesses.iter().take(LIKELY_ZONES_MAX).map(|guess| {
        let percent = 100.0 * guess.probability;
        format!("{} {percent:.0} %", guess.zone.name())
    });
    shown.collect::<Vec<String>>().join(", ")
}

fn touches(view: &RecipientView, zone: &Zone) -> String {
    let rows: Vec<[String; 4]> = view
        .recipient
        .touches
        .iter()
        .rev()
        .map(|touch| {
            let (experiment, answer) = names(view, touch);
            [
                local(touch.send_at_ms, zone.name()),
                name(&experiment),
                name(&answer),
                events(touch),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no touches are remembered\n".to_owned();
    }
    table(4, ["send", "experiment", "variant", "events"], &rows)
}

/// The experiment and the variant of a touch, or why it does not send.
fn names(view: &RecipientView, touch: &Touch) -> (String, String) {
    let experiment = view.experiments.get(&touch.experiment);
    let id = experiment.map_or_else(
        || format!("deleted ({})", touch.experiment.0),
        |experiment| experiment.id.to_string(),
    );
    let answer = match touch.answer {
        Answer::DoNotSend(why) => format!("not sent: {}", word(&why)),
        Answer::Send { variant, .. } => experiment
            .and_then(|experiment| experiment.variant(variant))
            .map_or_else(
                || format!("number {}", variant.0),
                |variant| variant.id.to_string(),
            ),
    };
    (id, answer)
}

/// The kinds counted; an open or click with the probability that a person did it, where that is in doubt.
fn events(touch: &Touch) -> String {
    let doubt = |response: Option<Response>| match response.map(|response| response.weight.get()) {
        Some(weight) if weight < 1.0 => format!(" ({weight:.2})"),
        _ => String::new(),
    };
    let words: Vec<String> = EventKind::ALL
        .into_iter()
        .filter(|kind| touch.has(*kind))
        .map(|kind| match kind {
            EventKind::Opened => kind.word().to_owned() + &doubt(touch.open),
            EventKind::Clicked => kind.word().to_owned() + &doubt(touch.click),
            _ => kind.word().to_owned(),
        })
        .collect();
    words.join(", ")
}

fn touch_json(view: &RecipientView, touch: &Touch) -> serde_json::Value {
    let (experiment, answer) = names(view, touch);
    let kinds = EventKind::ALL.into_iter().filter(|kind| touch.has(*kind));
    json!({
        "experiment": experiment,
        "answer": answer,
        "sends": touch.sends(),
        "decided_at": instant(touch.decided_at_ms),
        "send_at": instant(touch.send_at_ms),
        "events": kinds.map(EventKind::word).collect::<Vec<_>>(),
        "human_open": touch.open.map(|open| open.weight.get()),
        "human_click": touch.click.map(|click| click.weight.get()),
    })
}

fn json(view: &RecipientView) -> serde_json::Value {
    let recipient = &view.recipient;
    let touches = recipient.touches.iter();
    json!({
        "time_zone": recipient.zone,
        "reckoned_time_zone": view.zone.name(),
        "likely_time_zones": view.likely_zones.iter().map(|guess| json!({
            "time_zone": guess.zone.name(), "probability": guess.probability,
        })).collect::<Vec<_>>(),
        "segments": recipient.segments,
        "consent": { "timing": word(&view.allowed.timing), "content": word(&view.allowed.content) },
        "suppression": recipient.suppression.map(|why| word(&why)),
        "created_at": instant(recipient.created_at_ms),
        "updated_at": instant(recipient.updated_at_ms),
        "touches": touches.map(|touch| touch_json(view, touch)).collect::<Vec<_>>(),
        "hours": {
            "level": word(&view.portrait.level),
            "best_hour": view.portrait.best_hour,
            "effective_observations": view.portrait.effective_observations,
            "by_week": view.portrait.by_week.to_vec(),
        },
    })
}
