//! `cargo bench --bench backup_pause -- [--recipients N]`: how long commits are held up while a backup of a store on disk is taken, and
//! how long such a store takes to open.
//!
//! Invariant: the same commits are made with and without a backup; every one is timed from its call to its durability.
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use hermod::domain::name::{RecipientKey, TenantId};
use hermod::ops::compose::open_store_at;
use hermod::store::backup::{FORMAT, Manifest, write_snapshot};
use hermod::store::records::key;
use hermod::store::{Batch, Change, Engine, Outcome, Partition, StoreError};

const PARTITIONS: u16 = 32;
/// Bytes of a stored recipient with some months of history.
const RECIPIENT_BYTES: usize = 1_000;
/// Callers that commit all the time.
const CALLERS: u64 = 8;

/// Measure commits during a backup
#[derive(Parser)]
struct Args {
    /// Recipients in the store
    #[arg(long, default_value_t = 100_000)]
    recipients: u64,
    /// How long commits are timed without a backup, seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn recipient(number: u64) -> (Partition, Vec<u8>) {
    let hash = blake3::hash(&number.to_le_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    let id = RecipientKey(id);
    let partition = Partition(id.partition(PARTITIONS));
    (partition, key::recipient(TenantId::DEFAULT, id))
}

/// Bytes that do not compress, as hashes and numbers do not.
fn value(number: u64, change: u64) -> Vec<u8> {
    let mut bytes = vec![0; RECIPIENT_BYTES];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&change.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Commits one recipient; when it is durable.
fn commit(
    engine: &dyn Engine,
    number: u64,
    change: u64,
    is_durable: bool,
) -> Result<(), StoreError> {
    let (partition, key) = recipient(number);
    let put = Change::Put {
        key,
        value: value(number, change),
        expected: None,
    };
    let batch = Batch { changes: vec![put] };
    loop {
        match engine.commit(partition, batch.clone()).wait() {
            Ok(Outcome::Committed(ticket)) if is_durable => return engine.durable(ticket).wait(),
            Ok(_) => return Ok(()),
            // So many at once that folding has to catch up.
            Err(StoreError::Unavailable {
                retryable: true, ..
            }) => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error),
        }
    }
}

fn fill(engine: &dyn Engine, recipients: u64) -> Result<(), StoreError> {
    (0..recipients).try_for_each(|number| commit(engine, number, 0, false))?;
    engine.flush().wait()
}

/// Times commits by several callers until told to stop.
fn timed(engine: &dyn Engine, recipients: u64, stop: &AtomicBool) -> Vec<Duration> {
    let caller = |caller: u64| {
        let mut times = Vec::new();
        let mut change = 1;
        while !stop.load(Ordering::Relaxed) {
            let number = (caller + CALLERS * change * 7_919) % recipients.max(1);
            let started = Instant::now();
            if commit(engine, number, change, true).is_ok() {
                times.push(started.elapsed());
            }
            change += 1;
        }
        times
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| scope.spawn(move || caller(number)))
            .collect();
        let times = callers.into_iter().filter_map(|caller| caller.join().ok());
        let mut times: Vec<Duration> = times.flatten().collect();
        times.sort();
        times
    })
}

fn told(what: &str, times: &[Duration]) {
    let at = |share: f64| {
        let index = (share * times.len().saturating_sub(1) as f64) as usize;
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{what:<22}{:>9} commits   p50 {:>7.1} ms   p99 {:>7.1} ms   longest {:>7.1} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn backup(engine: &dyn Engine, path: &Path) -> Result<(f64, u64), Box<dyn std::error::Error>> {
    let manifest = Manifest {
        format: FORMAT,
        name: "pause".to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at_ms: 0,
        partitions: PARTITIONS,
        sequences: Vec::new(),
        recipient_key_fingerprint: String::new(),
    };
    let file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let (_, totals, held_up) = write_snapshot(engine, manifest, file, |_| true)?;
    Ok((held_up, totals.rows))
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let engine = open_store_at(path.clone(), PARTITIONS)?;
    let started = Instant::now();
    fill(engine.as_ref(), args.recipients)?;
    println!(
        "{} recipients written in {:.1} s",
        args.recipients,
        started.elapsed().as_secs_f64()
    );
    engine.close().wait()?;
    drop(engine);
    let started = Instant::now();
    let engine: Arc<dyn Engine> = open_store_at(path, PARTITIONS)?;
    println!(
        "opened, every record looked at, in {:.2} s",
        started.elapsed().as_secs_f64()
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
        let quiet = scope.spawn(|| timed(engine.as_ref(), args.recipients, &stop));
        std::thread::sleep(Duration::from_secs(args.seconds));
        stop.store(true, Ordering::Relaxed);
        told("without a backup", &quiet.join().unwrap_or_default());
        stop.store(false, Ordering::Relaxed);
        let busy = scope.spawn(|| timed(engine.as_ref(), args.recipients, &stop));
        let started = Instant::now();
        let taken = backup(engine.as_ref(), &directory.path().join("backup"));
        let took = started.elapsed();
        stop.store(true, Ordering::Relaxed);
        told("while one is taken", &busy.join().unwrap_or_default());
        let (held_up, rows) = taken?;
        println!(
            "backup of {rows} records in {:.1} s; all commits held up for {:.2} ms",
            took.as_secs_f64(),
            held_up * 1e3
        );
        Ok(())
    })?;
    engine.close().wait()?;
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
