//! The client: as many calls as the server answers, or as many a second as told, counted with how long each took.
//!
//! Invariant: in an open loop a call's time begins when it was due, so that waiting for a slow server is counted (no coordinated omission).

mod events;
mod open_loop;
mod stream;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

use super::BenchError;
use super::method::{Asking, Method, Population};
use super::raw::Raw;
pub use tally::{Measured, Tally};

/// How the server is driven.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Load {
    /// Each of so many on their way is followed by the next as soon as it is answered.
    Closed {
        /// On one connection at a time; messages, where it is a stream.
        in_flight: usize,
    },
    /// So many a second, whether answered or not.
    Open {
        /// Calls a second, over all connections.
        per_second: f64,
    },
}

/// What a client process is told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drive {
    /// The server: `127.0.0.1:50051`.
    pub address: String,
    /// The call.
    pub method: Method,
    /// How.
    pub load: Load,
    /// Connections, over all threads.
    pub connections: usize,
    /// Calls that end after this are counted, seconds from the first.
    pub warm_up_seconds: f64,
    /// Length of what is counted, seconds.
    pub seconds: f64,
    /// Whom to ask about.
    pub population: Population,
    /// Fixes the requests.
    pub seed: u64,
    /// Reports the same events again and again: for servers that do nothing, which take more than can be prepared.
    pub repeats: bool,
}

/// When calls count.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: Instant,
    end: Instant,
}

/// Where calls of one connection come from.
enum Source {
    Asking(Box<Asking>),
    Events(events::Reports),
}

// === impl Source ===

impl Source {
    /// The next request, or none when there is nothing left to report.
    fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Asking(asking) => Some(asking.request()),
            Self::Events(reports) => reports.next(),
        }
    }
}

/// One connection and what it is for.
struct Line {
    /// Counted over all threads, from 0.
    number: usize,
    channel: Channel,
    drive: Arc<Drive>,
    source: Source,
    span: Span,
}

/// Drives the server on one thread a core, each with connections of its own. `ready` is called once all are connected and have something to report,
/// and nothing is sent before it returns.
///
/// # Errors
/// No connection, or calls failed.
pub fn drive(drive: &Drive, ready: impl FnOnce()) -> Result<Measured, BenchError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(drive.connections.max(1));
    let drive = Arc::new(drive.clone());
    // Passed twice: when all are ready, and when they may begin.
    let gate = std::sync::Barrier::new(threads + 1);
    let tallies: Vec<Result<Tally, BenchError>> = std::thread::scope(|scope| {
        let (drive, gate) = (&drive, &gate);
        let spawn = |thread| scope.spawn(move || on_thread(drive, thread, threads, gate));
        let started: Vec<_> = (0..threads).map(spawn).collect();
        gate.wait();
        ready();
        gate.wait();
        let lost = || BenchError::Nonsense("a thread of the client ended in a defect".to_owned());
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Tally, BenchError>>| {
            thread.join().unwrap_or_else(|_| Err(lost()))
        };
        started.into_iter().map(join).collect()
    });
    let mut sum = Tally::new()?;
    for tally in tallies {
        sum.merge(&tally?);
    }
    sum.measured(drive.seconds)
}

fn on_thread(
    drive: &Arc<Drive>,
    thread: usize,
    threads: usize,
    gate: &std::sync::Barrier,
) -> Result<Tally, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let connected = runtime.block_on(connect(drive, thread, threads));
    gate.wait();
    gate.wait();
    let begin = Instant::now() + Duration::from_secs_f64(drive.warm_up_seconds);
    let span = Span {
        begin,
        end: begin + Duration::from_secs_f64(drive.seconds),
    };
    runtime.block_on(async {
        let mut sum = Tally::new()?;
        let lines = connected?
            .into_iter()
            .map(|(number, channel, source)| Line {
                number,
                channel,
                drive: drive.clone(),
                source,
                span,
            });
        let running: Vec<_> = lines.map(|line| tokio::spawn(line.run())).collect();
        for line in running {
            let lost = |error: tokio::task::JoinError| BenchError::Nonsense(error.to_string());
            sum.merge(&line.await.map_err(lost)??);
        }
        Ok(sum)
    })
}

/// The connections of a thread, each with its requests.
async fn connect(
    drive: &Drive,
    thread: usize,
    threads: usize,
) -> Result<Vec<(usize, Channel, Source)>, BenchError> {
    let mut connected = Vec::new();
    for number in (thread..drive.connections.max(1)).step_by(threads) {
        let endpoint = Endpoint::from_shared(format!("http://{}", drive.address))?
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(16 << 20);
        let channel = endpoint.connect().await?;
        let mut asking = Asking::new(drive.method, drive.population, drive.seed, number as u64);
        let source = if drive.method.is_report() {
            Source::Events(events::Reports::decide(&channel, &mut asking, drive).await?)
        } else {
            Source::Asking(Box::new(asking))
        };
        connected.push((number, channel, source));
    }
    Ok(connected)
}

// === impl Line ===

impl Line {
    async fn run(self) -> Result<Tally, BenchError> {
        match (self.drive.method, self.drive.load) {
            (Method::Stream, Load::Closed { in_flight }) => {
                stream::run(
                    self.channel,
                    self.drive.method,
                    self.source,
                    self.span,
                    in_flight,
                )
                .await
            }
            (_, Load::Closed { in_flight }) => self.closed(in_flight).await,
            (_, Load::Open { per_second }) => {
                let of_line = per_second / self.drive.connections.max(1) as f64;
                open_loop::run(self, of_line).await
            }
        }
    }

    async fn closed(self, in_flight: usize) -> Result<Tally, BenchError> {
        let (path, span) = (self.drive.method.path(), self.span);
        let items = u64::from(self.drive.method.items());
        let source = Arc::new(std::sync::Mutex::new(self.source));
        let callers: Vec<_> = (0..in_flight.max(1))
            .map(|_| {
                let (channel, source) = (self.channel.clone(), source.clone());
                tokio::spawn(async move {
                    let mut tally = Tally::new()?;
                    while Instant::now() < span.end {
                        let next = source
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .next();
                        let Some(request) = next else {
                            tally.ran_out();
                            break;
                        };
                        let since = Instant::now();
                        let answer = call(channel.clone(), path, request).await;
                        tally.count(span, since, items, answer.map(drop));
                    }
                    Ok::<Tally, BenchError>(tally)
                })
            })
            .collect();
        let mut sum = Tally::new()?;
        for caller in callers {
            let lost = |error: tokio::task::JoinError| BenchError::Nonsense(error.to_string());
            sum.merge(&caller.await.map_err(lost)??);
        }
        Ok(sum)
    }
}

/// One call with encoded messages.
async fn call(
    channel: Channel,
    path: &'static str,
    request: Bytes,
) -> Result<Bytes, tonic::Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    client
        .ready()
        .await
        .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = client
        .unary(tonic::Request::new(request), path, Raw)
        .await?;
    Ok(answer.into_inner())
}
