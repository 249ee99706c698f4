//! So many calls a second, evenly spaced, whether the server keeps up or not.
//!
//! A thread of its own keeps the time: the runtime's timers have a resolution of a millisecond, which is longer than a call takes.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Line, Tally, call};
use crate::bench::BenchError;

/// Makes so many calls a second on one connection, until the span ends and all are answered.
pub(super) async fn run(line: Line, per_second: f64) -> Result<Tally, BenchError> {
    let Line {
        number,
        channel,
        drive,
        mut source,
        span,
    } = line;
    let (path, items) = (drive.method.path(), u64::from(drive.method.items()));
    let mut tally = Tally::new()?;
    // Connections take turns, so that their calls do not come in volleys.
    let place = (number as f64 + 0.5) / drive.connections.max(1) as f64;
    let mut due = paced(span.end, per_second, place);
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = calls.join_next(), if !calls.is_empty() => {
                let lost = |error: tokio::task::JoinError| BenchError::Nonsense(error.to_string());
                let (since, answer) = ended.map_err(lost)?;
                tally.count(span, since, items, answer);
            }
            next = due.recv() => {
                let Some(since) = next else { break };
                let Some(request) = source.next() else {
                    tally.ran_out();
                    break;
                };
                let channel = channel.clone();
                calls.spawn(async move {
                    let answer = call(channel, path, request).await.map(drop);
                    (since, answer)
                });
            }
        }
    }
    while let Some(Ok((since, answer))) = calls.join_next().await {
        tally.count(span, since, items, answer);
    }
    Ok(tally)
}

/// The instants at which calls are due, each told when it has come; the first after this share of the spacing.
fn paced(end: Instant, per_second: f64, place: f64) -> mpsc::UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let spacing = Duration::from_secs_f64(1.0 / per_second.max(0.1));
    std::thread::spawn(move || {
        let mut due = Instant::now() + spacing.mul_f64(place);
        while due < end {
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            if sender.send(due).is_err() {
                return;
            }
            due += spacing;
        }
    });
    receiver
}
