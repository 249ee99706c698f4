//! `hermod simulate drift`: what each half-life loses when rates stay, wander or jump, as a table or JSON.
//!
//! Parses and prints; the worlds are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::drift::{self, FIXED_DAYS, Options, Report, WorldReport};

/// An always-on flow whose rates stay, wander or jump, by half-life of evidence
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Variants
    #[arg(long, default_value_t = 4)]
    arms: usize,
    /// Rate that variants scatter around
    #[arg(long, default_value_t = 0.22)]
    base_rate: f64,
    /// Standard deviation of a variant's effect in log-odds
    #[arg(long, default_value_t = 0.15)]
    effect_sd: f64,
    /// Mails a day
    #[arg(long, default_value_t = 2_000)]
    sends_per_day: u32,
    /// Days to play
    #[arg(long, default_value_t = 180)]
    days: u32,
    /// Refreshes of the snapshot a day
    #[arg(long, default_value_t = 4)]
    looks_per_day: u32,
    /// Median time until an open; 0 for answers at once
    #[arg(long, default_value_t = 5.0)]
    delay_median_hours: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Flows to play in each world, each with its own seed
    #[arg(long, default_value_t = 24)]
    seeds: u64,
    /// Of these, how many are also played through the use cases, mail by mail
    #[arg(long, default_value_t = 0)]
    use_case_seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the flows and prints what was lost.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        arms: args.arms,
        base_rate: args.base_rate,
        effect_sd: args.effect_sd,
        sends_per_day: args.sends_per_day,
        days: args.days,
        looks_per_day: args.looks_per_day,
        delay_median_hours: args.delay_median_hours,
        seed: args.seed,
        seeds: args.seeds,
        use_case_seeds: args.use_case_seeds,
    };
    let report = drift::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn chart(report: &Report) -> Chart {
    let names = report
        .worlds
        .iter()
        .map(|world| world.regime.as_str().to_owned());
    let times = report.worlds.iter().map(|world| world.times_best_fixed);
    Chart {
        name: "drift",
        title: "hermod's loss over that of the best fixed half-life in hindsight".to_owned(),
        x: Axis::named("world", names.collect()),
        y: Axis::from_zero("times the best fixed half-life, mean and 95 % interval"),
        series: vec![Series::dots("hermod", (0..).map(f64::from).zip(times))],
    }
}

fn days(half_life: Option<f64>) -> String {
    half_life.map_or_else(|| "never".to_owned(), |days| format!("{days} d"))
}

fn losses(world: &WorldReport) -> Vec<String> {
    let mut row = vec![world.regime.as_str().to_owned()];
    let fixed = world.rows.iter().take(FIXED_DAYS.len());
    row.extend(fixed.map(|row| format!("{:.2}", row.lost_per_thousand.mean)));
    row.extend(
        world
            .rows
            .last()
            .map(|row| shown(&row.lost_per_thousand, 2)),
    );
    row.push(shown(&world.times_best_fixed, 2));
    row
}

fn changes(world: &WorldReport) -> Vec<String> {
    let mut row = vec![world.regime.as_str().to_owned()];
    row.extend(world.weights.iter().map(|weight| format!("{weight:.2}")));
    row.push(shown(&world.variant_changes_per_500_days, 2));
    row.push(shown(&world.level_changes_per_500_days, 2));
    row
}

fn through_use_cases(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .worlds
        .iter()
        .filter_map(|world| {
            let (through, alone) = world.use_cases.as_ref()?;
            let name = world.regime.as_str().to_owned();
            Some(vec![name, shown(through, 2), shown(alone, 2)])
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let headings = ["lost per 1,000", "through the use cases", "functions alone"];
    format!(
        "On the first {} seeds:\n{}",
        report.options.use_case_seeds,
        table(&headings, rows)
    )
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let mut headings = vec!["lost per 1,000".to_owned()];
    headings.extend(FIXED_DAYS.map(days));
    headings.extend(["hermod", "times best fixed"].map(str::to_owned));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let weights = [
        "hermod",
        "21 d",
        "5 d",
        "11 d",
        "60 d",
        "never",
        "changes of a variant",
        "of the level",
    ];
    format!(
        "{} arms around {} (sd {} in log-odds), {} mails a day for {} days, {} looks a day, median delay {} h, {} seeds from {}\n{}\nMean weights of the half-lives on the last day, and changes reported per 500 days\n{}{}",
        options.arms,
        options.base_rate,
        options.effect_sd,
        options.sends_per_day,
        options.days,
        options.looks_per_day,
        options.delay_median_hours,
        options.seeds,
        options.seed,
        table(&headings, report.worlds.iter().map(losses).collect()),
        table(&weights, report.worlds.iter().map(changes).collect()),
        through_use_cases(report),
    )
}
