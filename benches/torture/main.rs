//! `cargo bench --bench torture -- crash --kills 200 --seed 1`: faults against the real binary, compared with a model of what was acknowledged.
//!
//! Ends with status 1, the seed and the directory when anything was lost, doubled or wrong.

mod growth;
#[path = "harness.rs"]
mod harness;
mod load;
mod overload;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::campaign::{self, Kill, Plan};
use harness::child::Place;
use harness::image::Image;
use harness::report::Report;
use harness::trouble::{self, Ballast, Refusals};

/// Bytes of the file system whose power is cut; it holds nothing but what is written.
const POWER_IMAGE_BYTES: u64 = 2 << 30;
/// Bytes of the file system that is filled.
const FULL_IMAGE_BYTES: u64 = 384 << 20;

/// Faults against the real binary
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Command {
    #[command(subcommand)]
    what: What,
    /// Print the report as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Torture {
    /// Kill -9 at random moments under concurrent load
    Crash(Args),
    /// Power cuts on a file system of its own: needs root and loop devices
    Power {
        #[command(flatten)]
        args: Args,
        /// Let the server's syncs do nothing, to see that the cuts are real: it must lose something
        #[arg(long)]
        without_sync: bool,
    },
    /// A disk that fills up under load, and gets space again: needs root and loop devices
    Full {
        #[command(flatten)]
        args: Args,
        /// Free bytes that the server is to keep (store.free_bytes_min); 0 lets the disk really fill up
        #[arg(long, default_value_t = 64 << 20)]
        reserve: u64,
    },
    /// A disk whose writes fail with an error number for a while: 28 full, 30 read-only, 5 broken
    Refusing {
        #[command(flatten)]
        args: Args,
        /// The error number
        #[arg(long, default_value_t = 30)]
        error: i32,
    },
}

/// What is done.
#[derive(Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Torture(Torture),
    /// Not a fault: how the store's files grow as records are rewritten
    Growth(growth::Growth),
    /// Not a fault: twice the load that the server can carry, then half of it
    Overload(overload::Overload),
    /// Not a fault: a mixed load for minutes, and the memory it takes
    Soak(soak::Soak),
}

#[derive(Debug, Clone, clap::Args)]
struct Args {
    /// Faults in all
    #[arg(long, visible_aliases = ["rounds", "cuts"], default_value_t = 200)]
    kills: u64,
    /// Decides the callers' moves and the moments of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Concurrent callers
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Most acknowledgements from one fault to the next
    #[arg(long, default_value_t = 3_000)]
    acknowledgements: u64,
    /// An existing directory to work in, kept afterwards [default: a temporary one, kept when anything failed]
    #[arg(long)]
    directory: Option<PathBuf>,
}

// === impl Args ===

impl Args {
    fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            callers: self.callers,
            faults: self.kills,
            stop_every: 20,
            acknowledgements_max: self.acknowledgements,
        }
    }
}

// === impl Torture ===

impl Torture {
    fn args(&self) -> &Args {
        match self {
            Torture::Crash(args) | Torture::Power { args, .. } => args,
            Torture::Full { args, .. } | Torture::Refusing { args, .. } => args,
        }
    }

    async fn run(&self, mut place: Place) -> Result<Report, String> {
        let plan = self.args().plan();
        let image = |bytes| {
            let file = place.directory.join("image");
            Image::mounted(file, place.data(), bytes)
        };
        match self {
            Torture::Crash(_) => campaign::run(&place, plan, &mut Kill).await,
            Torture::Power { without_sync, .. } => {
                let mut image = image(POWER_IMAGE_BYTES)?;
                if *without_sync {
                    Refusals::without_syncing(&mut place)?;
                }
                campaign::run(&place, plan, &mut image).await
            }
            Torture::Full { reserve, .. } => {
                let _mounted = image(FULL_IMAGE_BYTES)?;
                let ballast = Ballast(place.data().join("ballast"));
                place.settings = vec![format!("store.free_bytes_min={reserve}")];
                trouble::run(&place, plan, ballast).await
            }
            Torture::Refusing { error, .. } => {
                let refusals = Refusals::install(&mut place, *error)?;
                trouble::run(&place, plan, refusals).await
            }
        }
    }
}

fn main() -> ExitCode {
    let command = Command::parse();
    match &command.what {
        What::Torture(torture) => match run(torture) {
            Ok(report) => finish(&report, command.json),
            Err(error) => failed(&error),
        },
        What::Growth(growth) => match tempfile::tempdir().map(|at| growth.run(at.path())) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(error)) => failed(&error.to_string()),
            Err(error) => failed(&error.to_string()),
        },
        What::Overload(overload) => play(async |place| overload.run(place).await),
        What::Soak(soak) => play(async |place| soak.run(place).await),
    }
}

/// Plays something in a directory that is thrown away, and says what was not as promised.
fn play(run: impl AsyncFn(&Place) -> Result<Vec<String>, String>) -> ExitCode {
    let played = (|| {
        let text = |error: std::io::Error| error.to_string();
        let runtime = tokio::runtime::Runtime::new().map_err(text)?;
        let temporary = tempfile::tempdir().map_err(text)?;
        runtime.block_on(run(&place_in(temporary.path().to_owned())))
    })();
    match played {
        Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
        Ok(broken) => failed(&broken.join("\n")),
        Err(error) => failed(&error),
    }
}

fn place_in(directory: PathBuf) -> Place {
    Place {
        binary: env!("CARGO_BIN_EXE_hermod").into(),
        directory,
        settings: Vec::new(),
        environment: Vec::new(),
    }
}

fn run(torture: &Torture) -> Result<Report, String> {
    let text = |error: std::io::Error| error.to_string();
    let runtime = tokio::runtime::Runtime::new().map_err(text)?;
    let args = torture.args();
    let temporary = tempfile::tempdir().map_err(text)?;
    let own = args.directory.clone();
    let place = place_in(own.unwrap_or_else(|| temporary.path().to_owned()));
    let directory = place.directory.clone();
    let result = runtime.block_on(torture.run(place));
    if !matches!(&result, Ok(report) if report.violations.is_empty()) {
        let _ = temporary.keep();
        eprintln!("seed {}; kept: {}", args.seed, directory.display());
    }
    result
}

fn finish(report: &Report, json: bool) -> ExitCode {
    match json {
        true => println!(
            "{}",
            serde_json::to_string_pretty(report).unwrap_or_default()
        ),
        false => print!("{}", report.text()),
    }
    match report.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
