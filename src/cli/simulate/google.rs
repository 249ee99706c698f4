//! `hermod simulate google`: days and conversions saved against a classical test, as a table, chart or JSON.
//!
//! Parses and prints; the world and the rule are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::Estimate;
use crate::lab::simulate::google::{self, Options, Report};

/// Days saved against a classical test, and how often it ends right (Google's content experiments)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Conversion rates of the pages
    #[arg(long, value_delimiter = ',', default_value = "0.04,0.05")]
    rates: Vec<f64>,
    /// Visits a day
    #[arg(long, default_value_t = 100)]
    visits_per_day: u64,
    /// Days that the classical test takes
    #[arg(long, default_value_t = 223)]
    classical_days: u64,
    /// No stop before, days
    #[arg(long, default_value_t = 14)]
    days_min: u64,
    /// Stop when the leader is best with this probability
    #[arg(long, default_value_t = 0.95)]
    probability: f64,
    /// Or when less than this relative gain remains with the same probability
    #[arg(long, default_value_t = 0.01)]
    gain: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Experiments
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the experiments and prints.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        rates: args.rates,
        visits_per_day: args.visits_per_day,
        classical_days: args.classical_days,
        days_min: args.days_min,
        probability: args.probability,
        gain: args.gain,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = google::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let row =
        |what: &str, published: &str, got: String| vec![what.to_owned(), published.to_owned(), got];
    let rows = vec![
        row("days until the stop", "48", shown(&report.days, 1)),
        row("days saved", "175", shown(&report.days_saved, 1)),
        row(
            "ended with the best page, %",
            "-",
            shown(&report.right.times(100.0), 1),
        ),
        row(
            "conversions saved, if the page chosen is the best",
            "97.5",
            shown(&report.conversions_saved, 1),
        ),
        row(
            "conversions saved, less what wrong pages lose",
            "-",
            shown(&report.conversions_saved_net, 1),
        ),
    ];
    format!(
        "conversion rates {:?}, {} visits a day, {} days at least, stop at P(best) >= {} or less than {} % remaining; \
         classical test: {} days; {} experiments, seeds from {}\n{}",
        options.rates,
        options.visits_per_day,
        options.days_min,
        options.probability,
        100.0 * options.gain,
        options.classical_days,
        options.seeds,
        options.seed,
        table(&["what", "published for 0.04 and 0.05", "hermod"], rows),
    )
}

fn chart(report: &Report) -> Chart {
    let bins = report.histogram.iter();
    let points = bins.map(|(days, count)| (*days as f64 + 5.0, Estimate::certain(*count as f64)));
    Chart {
        name: "google",
        title: "When experiments ended".to_owned(),
        x: Axis::linear("days, in bins of 10"),
        y: Axis::from_zero("experiments"),
        series: vec![Series::line("experiments", points)],
    }
}
