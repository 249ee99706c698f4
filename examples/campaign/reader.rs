//! The recipients of the campaign: who clicks, and how late.
//!
//! Invariant: what a recipient would do depends on the seed and on its number alone, not on what the server answers.
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hermod::grpc::wire;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Mails are reported as sent so long before the question, within the hour by which clocks may differ. A click that comes later
/// than this is not reported, so the server sees what it would see this long after a send: about a quarter of all clicks.
const SENT_AGO_HOURS: f64 = 55.0 / 60.0;
/// How late clicks come: a mixture of exponentials with these means in hours and weights, the published delays of e-mail.
const DELAYS: [(f64, f64); 5] = [
    (0.2, 0.0511),
    (1.0, 0.1844),
    (5.0, 0.3479),
    (25.0, 0.2143),
    (125.0, 0.2022),
];

/// What one recipient would do, whatever the variant.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Clicks if this is below the rate.
    click: f64,
    /// How late.
    delay_hours: f64,
}

// === impl Person ===

impl Person {
    /// The next one.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let click: f64 = rng.random();
        let mut term: f64 = rng.random();
        let uniform: f64 = rng.random();
        let mean_hours = DELAYS.iter().find_map(|(mean_hours, weight)| {
            term -= weight;
            (term < 0.0).then_some(*mean_hours)
        });
        Self {
            click,
            delay_hours: mean_hours.unwrap_or(0.0) * -(1.0 - uniform).ln(),
        }
    }

    /// What is reported of the mail behind a decision: that it was sent, and the click if it has come by now.
    pub fn events(self, rate: f64, decision_id: String) -> Vec<wire::Event> {
        let sent_hours = since_epoch().as_secs_f64() / 3_600.0 - SENT_AGO_HOURS;
        let event = |kind: wire::EventKind, at_hours: f64| wire::Event {
            kind: kind.into(),
            event_time: Some(timestamp(at_hours)),
            decision_id: decision_id.clone(),
            ..Default::default()
        };
        let mut events = vec![event(wire::EventKind::Sent, sent_hours)];
        if self.click < rate && self.delay_hours < SENT_AGO_HOURS {
            events.push(event(
                wire::EventKind::Clicked,
                sent_hours + self.delay_hours,
            ));
        }
        events
    }
}

/// The questions, never more in flight than the window allows.
pub fn questions(
    experiment: String,
    recipients: u64,
    window: Arc<Semaphore>,
) -> ReceiverStream<wire::StreamDecideRequest> {
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        for number in 0..recipients {
            let Ok(permit) = window.acquire().await else {
                return;
            };
            permit.forget();
            let request = wire::DecideRequest {
                experiment: experiment.clone(),
                recipient_id: format!("reader-{number}@example.org"),
                ..Default::default()
            };
            let question = wire::StreamDecideRequest {
                correlation_id: String::new(),
                request: Some(request),
            };
            if sender.send(question).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// The time now, since 1970.
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn timestamp(hours: f64) -> prost_types::Timestamp {
    let millis = (hours * 3_600_000.0) as i64;
    prost_types::Timestamp {
        seconds: millis.div_euclid(1_000),
        nanos: (millis.rem_euclid(1_000) * 1_000_000) as i32,
    }
}
