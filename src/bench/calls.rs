//! Calls against hermod and against services that do nothing, in turns.
//!
//! Each turn drives every server once, forth in one turn and back in the next, so that a machine that slows down slows all alike. First as fast as
//! it goes; then at a fifth of what hermod did, in an open loop, where waiting is counted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::drive::{Drive, Load, Measured};
use super::method::{Method, Population};
use super::process::{Process, Usage, own_usage};
use super::{BenchError, Spread};
use crate::lab::Progress;

/// Share of hermod's own rate at which waiting is measured.
const QUIET_SHARE: f64 = 0.2;

/// Fewer calls than this say nothing of how long calls wait.
const QUIET_CALLS_MIN: f64 = 20.0;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program: `hermod` itself.
    pub program: PathBuf,
    /// A filled data directory.
    pub directory: PathBuf,
    /// What it was filled with.
    pub population: Population,
    /// The calls.
    pub methods: Vec<Method>,
    /// Turns; each drives every server once.
    pub turns: usize,
    /// Length of what is counted in each, seconds.
    pub seconds: f64,
    /// Connections of the client.
    pub connections: usize,
    /// Further `KEY=VALUE` settings of the server.
    pub settings: Vec<String>,
    /// Fixes the requests.
    pub seed: u64,
}

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// hermod.
    Hermod,
    /// Nothing, on the runtime that hermod serves on.
    NoopPerCore,
    /// Nothing, on tokio's runtime of many threads.
    NoopMultiThread,
}

/// What a client process answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Driven {
    /// What was measured.
    pub measured: Measured,
    /// CPU time of the client, microseconds.
    pub client_cpu_us: f64,
}

/// One drive of one server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn {
    /// What was measured.
    pub measured: Measured,
    /// CPU time of the server, microseconds per answer.
    pub server_cpu_us: f64,
    /// The part of it on the threads that answer; 0 where they have no name of their own.
    pub answering_us: f64,
    /// CPU time of the client, microseconds per answer.
    pub client_cpu_us: f64,
}

/// What one server did over all turns.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The server.
    pub side: Side,
    /// Answers a second.
    pub per_second: Spread,
    /// Of the same turn: hermod's rate over this server's.
    pub ratio: Spread,
    /// CPU time of the server, microseconds per answer.
    pub server_cpu_us: Spread,
    /// The part of it on the threads that answer.
    pub answering_us: Spread,
    /// CPU time of the client, microseconds per answer.
    pub client_cpu_us: Spread,
    /// Waiting at saturation, microseconds.
    pub p50_us: Spread,
    /// 99 % at saturation.
    pub p99_us: Spread,
    /// 99.9 % at saturation.
    pub p999_us: Spread,
    /// Waiting at a fifth of hermod's rate, microseconds.
    pub quiet_p50_us: Spread,
    /// 99 % at a fifth.
    pub quiet_p99_us: Spread,
    /// 99.9 % at a fifth.
    pub quiet_p999_us: Spread,
    /// Of the same turn: hermod's 99 % over this server's.
    pub quiet_p99_ratio: Spread,
}

/// One call compared.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The call.
    pub method: Method,
    /// One row a server, of the turns that were finished.
    pub rows: Vec<Row>,
    /// Why there are not as many turns as were asked for.
    pub failed: Option<String>,
}

/// What a client process says before its first call.
const READY: &str = "ready";
const SIDES: [Side; 3] = [Side::Hermod, Side::NoopPerCore, Side::NoopMultiThread];

/// A server and what it did.
struct Runner {
    side: Side,
    process: Process,
    saturated: Vec<Turn>,
    quiet: Vec<Turn>,
}

/// Compares the calls.
///
/// Where calls fail, what was measured before is kept, and the failure with it.
///
/// # Errors
/// A server does not start or does not end well.
pub fn compare(options: &Options, progress: &impl Progress) -> Result<Vec<Compared>, BenchError> {
    let mut runners = SIDES
        .into_iter()
        .map(|side| Runner::start(side, options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut compared = Vec::new();
    for method in &options.methods {
        let steps = 2 * SIDES.len() * options.turns;
        progress.begin(method.title(), steps as u64);
        let mut turns = 0..options.turns;
        let played =
            turns.try_for_each(|turn| play(options, *method, turn, &mut runners, progress));
        compared.push(Compared {
            method: *method,
            rows: rows(&runners),
            failed: played.err().map(|error| error.to_string()),
        });
        for runner in &mut runners {
            runner.saturated.clear();
            runner.quiet.clear();
        }
    }
    runners
        .into_iter()
        .try_for_each(|runner| match runner.side {
            Side::Hermod => runner.process.stop(),
            // It has nothing to put in order.
            Side::NoopPerCore | Side::NoopMultiThread => runner.process.kill(),
        })?;
    Ok(compared)
}

fn play(
    options: &Options,
    method: Method,
    turn: usize,
    runners: &mut [Runner],
    progress: &impl Progress,
) -> Result<(), BenchError> {
    let mut order: Vec<usize> = (0..runners.len()).collect();
    if turn % 2 == 1 {
        order.reverse();
    }
    let closed = Load::Closed {
        in_flight: method.in_flight(),
    };
    let seed = options.seed.wrapping_add(turn as u64);
    for at in &order {
        if let Some(runner) = runners.get_mut(*at) {
            let turn = runner.turn(options, method, closed, seed)?;
            runner.saturated.push(turn);
        }
        progress.advance(1);
    }
    let last = own(runners).and_then(|own| own.saturated.last());
    let rate = last.map_or(0.0, |turn| turn.measured.per_second);
    let per_second = QUIET_SHARE * rate / f64::from(method.items());
    let open = Load::Open { per_second };
    // Messages of a stream have no beginning of their own to wait from, and a few calls have no percentiles.
    let is_quiet_measured =
        method != Method::Stream && per_second * options.seconds >= QUIET_CALLS_MIN;
    for at in &order {
        // What calls before have left to be done is not part of what these wait for, whichever server they go to.
        if let Some(own) = own(runners).filter(|_| is_quiet_measured) {
            own.process.settle()?;
        }
        if is_quiet_measured && let Some(runner) = runners.get_mut(*at) {
            let turn = runner.turn(options, method, open, seed.wrapping_add(1 << 32))?;
            runner.quiet.push(turn);
        }
        progress.advance(1);
    }
    Ok(())
}

fn own(runners: &[Runner]) -> Option<&Runner> {
    runners.iter().find(|runner| runner.side == Side::Hermod)
}

// === impl Runner ===

impl Runner {
    fn start(side: Side, options: &Options) -> Result<Self, BenchError> {
        let (name, arguments) = match side {
            Side::Hermod => ("hermod", serving(&options.directory, &options.settings)),
            Side::NoopPerCore => ("no-op per core", noop("per-core")),
            Side::NoopMultiThread => ("no-op multi-thread", noop("multi-thread")),
        };
        let process = Process::start(&options.program, name, &arguments)?;
        if side == Side::Hermod {
            process.settle()?;
        }
        Ok(Self {
            side,
            process,
            saturated: Vec::new(),
            quiet: Vec::new(),
        })
    }

    fn turn(
        &self,
        options: &Options,
        method: Method,
        load: Load,
        seed: u64,
    ) -> Result<Turn, BenchError> {
        let drive = Drive {
            address: self.process.address.clone(),
            method,
            load,
            connections: options.connections,
            warm_up_seconds: options.seconds / 4.0,
            seconds: options.seconds,
            population: options.population,
            seed,
            repeats: self.side != Side::Hermod,
        };
        let mut before = Usage::default();
        let driven = in_a_process(&options.program, &drive, || {
            before = self.process.usage()?;
            Ok(())
        })?;
        let after = self.process.usage()?;
        let items = driven.measured.all_items.max(1) as f64;
        Ok(Turn {
            measured: driven.measured,
            server_cpu_us: (after.cpu_us - before.cpu_us) / items,
            answering_us: (after.answering_us - before.answering_us) / items,
            client_cpu_us: driven.client_cpu_us / items,
        })
    }
}

/// How hermod is served for measurements: as by default, on free ports.
pub fn serving(directory: &Path, settings: &[String]) -> Vec<String> {
    let own = [
        "server.grpc_listen=127.0.0.1:0".to_owned(),
        "server.operations_listen=127.0.0.1:0".to_owned(),
        format!("store.path={}", directory.display()),
        "log.filter=warn".to_owned(),
    ];
    let flags = own.iter().chain(settings);
    let flags = flags.flat_map(|setting| ["--set".to_owned(), setting.clone()]);
    std::iter::once("serve".to_owned()).chain(flags).collect()
}

fn noop(runtime: &str) -> Vec<String> {
    ["bench", "noop", "--runtime", runtime]
        .map(str::to_owned)
        .to_vec()
}

/// Drives from a client process of its own; `ready` is called between its preparations and its first call that counts.
///
/// # Errors
/// It fails, or calls do.
pub fn in_a_process(
    program: &Path,
    drive: &Drive,
    ready: impl FnOnce() -> Result<(), BenchError>,
) -> Result<Driven, BenchError> {
    let failed = |what: String| BenchError::Process {
        process: "the client".to_owned(),
        what,
    };
    let mut order = serde_json::to_vec(drive).map_err(|error| failed(error.to_string()))?;
    order.push(b'\n');
    let mut child = Command::new(program)
        .args(["bench", "drive"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed("it cannot be spoken to".to_owned()));
    };
    input.write_all(&order)?;
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim() == READY {
        ready()?;
        input.write_all(b"\n")?;
        line.clear();
        output.read_line(&mut line)?;
    }
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(failed(said.trim().to_owned()));
    }
    serde_json::from_str(&line).map_err(|error| failed(error.to_string()))
}

/// What a client process does: reads its orders, gets ready, drives, answers.
///
/// # Errors
/// The orders cannot be read, or calls fail.
pub fn obey() -> Result<(), BenchError> {
    let nonsense = |error: serde_json::Error| BenchError::Nonsense(error.to_string());
    let mut order = String::new();
    std::io::stdin().read_line(&mut order)?;
    let drive: Drive = serde_json::from_str(&order).map_err(nonsense)?;
    let mut before = None;
    let measured = super::drive::drive(&drive, || {
        // Whoever does not listen any more has no use for the result either.
        let _ = writeln!(std::io::stdout(), "{READY}");
        let _ = std::io::stdin().read_line(&mut String::new());
        before = own_usage().ok();
    })?;
    let driven = Driven {
        measured,
        client_cpu_us: own_usage()?.cpu_us - before.unwrap_or_default().cpu_us,
    };
    let answer = serde_json::to_string(&driven).map_err(nonsense)?;
    Ok(writeln!(std::io::stdout(), "{answer}")?)
}

fn rows(runners: &[Runner]) -> Vec<Row> {
    let of = |side| runners.iter().find(|runner: &&Runner| runner.side == side);
    let Some(own) = of(Side::Hermod) else {
        return Vec::new();
    };
    runners.iter().map(|runner| row(own, runner)).collect()
}

fn row(own: &Runner, runner: &Runner) -> Row {
    let saturated = |of: fn(&Turn) -> f64| Spread::of(runner.saturated.iter().map(of));
    let quiet = |of: fn(&Turn) -> f64| Spread::of(runner.quiet.iter().map(of));
    let over = |own: &[Turn], other: &[Turn], of: fn(&Turn) -> f64| {
        Spread::of(
            own.iter()
                .zip(other)
                .map(|(own, other)| of(own) / of(other)),
        )
    };
    Row {
        side: runner.side,
        per_second: saturated(|turn| turn.measured.per_second),
        ratio: over(&own.saturated, &runner.saturated, |turn| {
            turn.measured.per_second
        }),
        server_cpu_us: saturated(|turn| turn.server_cpu_us),
        answering_us: saturated(|turn| turn.answering_us),
        client_cpu_us: saturated(|turn| turn.client_cpu_us),
        p50_us: saturated(|turn| turn.measured.p50_us),
        p99_us: saturated(|turn| turn.measured.p99_us),
        p999_us: saturated(|turn| turn.measured.p999_us),
        quiet_p50_us: quiet(|turn| turn.measured.p50_us),
        quiet_p99_us: quiet(|turn| turn.measured.p99_us),
        quiet_p999_us: quiet(|turn| turn.measured.p999_us),
        quiet_p99_ratio: over(&own.quiet, &runner.quiet, |turn| turn.measured.p99_us),
    }
}
