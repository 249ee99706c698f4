//! `hermod simulate chapelle-li`: regret under delayed feedback beside the published table, as a table, chart or JSON.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::chapelle_li::{self, Options, PAPER_TRIALS, Report};

/// Feedback delayed by 1 to 1,000 trials while arms come and go (Chapelle and Li 2011, table 1)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Trials between two looks at the feedback
    #[arg(long, value_delimiter = ',', default_value = "1,3,10,32,100,316,1000")]
    delays: Vec<u64>,
    /// Trials in a run
    #[arg(long, default_value_t = PAPER_TRIALS)]
    trials: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs
    #[arg(long, default_value_t = 24)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays and prints.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        delays: args.delays,
        trials: args.trials,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = chapelle_li::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn text(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        vec![
            row.delay.to_string(),
            row.paper
                .map_or("-".to_owned(), |paper| format!("{paper:.0}")),
            shown(&row.regret, 0),
            row.ratio.map_or("-".to_owned(), |ratio| shown(&ratio, 3)),
        ]
    });
    let headings = ["delay", "paper", "hermod", "hermod / paper"];
    format!(
        "Thompson sampling under Beta(1, 1), {} trials, 10 arms of rates Beta(4, 4), one retires with probability 0.001 a trial; \
         {} seeds from {}; regret\n{}",
        report.options.trials,
        report.options.seeds,
        report.options.seed,
        table(&headings, rows.collect()),
    )
}

fn chart(report: &Report) -> Chart {
    let points = report.rows.iter().map(|row| (row.delay as f64, row.regret));
    let paper = report
        .rows
        .iter()
        .filter_map(|row| Some((row.delay as f64, row.paper?)));
    Chart {
        name: "chapelle-li",
        title: "Regret of Thompson sampling under delayed feedback".to_owned(),
        x: Axis::logarithmic("trials between two looks at the feedback"),
        y: Axis::logarithmic("regret"),
        series: vec![
            Series::line("hermod", points),
            Series::reference("the paper, table 1", paper),
        ],
    }
}
