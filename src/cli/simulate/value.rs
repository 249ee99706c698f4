//! `hermod simulate value`: intervals of the value per mail, and choosing by values, as tables or JSON.
//!
//! Parses and prints; the worlds are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::domain::experiment::Objective;
use crate::lab::simulate::value::{self, Options, Report};

/// Intervals of the value per mail, and choosing by values where clicks mislead
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Variants in the study of intervals
    #[arg(long, default_value_t = 4)]
    variants: u32,
    /// Standard deviations of the logarithm of order values
    #[arg(long, value_delimiter = ',', default_value = "0.5,1,1.5")]
    sigmas: Vec<f64>,
    /// Orders per variant
    #[arg(long, value_delimiter = ',', default_value = "30,100,300,3000")]
    orders: Vec<f64>,
    /// Ages of all mails at the look, hours
    #[arg(long, value_delimiter = ',', default_value = "1000,20")]
    ages_hours: Vec<f64>,
    /// Campaigns for each combination
    #[arg(long, default_value_t = 1_000)]
    campaigns: u64,
    /// Mails in the study of choices
    #[arg(long, default_value_t = 60_000)]
    recipients: u32,
    /// Time in which they leave, evenly
    #[arg(long, default_value_t = 240.0)]
    window_hours: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Campaigns in the study of choices, each with its own seed
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measures and prints.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        variants: args.variants,
        sigmas: args.sigmas,
        orders: args.orders,
        ages_hours: args.ages_hours,
        campaigns: args.campaigns,
        recipients: args.recipients,
        window_hours: args.window_hours,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = value::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let intervals = report.coverage.iter().map(|row| {
        vec![
            format!("{}", row.setting.age_hours),
            format!("{}", row.setting.sigma),
            format!("{}", row.setting.orders),
            shown(&row.covered_percent, 1),
            format!("{:.1}", row.below_percent),
            format!("{:.2}", row.relative_width),
        ]
    });
    let choices = report.choices.iter().map(|choice| {
        let name = match choice.objective {
            Some(Objective::Value) => "value",
            Some(Objective::Conversion) => "conversion",
            Some(_) => "click",
            None => "all alike",
        };
        vec![name.to_owned(), shown(&choice.lost_percent, 2)]
    });
    format!(
        "95 % intervals of the value per mail: {} variants whose truths differ by up to 49 %, lognormal orders, {} campaigns each\n{}\n{} mails in {} h, the most clicked of 4 variants earns least, {} seeds from {}\n{}",
        options.variants,
        options.campaigns,
        table(
            &[
                "age of mails, h",
                "sigma",
                "orders",
                "covered, %",
                "too low, %",
                "width over truth",
            ],
            intervals.collect(),
        ),
        options.recipients,
        options.window_hours,
        options.seeds,
        options.seed,
        table(&["chosen by", "value lost, %"], choices.collect()),
    )
}
