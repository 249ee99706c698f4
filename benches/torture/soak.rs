//! A mixed load for minutes, with everything that could make a server grow: new recipients without end, experiments that come and go, events,
//! watchers, readers that do not read, connections that do nothing. What it grows is its files; its memory is sampled and must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hermod::grpc::wire::decision_service_client::DecisionServiceClient;
use hermod::grpc::wire::experiment_service_client::ExperimentServiceClient;
use hermod::grpc::wire::feedback_service_client::FeedbackServiceClient;
use hermod::grpc::wire::{self, EventKind};
use tokio::net::TcpStream;
use tonic::transport::Channel;

use super::harness::child::{Child, Place};
use super::load;

/// Recipients of one batch.
const BATCH: u64 = 50;
/// Time between two samples of the memory.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);
const MIB: f64 = 1_048_576.0;

/// How long, how much, and what is too much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Soak {
    /// Minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// New recipients per second
    #[arg(long, default_value_t = 1_000)]
    recipients_per_second: u64,
    /// Watchers that read, and as many that do not
    #[arg(long, default_value_t = 20)]
    watchers: usize,
    /// Connections that do nothing
    #[arg(long, default_value_t = 500)]
    idle: usize,
    /// MiB by which the mean of the last third may exceed that of the second
    #[arg(long, default_value_t = 32.0)]
    growth_mib: f64,
}

/// What the load is made of while it lasts.
#[derive(Clone)]
struct Load {
    channels: Vec<Channel>,
    experiment: String,
    counts: Arc<Counts>,
    over: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Counts {
    recipients: AtomicU64,
    events: AtomicU64,
    experiments: AtomicU64,
    watched: AtomicU64,
    failed: AtomicU64,
}

// === impl Soak ===

impl Soak {
    /// Loads, samples and prints the curve; what was not as promised is returned.
    ///
    /// # Errors
    /// What kept it from going on.
    pub async fn run(&self, place: &Place) -> Result<Vec<String>, String> {
        let mut child = place.start(1_000)?;
        let text = |status: tonic::Status| status.to_string();
        let channels = load::connections(&child.address, 8).await?;
        let load = Load {
            experiment: load::running(&channels[0], "soak").await.map_err(text)?,
            channels,
            counts: Arc::default(),
            over: Arc::default(),
        };
        let mut idle = Vec::new();
        for _ in 0..self.idle {
            let connected = TcpStream::connect(&child.address).await;
            idle.push(connected.map_err(|error| error.to_string())?);
        }
        let mut work = tokio::task::JoinSet::new();
        let interval = Duration::from_secs_f64(BATCH as f64 / self.recipients_per_second as f64);
        work.spawn(load.clone().decisions_and_events(interval));
        work.spawn(load.clone().experiments());
        for number in 0..self.watchers {
            work.spawn(load.clone().watch(number));
            work.spawn(load.clone().stream_without_reading(number));
        }
        let samples = self.sample(&mut child).await;
        load.over.store(true, Ordering::Relaxed);
        work.abort_all();
        let samples = samples?;
        load.counts.print();
        Ok(self.judge(&samples, &load.counts))
    }

    async fn sample(&self, child: &mut Child) -> Result<Vec<u64>, String> {
        let until = Instant::now() + Duration::from_secs_f64(self.minutes * 60.0);
        let mut samples = Vec::new();
        while Instant::now() < until {
            tokio::time::sleep(SAMPLE_INTERVAL).await;
            if !child.is_running() {
                return Err("the server ended".into());
            }
            samples.push(child.told_by_kernel("status", "VmRSS:") << 10);
        }
        Ok(samples)
    }

    fn judge(&self, samples: &[u64], counts: &Counts) -> Vec<String> {
        println!("resident memory, MiB, mean and most of each tenth of the time");
        for tenth in samples.chunks(samples.len().div_ceil(10).max(1)) {
            println!("  {:>7.1}  {:>7.1}", mean_mib(tenth), most_mib(tenth));
        }
        let third = (samples.len() / 3).max(1);
        let thirds: Vec<f64> = samples.chunks(third).take(3).map(mean_mib).collect();
        let (first, second, last) = match thirds[..] {
            [first, second, last] => (first, second, last),
            _ => return vec!["too short for three thirds".into()],
        };
        println!("thirds: {first:.1}, {second:.1}, {last:.1} MiB");
        let mut broken = Vec::new();
        if last - second > self.growth_mib {
            let grown = last - second;
            broken.push(format!("memory grew by {grown:.1} MiB in the last third"));
        }
        let failed = counts.failed.load(Ordering::Relaxed);
        if failed > 0 {
            broken.push(format!("{failed} calls failed"));
        }
        broken
    }
}

fn mean_mib(samples: &[u64]) -> f64 {
    samples.iter().sum::<u64>() as f64 / samples.len().max(1) as f64 / MIB
}

fn most_mib(samples: &[u64]) -> f64 {
    samples.iter().max().copied().unwrap_or(0) as f64 / MIB
}

// === impl Load ===

impl Load {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn channel(&self, number: usize) -> Channel {
        self.channels[number % self.channels.len()].clone()
    }

    fn failed(&self, what: &str, status: &tonic::Status) {
        eprintln!("{what}: {status}");
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Recipients nobody has heard of, and what they did with their mail.
    async fn decisions_and_events(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        let mut decisions = DecisionServiceClient::new(self.channel(0));
        let mut feedback = FeedbackServiceClient::new(self.channel(1));
        let mut first = 0;
        while !self.is_over() {
            ticks.tick().await;
            let batch = load::batch(&self.experiment, first..first + BATCH);
            first += BATCH;
            let answer = match decisions.batch_decide(batch).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    self.failed("deciding", &status);
                    continue;
                }
            };
            let events: Vec<_> = answer.results.into_iter().flat_map(events_of).collect();
            let count = events.len() as u64;
            match feedback
                .report_events(wire::ReportEventsRequest { events })
                .await
            {
                Ok(_) => self.counts.events.fetch_add(count, Ordering::Relaxed),
                Err(status) => {
                    self.failed("reporting", &status);
                    continue;
                }
            };
            self.counts.recipients.fetch_add(BATCH, Ordering::Relaxed);
        }
    }

    /// Experiments that are created, used and deleted, one after the other.
    async fn experiments(self) {
        let mut client = ExperimentServiceClient::new(self.channel(2));
        let mut decisions = DecisionServiceClient::new(self.channel(2));
        let mut number = 0_u64;
        while !self.is_over() {
            number += 1;
            let made = async {
                let name = load::running(&self.channel(2), &format!("passing-{number}")).await?;
                decisions.batch_decide(load::batch(&name, 0..20)).await?;
                let pause = wire::PauseExperimentRequest { name: name.clone() };
                client.pause_experiment(pause).await?;
                let delete = wire::DeleteExperimentRequest {
                    name,
                    ..Default::default()
                };
                client.delete_experiment(delete).await
            };
            match made.await {
                Ok(_) => self.counts.experiments.fetch_add(1, Ordering::Relaxed),
                Err(status) => {
                    self.failed("an experiment", &status);
                    continue;
                }
            };
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Watches results, begins anew after a while, and reads all the time.
    async fn watch(self, number: usize) {
        let mut client = ExperimentServiceClient::new(self.channel(3 + number % 2));
        while !self.is_over() {
            let request = wire::WatchResultsRequest {
                name: self.experiment.clone(),
                ..Default::default()
            };
            let Ok(answers) = client.watch_results(request).await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let mut answers = answers.into_inner();
            for _ in 0..30 {
                match answers.message().await {
                    Ok(Some(_)) => self.counts.watched.fetch_add(1, Ordering::Relaxed),
                    _ => break,
                };
            }
        }
    }

    /// Asks without end and never reads an answer, until it is cut off; then again.
    async fn stream_without_reading(self, number: usize) {
        while !self.is_over() {
            let mut client = DecisionServiceClient::new(self.channel(5 + number % 3));
            let experiment = self.experiment.clone();
            let questions = (0_u64..).map(move |at| wire::StreamDecideRequest {
                correlation_id: at.to_string(),
                request: Some(wire::DecideRequest {
                    experiment: experiment.clone(),
                    recipient_id: format!("reader-{}", at % 1_000),
                    ..Default::default()
                }),
            });
            let answers = client.stream_decide(tokio_stream::iter(questions)).await;
            // Held and not read; the server closes the connection when it has waited for long enough.
            tokio::time::sleep(Duration::from_secs(90)).await;
            drop(answers);
        }
    }
}

// === impl Counts ===

impl Counts {
    fn print(&self) {
        for (counter, what) in [
            (&self.recipients, "new recipients decided for"),
            (&self.events, "events reported"),
            (&self.experiments, "experiments created and deleted"),
            (&self.watched, "results watched"),
            (&self.failed, "calls failed"),
        ] {
            println!("  {:>10}  {what}", counter.load(Ordering::Relaxed));
        }
    }
}

/// The mail is sent; every third is opened.
fn events_of(result: wire::DecisionResult) -> Vec<wire::Event> {
    let Some(wire::decision_result::Result::Decision(decision)) = result.result else {
        return Vec::new();
    };
    let is_opened = decision.decision_id.bytes().map(u32::from).sum::<u32>() % 3 == 0;
    let kinds = [EventKind::Sent, EventKind::Opened];
    let kinds = kinds.into_iter().take(if is_opened { 2 } else { 1 });
    let event = |kind: EventKind| wire::Event {
        kind: kind.into(),
        event_time: decision.decide_time,
        decision_id: decision.decision_id.clone(),
        ..Default::default()
    };
    kinds.map(event).collect()
}
