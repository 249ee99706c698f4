//! `hermod simulate proxy`: whether opens help to choose by clicks, as a table or JSON.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::domain::policy::Policy;
use crate::lab::simulate::proxy::{self, Kind, Options, Report};

/// Whether opens help to choose by clicks, with and without clickbait
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mails to send
    #[arg(long, default_value_t = 20_000)]
    recipients: u32,
    /// Time in which all mails leave, evenly
    #[arg(long, default_value_t = 4.0)]
    window_hours: f64,
    /// Time between two looks at the answers
    #[arg(long, default_value_t = 10.0)]
    look_minutes: f64,
    /// Median of the further time from open to click
    #[arg(long, default_value_t = 0.5)]
    click_median_hours: f64,
    /// Mean open rate
    #[arg(long, default_value_t = 0.2)]
    open_rate: f64,
    /// Mean share of openers who click
    #[arg(long, default_value_t = 0.1)]
    click_of_open: f64,
    /// Spread of open rates between variants, log-odds
    #[arg(long, default_value_t = 0.15)]
    open_spread: f64,
    /// Spread of the share of openers who click, log-odds
    #[arg(long, default_value_t = 0.15)]
    click_spread: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Campaigns to play, each with its own seed
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the campaigns and prints what opens gained.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        recipients: args.recipients,
        window_hours: args.window_hours,
        look_minutes: args.look_minutes,
        click_median_hours: args.click_median_hours,
        open_rate: args.open_rate,
        click_of_open: args.click_of_open,
        open_spread: args.open_spread,
        click_spread: args.click_spread,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = proxy::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Honest => "opens and clicks vary",
        Kind::OpensTell => "only opens vary",
        Kind::Clickbait => "clickbait",
    }
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let policy = |policy: &Policy| match policy {
        Policy::Thompson => "thompson",
        _ => "horizon_thompson",
    };
    let rows = report.rows.iter().map(|row| {
        vec![
            name(row.kind).to_owned(),
            policy(&row.policy).to_owned(),
            shown(&row.lost_without, 1),
            shown(&row.lost_with, 1),
            shown(&row.gain, 1),
            format!("{:.1}", row.worst_share_percent),
        ]
    });
    let headings = [
        "variants",
        "policy",
        "clicks lost without opens",
        "with opens",
        "gain",
        "worst variant, % of mails",
    ];
    format!(
        "{} mails in {} h, a look every {} min, {:.0} % opened, {:.0} % of those clicked {} h later, spreads {} and {}, {} seeds from {}\n{}",
        options.recipients,
        options.window_hours,
        options.look_minutes,
        100.0 * options.open_rate,
        100.0 * options.click_of_open,
        options.click_median_hours,
        options.open_spread,
        options.click_spread,
        options.seeds,
        options.seed,
        table(&headings, rows.collect()),
    )
}
