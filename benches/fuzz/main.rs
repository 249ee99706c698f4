//! `cargo bench --bench fuzz -- [--seconds N] [--target NAME] [--seed N] [--rounds N] [--inputs N]`: fuzzes every door, or one.
//!
//! Invariant: whatever goes wrong (a panic, more memory than an input may take, no end) ends the run with the input in hexadecimal and the
//! command that repeats it. Needs nothing but stable Rust.
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;

#[path = "harness.rs"]
mod harness;

use harness::doors::Door;
use harness::files::Samples;
use harness::mutation::from_hex;

/// Most memory that trying one input may take beyond what was held before, bytes.
const MEMORY_MAX: usize = 256 << 20;
/// Longest that one input may take; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fuzz every place where bytes come in from outside
#[derive(Parser)]
struct Args {
    /// How long each target is fuzzed
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Only this target: token, records, requests, events, backup, import, config, keys
    #[arg(long)]
    target: Option<String>,
    /// Seed of the first round; the next ones follow it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after so many rounds
    #[arg(long, default_value_t = u64::MAX)]
    rounds: u64,
    /// Stop a round after so many inputs
    #[arg(long, default_value_t = u64::MAX)]
    inputs: u64,
    /// Try this one input, in hexadecimal; not for requests and events, which have a history
    #[arg(long)]
    input: Option<String>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Counts what is held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters beside it change nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The input being tried, for whoever has to print it.
static LAST: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static TRIED: AtomicU64 = AtomicU64::new(0);
static FINISHED: AtomicBool = AtomicBool::new(false);

fn last() -> String {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ends the process when an input does not end.
fn watch() {
    let (mut seen, mut since) = (0, Instant::now());
    while !FINISHED.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(500));
        let tried = TRIED.load(Ordering::Relaxed);
        if tried != seen {
            (seen, since) = (tried, Instant::now());
        } else if since.elapsed() > PATIENCE {
            eprintln!("no end after {PATIENCE:?}; input {}", last());
            std::process::exit(1);
        }
    }
}

#[derive(Default)]
struct Count {
    rounds: u64,
    inputs: u64,
    memory_max: usize,
    slowest: Duration,
}

/// Plays rounds until the time is over; the seed of the round that went wrong.
fn fuzz(door: Door, args: &Args, samples: &Samples) -> Result<Count, String> {
    let (started, mut count) = (Instant::now(), Count::default());
    let limit = Duration::from_secs(args.seconds);
    while started.elapsed() < limit && count.rounds < args.rounds {
        let seed = args.seed + count.rounds;
        let (mut in_round, mut began) = (0, Instant::now());
        let before = HELD.load(Ordering::Relaxed);
        let mut memory = 0;
        let played = catch_unwind(AssertUnwindSafe(|| {
            door.round(samples, seed, args.inputs, &mut |input| {
                let peak = PEAK.swap(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
                memory = memory.max(peak.saturating_sub(before));
                assert!(memory <= MEMORY_MAX, "{memory} bytes for one input");
                count.slowest = count.slowest.max(began.elapsed());
                began = Instant::now();
                in_round += 1;
                TRIED.fetch_add(1, Ordering::Relaxed);
                let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
                last.clear();
                last.extend_from_slice(input);
            })
        }));
        if played.is_err() {
            return Err(format!(
                "input {}\nagain: cargo bench --bench fuzz -- --target {} --seed {seed} --rounds 1 --inputs {in_round}",
                last(),
                door.name()
            ));
        }
        count.rounds += 1;
        count.inputs += in_round;
        count.memory_max = count.memory_max.max(memory);
    }
    Ok(count)
}

fn doors(args: &Args) -> Vec<Door> {
    let wanted = |door: &Door| {
        args.target
            .as_deref()
            .is_none_or(|name| name == door.name())
    };
    Door::ALL.into_iter().filter(wanted).collect()
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (doors, samples) = (doors(&args), Samples::new());
    if doors.is_empty() {
        eprintln!("no such target; --help names them");
        return ExitCode::from(2);
    }
    if let Some(input) = &args.input {
        let input = from_hex(input);
        doors
            .iter()
            .for_each(|door| door.try_input(&samples, &input));
        return ExitCode::SUCCESS;
    }
    let watcher = std::thread::spawn(watch);
    println!("target     rounds     inputs  most memory  longest");
    for door in doors {
        match fuzz(door, &args, &samples) {
            Ok(count) => println!(
                "{:<9}{:>8}{:>11}{:>9.1} MiB{:>6} ms",
                door.name(),
                count.rounds,
                count.inputs,
                count.memory_max as f64 / f64::from(1 << 20),
                count.slowest.as_millis()
            ),
            Err(problem) => {
                eprintln!("{}: {problem}", door.name());
                return ExitCode::FAILURE;
            }
        }
    }
    FINISHED.store(true, Ordering::Relaxed);
    let _ = watcher.join();
    ExitCode::SUCCESS
}
