//! `hermod simulate off-policy`: how well hermod's own logs tell what another policy would have got.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::off_policy::{self, Estimator, Options, Report, Target};

/// What another policy would have got, estimated from hermod's own log
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sends in a log
    #[arg(long, default_value_t = 20_000)]
    sends: usize,
    /// True open rates of the variants
    #[arg(long, value_delimiter = ',', default_value = "0.20,0.21,0.22,0.24")]
    rates: Vec<f64>,
    /// Sends between two looks at the answers
    #[arg(long, default_value_t = 100)]
    refresh_sends: usize,
    /// Probability spread evenly over the variants, one set of logs for each
    #[arg(long, value_delimiter = ',', default_value = "0,0.02,0.05,0.1")]
    floors: Vec<f64>,
    /// Weights above this are cut
    #[arg(long, default_value_t = 1_000.0)]
    weight_max: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Logs of each floor, each with its own seed
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// Logs made by the use cases and read from their decision log: the check of all others
    #[arg(long, default_value_t = 8)]
    rig_seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes the logs, evaluates them and prints how far off that was.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        sends: args.sends,
        rates: args.rates,
        refresh_sends: args.refresh_sends,
        floors: args.floors,
        weight_max: args.weight_max,
        seed: args.seed,
        seeds: args.seeds,
        rig_seeds: args.rig_seeds,
    };
    let report = off_policy::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let rows = report.rows.iter().map(|row| {
        let source = if row.through_use_cases {
            "decision log"
        } else {
            "snapshots"
        };
        vec![
            format!("{:.0} %, {source}", 100.0 * row.floor),
            target(row.target).to_owned(),
            estimator(row.estimator).to_owned(),
            format!("{:.2}", 100.0 * row.logged_rate),
            format!("{:.2}", 100.0 * row.truth),
            shown(&row.mean.times(100.0), 2),
            format!("{:.2}", row.bias_in_errors),
            format!("{:.2}", 100.0 * row.rmse),
            shown(&row.coverage_percent, 1),
            format!("{:.0}", row.effective),
        ]
    });
    let headings = [
        "floor, log from",
        "policy",
        "estimator",
        "open rate of the log, %",
        "truth, %",
        "estimate, %",
        "bias, standard errors",
        "RMSE, points",
        "coverage of the 95 % interval, %",
        "effective",
    ];
    format!(
        "{} sends logged under Thompson sampling, a look every {} sends, open rates {:?}, {} logs for each floor from seed {}, {} through the use cases\n{}",
        options.sends,
        options.refresh_sends,
        options.rates,
        options.seeds,
        options.seed,
        options.rig_seeds,
        table(&headings, rows.collect()),
    )
}

fn target(target: Target) -> &'static str {
    match target {
        Target::Worst => "always the worst",
        Target::Uniform => "uniform",
    }
}

fn estimator(estimator: Estimator) -> &'static str {
    match estimator {
        Estimator::Ips => "IPS",
        Estimator::Snips => "SNIPS",
        Estimator::DoublyRobust => "DR",
        Estimator::Adaptive => "adaptive DR",
    }
}
