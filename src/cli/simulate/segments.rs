//! `hermod simulate segments`: what partial pooling loses against pooled and separate, as a table or JSON.
//!
//! Parses and prints; the worlds are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::segments::{self, Options, Report, WorldReport};

/// Segments that differ in what they like: partial pooling against pooled and separate
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Segments
    #[arg(long, default_value_t = 20)]
    segments: u8,
    /// Variants
    #[arg(long, default_value_t = 4)]
    arms: usize,
    /// Mails per segment, one world for each
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,20000")]
    sends_per_segment: Vec<u64>,
    /// Standard deviations of a variant's effect in one segment alone, one world for each
    #[arg(long, value_delimiter = ',', default_value = "0,0.05,0.15")]
    interaction_sds: Vec<f64>,
    /// Rate that everything scatters around
    #[arg(long, default_value_t = 0.22)]
    base_rate: f64,
    /// Standard deviation of the variants' common effects in log-odds
    #[arg(long, default_value_t = 0.15)]
    arm_sd: f64,
    /// Standard deviation of the segments' levels in log-odds
    #[arg(long, default_value_t = 0.35)]
    segment_sd: f64,
    /// Probability spread evenly over the variants
    #[arg(long, default_value_t = 0.02)]
    floor: f64,
    /// Refreshes
    #[arg(long, default_value_t = 50)]
    batches: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Experiments to play in each world, each with its own seed
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the experiments and prints what was lost.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        segments: args.segments,
        arms: args.arms,
        sends_per_segment: args.sends_per_segment,
        interaction_sds: args.interaction_sds,
        base_rate: args.base_rate,
        arm_sd: args.arm_sd,
        segment_sd: args.segment_sd,
        floor: args.floor,
        batches: args.batches,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = segments::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn name(world: &WorldReport) -> String {
    format!(
        "{} mails, sd {}",
        world.sends_per_segment, world.interaction_sd
    )
}

fn chart(report: &Report) -> Chart {
    let times = report.worlds.iter().map(|world| world.times_better);
    Chart {
        name: "segments",
        title: "hermod's loss over that of the better of pooled and separate".to_owned(),
        x: Axis::named("world", report.worlds.iter().map(name).collect()),
        y: Axis::from_zero("times the better, mean and 95 % interval"),
        series: vec![Series::dots("hermod", (0..).map(f64::from).zip(times))],
    }
}

fn row(world: &WorldReport) -> Vec<String> {
    let mut row = vec![name(world)];
    let losses = world.lost_per_thousand.iter();
    row.extend(losses.map(|(_, lost)| shown(lost, 2)));
    row.push(shown(&world.times_better, 2));
    row
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let headings = [
        "lost per 1,000",
        "hermod",
        "pooled",
        "separate",
        "times the better",
    ];
    format!(
        "{} segments (sd {}), {} arms around {} (sd {}), floor {}, {} refreshes, {} seeds from {}\n{}",
        options.segments,
        options.segment_sd,
        options.arms,
        options.base_rate,
        options.arm_sd,
        options.floor,
        options.batches,
        options.seeds,
        options.seed,
        table(&headings, report.worlds.iter().map(row).collect()),
    )
}
