//! Twice what a server can do: it is to answer as much as ever, to refuse the rest with a time to come back, and to be well at once afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::harness::child::Place;
use super::load::{self, Outcome, Timed};

/// Connections, so many that it is the server that refuses.
const CONNECTIONS: usize = 32;
/// Recipients who are asked for again and again.
const PEOPLE: u64 = 50_000;
/// From one rate to the next in the search for the sustainable one.
const STEP: f64 = 1.5;
/// Least share of what is offered per second that is answered per second while a rate can be carried.
const CARRIED_MIN: f64 = 0.9;
/// Least share of the sustainable throughput that is to be kept under twice the load.
const KEPT_MIN: f64 = 0.8;

/// How hard and how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Overload {
    /// Seconds of each phase
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Decisions per call, so that the caller's own work is small beside the server's
    #[arg(long, default_value_t = 100)]
    items: u64,
    /// Callers that look for the sustainable rate, each with one call at a time
    #[arg(long, default_value_t = 16)]
    callers: usize,
    /// Deadline of each call, milliseconds
    #[arg(long, default_value_t = 5_000)]
    timeout_ms: u64,
}

/// Who is asked what.
#[derive(Clone)]
struct Load {
    channels: Vec<Channel>,
    experiment: String,
    next: Arc<AtomicU64>,
    settings: Overload,
}

/// One phase: its calls and how long they took all together.
struct Phase {
    calls: Vec<Timed>,
    seconds: f64,
}

// === impl Overload ===

impl Overload {
    /// Plays the phases and prints a row each; what was not as promised is returned.
    ///
    /// # Errors
    /// What kept it from going on.
    pub async fn run(&self, place: &Place) -> Result<Vec<String>, String> {
        let child = place.start(1_000)?;
        let load = Load::new(&child.address, *self).await?;
        println!(
            "phase               calls/s  answered/s  answered  refused  late  failed  p50 ms  p99 ms"
        );
        let begun = load.closed(self.seconds).await;
        begun.print("one after another");
        let rate = load.sustainable(begun.answered_per_second()).await;
        let doubled = load.open(2.0 * rate, self.seconds).await;
        doubled.print("twice as many");
        let halved = load.open(0.5 * rate, self.seconds).await;
        halved.print("half as many");
        let kept = doubled.answered_per_second() / rate;
        println!(
            "kept under twice the load: {:.0} % of {:.0} decisions/s",
            kept * 100.0,
            rate * self.items as f64
        );
        let mut broken = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                broken.push(what.to_owned());
            }
        };
        must(kept >= KEPT_MIN, "throughput fell under twice the load");
        let unexplained = load::count(&doubled.calls, Outcome::Failed);
        must(
            unexplained == 0,
            "calls were refused without a time to come back",
        );
        let unanswered = halved.calls.len() - load::count(&halved.calls, Outcome::Answered);
        must(unanswered == 0, "not all was answered once the load fell");
        Ok(broken)
    }
}

// === impl Load ===

impl Load {
    async fn new(address: &str, settings: Overload) -> Result<Self, String> {
        let channels = load::connections(address, CONNECTIONS).await?;
        let experiment = load::running(&channels[0], "load").await;
        Ok(Self {
            channels,
            experiment: experiment.map_err(|status| status.to_string())?,
            next: Arc::default(),
            settings,
        })
    }

    async fn call(self, due_at: Instant) -> Timed {
        let items = self.settings.items;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let channel = self.channels[number as usize % self.channels.len()].clone();
        let first = number * items % PEOPLE;
        let batch = load::batch(&self.experiment, first..first + items);
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        load::decide(channel, batch, due_at, timeout).await
    }

    /// Each caller calls again once it was answered.
    async fn closed(&self, seconds: u64) -> Phase {
        let started = Instant::now();
        let until = started + Duration::from_secs(seconds);
        let mut callers = JoinSet::new();
        for _ in 0..self.settings.callers {
            let load = self.clone();
            callers.spawn(async move {
                let mut calls = Vec::new();
                while Instant::now() < until {
                    calls.push(load.clone().call(Instant::now()).await);
                }
                calls
            });
        }
        let calls = callers.join_all().await.concat();
        Phase::new(calls, started)
    }

    /// Raises the rate until not all is answered any more; the most that was answered per second.
    async fn sustainable(&self, mut rate: f64) -> f64 {
        loop {
            let offered = STEP * rate;
            let raised = self.open(offered, self.settings.seconds).await;
            raised.print("raised");
            let answered = raised.answered_per_second();
            rate = rate.max(answered);
            if answered < CARRIED_MIN * offered {
                return rate;
            }
        }
    }

    /// Calls are due at their rate, whether those before were answered or not.
    async fn open(&self, per_second: f64, seconds: u64) -> Phase {
        let started = Instant::now();
        let mut calls = JoinSet::new();
        let count = (per_second * seconds as f64) as u64;
        for number in 0..count {
            let due_at = started + Duration::from_secs_f64(number as f64 / per_second);
            tokio::time::sleep_until(due_at.into()).await;
            calls.spawn(self.clone().call(due_at));
        }
        let calls = calls.join_all().await;
        Phase::new(calls, started)
    }
}

// === impl Phase ===

impl Phase {
    fn new(calls: Vec<Timed>, started: Instant) -> Self {
        Self {
            calls,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn answered_per_second(&self) -> f64 {
        load::count(&self.calls, Outcome::Answered) as f64 / self.seconds
    }

    fn print(&self, name: &str) {
        let count = |outcome| load::count(&self.calls, outcome);
        println!(
            "{name:<18}  {:>7.0}  {:>10.0}  {:>8}  {:>7}  {:>4}  {:>6}  {:>6.1}  {:>6.1}",
            self.calls.len() as f64 / self.seconds,
            self.answered_per_second(),
            count(Outcome::Answered),
            count(Outcome::Refused),
            count(Outcome::Late),
            count(Outcome::Failed),
            load::quantile_ms(&self.calls, 0.5),
            load::quantile_ms(&self.calls, 0.99),
        );
    }
}
