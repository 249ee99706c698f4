//! Compares what the server shows with the model, at a moment when nothing is under way.
//!
//! Invariant: every difference becomes one violation with both sides in it.

use std::collections::BTreeMap;

use hermod::grpc::wire::experiment_service_client::ExperimentServiceClient;
use hermod::grpc::wire::operations_service_client::OperationsServiceClient;
use hermod::grpc::wire::{self, EventKind, EventOutcome};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::caller::Caller;
use super::calls::{self, Way};
use super::meter::{Meter, count};
use super::model::{ARENAS, KINDS, SENT, Sums, Totals, add_people};

/// Most items of one confirming call.
const ITEMS_MAX: usize = 200;

/// Compares the sums of all experiments.
pub async fn totals(callers: &[Caller], channel: &Channel, meter: &Meter) -> Result<(), Status> {
    let mut sums = Sums::new();
    for caller in callers {
        add_people(&caller.people, &mut sums);
    }
    let mut all = BTreeMap::new();
    for (arena, settings) in ARENAS.iter().enumerate() {
        let request = wire::GetResultsRequest {
            name: settings.name.into(),
        };
        let mut client = ExperimentServiceClient::new(channel.clone());
        let answer = client.get_results(request).await?.into_inner();
        let results = answer.results.unwrap_or_default();
        for shown in &results.variants {
            let key = (arena, false, shown.variant_id.clone());
            let expected = sums.get(&key).cloned().unwrap_or_default();
            let what = format!("{} {}", settings.name, shown.variant_id);
            compare(&what, &expected, &of_variant(shown), meter);
        }
        let held = sums
            .iter()
            .filter(|((of, side, _), _)| *of == arena && *side);
        let held = held.fold((0.0, 0.0), |(trials, successes), (_, totals)| {
            (trials + totals.trials, successes + totals.successes)
        });
        let holdout = results.holdout.unwrap_or_default();
        // Mails of the holdout that are planned for later are not among its trials yet.
        let trials = held.0.min(holdout.trials);
        same(
            &format!("{} holdout", settings.name),
            &[
                ("trials", trials, holdout.trials),
                ("successes", held.1, holdout.successes),
            ],
            meter,
        );
    }
    for totals in sums.values() {
        add(&mut all, totals);
    }
    statistics(&all, channel, meter).await
}

fn add(all: &mut BTreeMap<i32, f64>, totals: &Totals) {
    for (kind, times) in &totals.events {
        *all.entry(*kind).or_default() += times;
    }
    *all.entry(0).or_default() += totals.decided;
}

async fn statistics(
    all: &BTreeMap<i32, f64>,
    channel: &Channel,
    meter: &Meter,
) -> Result<(), Status> {
    let mut client = OperationsServiceClient::new(channel.clone());
    let answer = client
        .get_statistics(wire::GetStatisticsRequest {})
        .await?
        .into_inner();
    let counts = answer.statistics.unwrap_or_default().counts;
    let counts = counts.unwrap_or_default();
    let expected = |kind: i32| all.get(&kind).copied().unwrap_or_default();
    same(
        "statistics",
        &[("decided", expected(0), counts.decided)],
        meter,
    );
    for kind in KINDS {
        let shown = of_kind(&counts, kind);
        same(
            "statistics",
            &[(kind.as_str_name(), expected(kind.into()), shown)],
            meter,
        );
    }
    Ok(())
}

fn of_kind(counts: &wire::EventCounts, kind: EventKind) -> f64 {
    match kind {
        EventKind::Sent => counts.sent,
        EventKind::Delivered => counts.delivered,
        EventKind::Opened => counts.opened,
        EventKind::Clicked => counts.clicked,
        EventKind::Converted => counts.converted,
        EventKind::Replied => counts.replied,
        EventKind::Unsubscribed => counts.unsubscribed,
        _ => 0.0,
    }
}

fn of_variant(shown: &wire::VariantResults) -> Totals {
    let counts = shown.counts.unwrap_or_default();
    let events = KINDS.map(|kind| (i32::from(kind), of_kind(&counts, kind)));
    Totals {
        decided: counts.decided,
        events: events
            .into_iter()
            .filter(|(_, times)| *times != 0.0)
            .collect(),
        value: counts.value,
        trials: shown.trials,
        successes: shown.successes,
    }
}

fn compare(what: &str, expected: &Totals, shown: &Totals, meter: &Meter) {
    let mut rows = vec![
        ("decided", expected.decided, shown.decided),
        ("value", expected.value, shown.value),
        ("trials", expected.trials, shown.trials),
        ("successes", expected.successes, shown.successes),
    ];
    for kind in KINDS {
        let of = |totals: &Totals| {
            let times = totals.events.get(&i32::from(kind));
            times.copied().unwrap_or_default()
        };
        rows.push((kind.as_str_name(), of(expected), of(shown)));
    }
    same(what, &rows, meter);
}

/// Sums are exact but for decay, which multiplies and divides: a millionth of one event is far more than that.
fn same(what: &str, rows: &[(&str, f64, f64)], meter: &Meter) {
    for (name, expected, shown) in rows {
        if (expected - shown).abs() > 1e-6 * expected.abs().max(1.0) {
            meter.violation(format!(
                "{what}: {name} is {shown}, acknowledged were {expected}"
            ));
        }
    }
}

/// Reports acknowledged events of one caller again: all of them, or some. Each must be a duplicate.
pub async fn events(
    caller: &mut Caller,
    some: Option<usize>,
    channels: &[Channel],
    meter: &Meter,
) -> Result<(), Status> {
    let mut known = Vec::new();
    for person in &caller.people {
        let outcome = match person.erased {
            true => EventOutcome::NotAllowed,
            false => EventOutcome::Duplicate,
        };
        for touch in &person.touches {
            for (kind, event) in &touch.events {
                let kind = EventKind::try_from(*kind).unwrap_or_default();
                known.push((touch.wire(kind, event), outcome));
            }
            // Its token alone would make it again, were its recipient not erased.
            if touch.lost {
                known.push((touch.wire(EventKind::Sent, &SENT), outcome));
            }
        }
    }
    if let Some(some) = some {
        while known.len() > some {
            known.swap_remove(caller.draw(known.len()));
        }
    }
    for part in known.chunks(ITEMS_MAX) {
        let wire = part.iter().map(|(event, _)| event.clone()).collect();
        let channel = caller.channel(channels);
        calls::report(channel, Way::Batch, wire, |at, result| {
            let (event, expected) = &part[at];
            count(&meter.tally.confirmed);
            if result.outcome() != *expected {
                let told = result.outcome();
                meter.violation(format!(
                    "{event:?} was acknowledged; again it is {told:?}, not {expected:?}"
                ));
            }
        })
        .await?;
    }
    Ok(())
}

/// Compares what is kept of some of a caller's people, or of all.
pub async fn people(
    caller: &mut Caller,
    some: Option<usize>,
    channels: &[Channel],
    meter: &Meter,
) -> Result<(), Status> {
    let mut numbers: Vec<usize> = (0..caller.people.len()).collect();
    if let Some(some) = some {
        while numbers.len() > some {
            numbers.swap_remove(caller.draw(numbers.len()));
        }
    }
    for number in numbers {
        let person = caller.people[number].clone();
        let kept = match caller.kept(number, channels).await {
            Ok(kept) => Some(kept),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => return Err(status),
        };
        let fits = match &kept {
            None => person.erased || !person.exists,
            Some(kept) => !person.erased && matches(&person, kept),
        };
        if !fits {
            meter.violation(format!("kept is {kept:?}, acknowledged was {person:?}"));
        }
    }
    Ok(())
}

fn matches(person: &super::model::Person, kept: &wire::Recipient) -> bool {
    let mut known: Vec<(&str, &str, i64, Vec<String>)> = Vec::new();
    for touch in &person.touches {
        let word = |kind: &i32| {
            let kind = EventKind::try_from(*kind).unwrap_or_default();
            let name = kind.as_str_name().trim_start_matches("EVENT_KIND_");
            name.to_lowercase()
        };
        let mut words: Vec<String> = touch.events.keys().map(word).collect();
        words.sort();
        let arena = ARENAS[touch.question.arena].name;
        known.push((arena, &touch.variant, touch.decided_at.seconds, words));
    }
    let mut shown = Vec::new();
    for touch in &kept.touches {
        let mut words = touch.events.clone();
        words.sort();
        let at = touch.decide_time.unwrap_or_default().seconds;
        shown.push((touch.experiment.as_str(), touch.variant.as_str(), at, words));
    }
    known.sort();
    shown.sort();
    let alike = known.len() == shown.len()
        && known.iter().zip(&shown).all(|(known, shown)| {
            (known.0, known.1, known.2, &known.3) == (shown.0, shown.1, shown.2, &shown.3)
        });
    alike && person.segments == kept.segments
}
