//! What durable events cost against what the disk and sled cost: `cargo bench --bench store`; for a long time with `-- --sustained 600`.
//!
//! In turns, in one run and in one directory: appending the same bytes to a file with fdatasync (the floor), sled's own read, change and write
//! followed by flush and fdatasync, our engine in process, and the server over gRPC. Events about people drawn at random, of whom all have a record.
mod sustained;

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hermod::bench::Spread;
use hermod::bench::calls::{in_a_process, serving};
use hermod::bench::drive::{Drive, Load, Measured};
use hermod::bench::method::{Method, Population};
use hermod::bench::process::Process;
use hermod::bench::world::World;
use hermod::store::records::MergeRecords;
use hermod::store::{
    Batch, Change, Engine as _, Outcome, Partition, SledEngine, SledOptions, StoreError,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Measures durable events.
#[derive(Parser)]
struct Args {
    /// People who have a record.
    #[arg(long, default_value_t = 1_000_000)]
    people: u64,
    /// Bytes of a record, where the records are not the server's own.
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Events acknowledged together.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// Turns; each measures everything once, and the order alternates.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Length of each measurement, seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Instead of all that: events at one rate for so many seconds, and what waits to be folded meanwhile.
    #[arg(long, value_name = "SECONDS")]
    sustained: Option<f64>,
    /// Events a second of that.
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// Where the files are [default: the system's directory for temporary ones].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Memory that all records take on no side, bytes.
const IN_MEMORY_BYTES: u64 = 4 << 30;

type Failure = Box<dyn Error>;

/// Events a second of each in one turn, and what the single ones waited.
#[derive(Default)]
struct Turns {
    append: Vec<f64>,
    sled: Vec<f64>,
    engine: Vec<f64>,
    batches: Vec<f64>,
    singles: Vec<f64>,
    singles_p99_us: Vec<f64>,
    fdatasync_us: Vec<f64>,
}

struct Bench {
    args: Args,
    directory: tempfile::TempDir,
    rng: ChaCha8Rng,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let directory = match &args.dir {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let rng = ChaCha8Rng::seed_from_u64(1);
    let mut bench = Bench {
        args,
        directory,
        rng,
    };
    if let Some(seconds) = bench.args.sustained {
        return sustained::run(&bench, seconds, bench.args.rate);
    }
    let turns = bench.run()?;
    print!("{}", text(&bench.args, &turns));
    Ok(())
}

impl Bench {
    fn run(&mut self) -> Result<Turns, Failure> {
        eprintln!("filling three stores with {} records", self.args.people);
        let sled = self.filled_sled()?;
        let engine = self.filled_engine()?;
        let world = self.filled_world()?;
        let settings = [
            // A call counts until its answer is out, so as many callers as calls are allowed meet the limit now and then.
            "server.concurrent_requests_max=2048".to_owned(),
            in_memory(),
        ];
        let server = Process::start(&program(), "hermod", &serving(&world.directory, &settings))?;
        let mut turns = Turns::default();
        for turn in 0..self.args.turns.max(1) {
            eprintln!("turn {} of {}", turn + 1, self.args.turns);
            let mut order = [0, 1, 2, 3];
            if turn % 2 == 1 {
                order.reverse();
            }
            for what in order {
                match what {
                    0 => self.append(&mut turns)?,
                    1 => turns.sled.push(self.sled(&sled)?),
                    2 => turns.engine.push(self.engine(&engine)?),
                    _ => self.server(&server, turn as u64, &mut turns)?,
                }
            }
        }
        server.stop()?;
        tokio::runtime::Builder::new_current_thread()
            .build()?
            .block_on(engine.close())?;
        Ok(turns)
    }

    fn filled_world(&self) -> Result<World, Failure> {
        let world = World {
            directory: self.directory.path().join("server"),
            population: self.population(),
            variants: (5, 50),
            seed: 1,
        };
        world.fill(&())?;
        Ok(world)
    }

    fn population(&self) -> Population {
        Population {
            people: self.args.people,
            experiments: 100,
        }
    }

    /// Repeats a batch until the time is over; events a second.
    fn timed(
        &mut self,
        mut batch: impl FnMut(&mut Self) -> Result<(), Failure>,
    ) -> Result<f64, Failure> {
        let (begun, limit) = (Instant::now(), Duration::from_secs_f64(self.args.seconds));
        let mut batches = 0;
        while begun.elapsed() < limit {
            batch(self)?;
            batches += 1;
        }
        Ok((batches * self.args.batch) as f64 / begun.elapsed().as_secs_f64())
    }

    /// The floor: the bytes of a batch of records behind one another, then fdatasync.
    fn append(&mut self, turns: &mut Turns) -> Result<(), Failure> {
        let path = self.directory.path().join("floor");
        let mut file = File::create(&path)?;
        let bytes = vec![7; self.args.batch * (16 + self.args.bytes)];
        let mut syncs = Vec::new();
        let rate = self.timed(|_| {
            file.write_all(&bytes)?;
            let begun = Instant::now();
            file.sync_data()?;
            syncs.push(begun.elapsed().as_secs_f64() * 1e6);
            Ok(())
        })?;
        turns.append.push(rate);
        turns.fdatasync_us.push(Spread::of(syncs).median);
        Ok(std::fs::remove_file(path)?)
    }

    fn key(&mut self) -> [u8; 16] {
        key(self.rng.random_range(0..self.args.people))
    }

    fn filled_sled(&self) -> Result<(sled::Db, File), Failure> {
        let path = self.directory.path().join("sled");
        let options = sled::Config::new()
            .path(&path)
            .cache_capacity(IN_MEMORY_BYTES);
        let database = options.flush_every_ms(None).open()?;
        for person in 0..self.args.people {
            database.insert(key(person), vec![1; self.args.bytes])?;
        }
        database.flush()?;
        Ok((database, File::open(path.join("db"))?))
    }

    fn sled(&mut self, (database, file): &(sled::Db, File)) -> Result<f64, Failure> {
        self.timed(|bench| {
            for _ in 0..bench.args.batch {
                let key = bench.key();
                let mut value = database.get(key)?.ok_or("a record is missing")?.to_vec();
                bump(&mut value);
                database.insert(key, value)?;
            }
            database.flush()?;
            Ok(file.sync_data()?)
        })
    }

    fn filled_engine(&self) -> Result<SledEngine, Failure> {
        let options = SledOptions {
            records_bytes: IN_MEMORY_BYTES,
            ..SledOptions::new(self.directory.path().join("engine"))
        };
        let engine = SledEngine::open(options, Arc::new(MergeRecords))?;
        for person in 0..self.args.people {
            let put = Change::Put {
                key: key(person).to_vec(),
                value: vec![1; self.args.bytes],
                expected: None,
            };
            commit(&engine, partition(person, &engine), put)?;
            if person % 10_000 == 0 {
                engine.flush().wait()?;
            }
        }
        engine.flush().wait()?;
        Ok(engine)
    }

    fn engine(&mut self, engine: &SledEngine) -> Result<f64, Failure> {
        self.timed(|bench| {
            let mut last = None;
            for _ in 0..bench.args.batch {
                let person = bench.rng.random_range(0..bench.args.people);
                let (partition, key) = (partition(person, engine), key(person));
                let stored = engine.read(partition, &key).wait()?;
                let stored = stored.ok_or("a record is missing")?;
                let mut value = stored.value.to_vec();
                bump(&mut value);
                let put = Change::Put {
                    key: key.to_vec(),
                    value,
                    expected: Some(stored.version),
                };
                last = Some(commit(engine, partition, put)?);
            }
            let last = last.ok_or("an empty batch")?;
            Ok(engine.durable(last).wait()?)
        })
    }

    fn server(&self, server: &Process, turn: u64, turns: &mut Turns) -> Result<(), Failure> {
        let load = |in_flight| Load::Closed { in_flight };
        let seconds = self.args.seconds;
        let batches = self.drive_for(server, Method::Report, load(2), seconds, 2 * turn)?;
        turns.batches.push(batches.per_second);
        let singles =
            self.drive_for(server, Method::ReportOne, load(128), seconds, 2 * turn + 1)?;
        turns.singles.push(singles.per_second);
        turns.singles_p99_us.push(singles.p99_us);
        Ok(())
    }

    fn drive_for(
        &self,
        server: &Process,
        method: Method,
        load: Load,
        seconds: f64,
        seed: u64,
    ) -> Result<Measured, Failure> {
        let drive = Drive {
            address: server.address.clone(),
            method,
            load,
            connections: 8,
            warm_up_seconds: seconds / 4.0,
            seconds,
            population: self.population(),
            seed,
            repeats: false,
        };
        Ok(in_a_process(&program(), &drive, || Ok(()))?.measured)
    }
}

/// All people in memory, as sled has its records: with their mails they are several times as large.
fn in_memory() -> String {
    format!("store.cache_bytes={}", 2 * IN_MEMORY_BYTES)
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_hermod")).to_owned()
}

fn key(person: u64) -> [u8; 16] {
    // Spread over the tree, as hashes are.
    u128::from(person)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        .to_be_bytes()
}

fn partition(person: u64, engine: &SledEngine) -> Partition {
    Partition((person % u64::from(engine.partitions())) as u16)
}

fn bump(value: &mut [u8]) {
    if let Some(first) = value.first_mut() {
        *first = first.wrapping_add(1);
    }
}

fn commit(
    engine: &SledEngine,
    partition: Partition,
    change: Change,
) -> Result<hermod::store::Ticket, Failure> {
    let batch = Batch {
        changes: vec![change],
    };
    loop {
        match engine.commit(partition, batch.clone()).wait() {
            Ok(Outcome::Committed(ticket)) => return Ok(ticket),
            Ok(Outcome::Conflict { .. }) => {
                return Err("a conflict where nobody else writes".into());
            }
            // Folding has to catch up first; that is part of what it costs.
            Err(StoreError::Unavailable {
                retryable: true, ..
            }) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn text(args: &Args, turns: &Turns) -> String {
    let spread = |values: &[f64]| {
        let Spread { median, low, high } = Spread::of(values.iter().copied());
        format!("{median:>10.0} [{low:.0}, {high:.0}]")
    };
    let over = |own: &[f64], other: &[f64]| {
        let ratios = own.iter().zip(other).map(|(own, other)| own / other);
        let Spread { median, low, high } = Spread::of(ratios);
        format!("{median:.2} [{low:.2}, {high:.2}]")
    };
    let row = |name: &str, own: &[f64]| {
        format!(
            "{name:<34} {:<34} {:<22} {}\n",
            spread(own),
            over(own, &turns.sled),
            over(own, &turns.append)
        )
    };
    let mut text = format!(
        "Durable events a second, {} at a time, {} people; median of {} turns [smallest, largest], ratios of the same turn\n\n{:<34} {:<34} {:<22} {}\n",
        args.batch, args.people, args.turns, "", "events a second", "over sled", "over append"
    );
    text += &row("append and fdatasync", &turns.append);
    text += &row("sled: read, change, write, sync", &turns.sled);
    text += &row("our engine, in process", &turns.engine);
    text += &row("ReportEvents of 1,000 over gRPC", &turns.batches);
    text += &row("ReportEvents of 1, 1,024 callers", &turns.singles);
    text += &format!(
        "\n1,024 callers: p99 {} us, which is {} fdatasyncs of {} us\n",
        spread(&turns.singles_p99_us).trim(),
        over(&turns.singles_p99_us, &turns.fdatasync_us),
        spread(&turns.fdatasync_us).trim()
    );
    text
}
