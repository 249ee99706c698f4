//! `hermod simulate blast`: what taking silence for refusal costs, as a table or JSON.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::blast::{self, Options, Report, Rule};

/// One campaign sent within hours, while most opens take longer
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mails to send
    #[arg(long, default_value_t = 20_000)]
    recipients: u32,
    /// True open rates of the variants
    #[arg(long, value_delimiter = ',', default_value = "0.20,0.21,0.22,0.24")]
    rates: Vec<f64>,
    /// Time in which all mails leave, evenly
    #[arg(long, default_value_t = 4.0)]
    window_hours: f64,
    /// Time between two looks at the answers
    #[arg(long, default_value_t = 5.0)]
    refresh_minutes: f64,
    /// Median time until an open
    #[arg(long, default_value_t = 5.0)]
    delay_median_hours: f64,
    /// Standard deviation of the logarithm of that time
    #[arg(long, default_value_t = 2.3)]
    delay_sigma: f64,
    /// No open comes later than this
    #[arg(long, default_value_t = 168.0)]
    attribution_hours: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Campaigns to play, each with its own seed
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the campaigns and prints what was lost.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        recipients: args.recipients,
        rates: args.rates,
        window_hours: args.window_hours,
        refresh_minutes: args.refresh_minutes,
        delay_median_hours: args.delay_median_hours,
        delay_sigma: args.delay_sigma,
        attribution_hours: args.attribution_hours,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = blast::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report), &[chart(&report)])
}

fn chart(report: &Report) -> Chart {
    let names = report.rows.iter().map(|row| name(row.rule).to_owned());
    let lost = report.rows.iter().map(|row| row.lost_opens);
    Chart {
        name: "blast",
        title: "Opens lost in a campaign".to_owned(),
        x: Axis::named("rule", names.collect()),
        y: Axis::from_zero("opens lost, mean and 95 % interval"),
        series: vec![Series::dots("opens lost", (0..).map(f64::from).zip(lost))],
    }
}

fn name(rule: Rule) -> &'static str {
    match rule {
        Rule::Hermod => "hermod, through its use cases",
        Rule::Corrected => "hermod's snapshots alone (check)",
        Rule::Naive => "naive: silence is refusal",
        Rule::Uniform => "uniform",
    }
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let rows = report.rows.iter().map(|row| {
        vec![
            name(row.rule).to_owned(),
            shown(&row.lost_opens, 1),
            shown(&row.times_hermod, 2),
            format!("{:.1}", row.best_share_percent),
        ]
    });
    let headings = [
        "rule",
        "opens lost",
        "times hermod's",
        "best variant, % of mails",
    ];
    format!(
        "{} mails in {} h, open rates {:?}, a look every {} min, delays lognormal (median {} h, sigma {}) within {} h, {} seeds from {}\n{}",
        options.recipients,
        options.window_hours,
        options.rates,
        options.refresh_minutes,
        options.delay_median_hours,
        options.delay_sigma,
        options.attribution_hours,
        options.seeds,
        options.seed,
        table(&headings, rows.collect()),
    )
}
