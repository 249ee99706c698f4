//! `hermod simulate best-arm`: errors of the probabilities of being best and times of a refresh, as a table or JSON.
//!
//! Parses and prints; the sets and their references are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, table};
use crate::lab::Estimate;
use crate::lab::simulate::best_arm::{self, Kind, Options, Report, What};

/// Probabilities of being best against high-precision references, and the time of a refresh
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sets of each kind and number of arms, fewer where there are many arms; 0 for none
    #[arg(long, default_value_t = 20)]
    sets: usize,
    /// Refreshes of 10 arms to time, a tenth of them of 1,000 arms; 0 for none
    #[arg(long, default_value_t = 5_000)]
    refreshes: usize,
    /// Fixes the sets
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measures and prints.
///
/// # Errors
/// There is nothing to measure.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        sets: args.sets,
        refreshes: args.refreshes,
        seed: args.seed,
    };
    let report = best_arm::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Random => "random",
        Kind::Mails => "mails",
        Kind::Equal => "equal",
        Kind::NearTies => "near ties",
        Kind::MixedScales => "mixed scales",
        Kind::Extremes => "extremes",
        Kind::OneKnown => "one known",
    }
}

fn timed(what: What) -> &'static str {
    match what {
        What::Probabilities => "probabilities and table",
        What::Thompson => "snapshot, thompson",
        What::DefaultPolicy => "snapshot, default policy",
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    if report.options.sets > 0 {
        text.push_str(&errors(report));
    }
    if !report.times.is_empty() {
        let times = report.times.iter().map(|time| {
            vec![
                timed(time.what).to_owned(),
                time.arms.to_string(),
                time.refreshes.to_string(),
                format!("{:.1}", time.median_us),
                format!("{:.1}", time.p99_us),
            ]
        });
        text.push_str("times of a refresh, each the fastest of three repeats\n");
        let headings = ["refresh", "variants", "timed", "median, us", "99 %, us"];
        text.push_str(&table(&headings, times.collect()));
    }
    text
}

fn errors(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        vec![
            name(row.kind).to_owned(),
            row.arms.to_string(),
            row.sets.to_string(),
            format!("{:.1e}", row.error_max),
            format!("{:.1e}", row.maximum_error_max),
        ]
    });
    let headings = [
        "shapes",
        "variants",
        "sets",
        "largest error of P(best)",
        "of E[max]",
    ];
    let worst = report.rows.iter().map(|row| row.error_max);
    format!(
        "shapes 0.25 to 1e9, seed {}; references in double-double arithmetic by another method\n{}largest error of all: {:.1e}\n",
        report.options.seed,
        table(&headings, rows.collect()),
        worst.fold(0.0, f64::max),
    )
}

fn chart(report: &Report) -> Chart {
    let series = Kind::ALL.map(|kind| {
        let rows = report.rows.iter().filter(|row| row.kind == kind);
        let points = rows.map(|row| (row.arms as f64, Estimate::certain(row.error_max)));
        Series::line(name(kind), points)
    });
    let aim = Series::reference("aim", [(2.0, 1e-9), (1_000.0, 1e-9)]);
    Chart {
        name: "best-arm",
        title: "Largest error of the probabilities of being best".to_owned(),
        x: Axis::logarithmic("variants"),
        y: Axis::logarithmic("largest error"),
        series: series.into_iter().chain([aim]).collect(),
    }
}
