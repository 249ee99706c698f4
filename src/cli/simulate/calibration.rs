//! `hermod simulate calibration`: whether reports come true as often as they say, as a table or JSON.
//!
//! Parses and prints; the population is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::calibration::{self, BINS, Bin, Options, Report, Reporting};

/// Whether what is reported of campaigns comes true as often as it says
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Campaigns to play
    #[arg(long, default_value_t = 4_000)]
    campaigns: u64,
    /// Variants of each
    #[arg(long, default_value_t = 4)]
    arms: usize,
    /// Mails of each
    #[arg(long, default_value_t = 20_000)]
    sends: u64,
    /// Batches, with a look after each
    #[arg(long, default_value_t = 20)]
    batches: u64,
    /// Rate that campaigns scatter around
    #[arg(long, default_value_t = 0.22)]
    base_rate: f64,
    /// Standard deviation of campaigns in log-odds
    #[arg(long, default_value_t = 0.35)]
    campaign_sd: f64,
    /// Scale of the effects of variants in log-odds
    #[arg(long, default_value_t = 0.15)]
    effect_scale: f64,
    /// Their degrees of freedom (Student's t)
    #[arg(long, default_value_t = 3.0)]
    effect_freedom: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the campaigns and prints how the claims did.
///
/// # Errors
/// The options make no population.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        campaigns: args.campaigns,
        arms: args.arms,
        sends: args.sends,
        batches: args.batches,
        base_rate: args.base_rate,
        campaign_sd: args.campaign_sd,
        effect_scale: args.effect_scale,
        effect_freedom: args.effect_freedom,
        seed: args.seed,
    };
    let report = calibration::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn name(reporting: Reporting) -> &'static str {
    match reporting {
        Reporting::Hermod => "hermod",
        Reporting::OneBeta => "one Beta",
        Reporting::Flat => "flat",
    }
}

fn chart(report: &Report) -> Chart {
    let series = report.rows.iter().map(|row| {
        let points = row.bins.iter().map(|bin| (bin.claimed, bin.excess_points));
        Series::dots(name(row.reporting), points)
    });
    Chart {
        name: "calibration",
        title: "Realised minus claimed probability of being best".to_owned(),
        x: Axis::linear("claimed probability"),
        y: Axis::linear("percentage points, mean and 95 % interval"),
        series: series.collect(),
    }
}

fn bin_row(report: &Report, at: usize) -> Vec<String> {
    let first = at * 100 / BINS;
    let mut row = vec![format!("{first} to {} %", first + 100 / BINS)];
    for of in &report.rows {
        let bin: Option<&Bin> = of.bins.get(at);
        row.push(bin.map_or_else(String::new, |bin| format!("{:.0}", bin.claims)));
        row.push(bin.map_or_else(String::new, |bin| shown(&bin.excess_points, 2)));
    }
    row
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let headings = [
        "claimed P(best)",
        "claims",
        "hermod, points off",
        "claims",
        "one Beta",
        "claims",
        "flat",
    ];
    let bins = (0..BINS).map(|at| bin_row(report, at)).collect();
    let rows = report.rows.iter().map(|row| {
        vec![
            name(row.reporting).to_owned(),
            shown(&row.expected_over_realised, 3),
            shown(&row.lift_slope, 3),
        ]
    });
    let sums = [
        "reporting",
        "expected over realised loss",
        "slope of the leader's lift",
    ];
    format!(
        "{} campaigns of {} mails in {} batches, {} arms, around {} (sd {} in log-odds), effects {} times Student's t({}), seed {}\n{}\n{}",
        options.campaigns,
        options.sends,
        options.batches,
        options.arms,
        options.base_rate,
        options.campaign_sd,
        options.effect_scale,
        options.effect_freedom,
        options.seed,
        table(&headings, bins),
        table(&sums, rows.collect()),
    )
}
