//! `hermod bench growth`: costs by the number of people.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{failure, io_failure, program};
use crate::bench::growth::{Options, Size, measure};
use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, table};

/// Disk, starts, memory and CPU time per decision at several numbers of people; a store is filled for each
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Numbers of people
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    people: Vec<u64>,
    /// Running experiments, with 5 to 50 variants and 8 segments
    #[arg(long, default_value_t = 100)]
    experiments: u64,
    /// Directory in which the stores are made [default: a temporary one]; some 2 KB of disk a person are needed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the stores in the directory, and use those that are there
    #[arg(long, requires = "dir")]
    keep: bool,
    /// Length of each measurement, seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections of the client
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Further settings of the server
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Seed of the stores and of all requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measures and prints.
///
/// # Errors
/// A process, a call or a store failed.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let temporary;
    let directory = match &args.dir {
        Some(directory) => directory.clone(),
        None => {
            temporary = tempfile::tempdir().map_err(io_failure)?;
            temporary.path().to_owned()
        }
    };
    std::fs::create_dir_all(&directory).map_err(io_failure)?;
    let options = Options {
        program: program()?,
        directory,
        people: args.people.clone(),
        experiments: args.experiments,
        seconds: args.seconds,
        connections: args.connections,
        settings: args.settings.clone(),
        keep: args.keep,
        seed: args.seed,
    };
    let sizes = measure(&options, &Bar::new()).map_err(failure)?;
    args.output.show(&sizes, &text(&sizes))
}

fn text(sizes: &[Size]) -> String {
    let mut headings = vec![
        "people",
        "disk bytes/person",
        "start after stop ms",
        "start after kill ms",
        "MiB once started",
        "MiB after all calls",
    ];
    let costs: Vec<[String; 2]> = sizes.first().map_or_else(Vec::new, |size| {
        let heads = size.costs.iter().map(|cost| {
            let title = cost.method.title();
            [format!("{title} warm us"), format!("{title} cold us")]
        });
        heads.collect()
    });
    headings.extend(costs.iter().flatten().map(String::as_str));
    let row = |size: &Size| {
        let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
        let mut row = vec![
            size.people.to_string(),
            format!("{:.0}", size.disk_bytes_per_person),
            format!("{:.0}", size.start_clean_ms),
            format!("{:.0}", size.start_killed_ms),
            mib(size.resident_started_bytes),
            mib(size.resident_bytes),
        ];
        for cost in &size.costs {
            row.extend([
                format!("{:.1}", cost.warm_us),
                format!("{:.1}", cost.cold_us),
            ]);
        }
        row
    };
    table(&headings, sizes.iter().map(row).collect())
}
