//! `hermod simulate delay`: what answers that come later cost, and whether intervals hold, as tables or JSON.
//!
//! Parses and prints; the worlds are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::domain::policy::Policy;
use crate::lab::simulate::delay::{self, Options, Report, Rule};

/// What answers that come hours later cost, by rule, and whether intervals hold
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Median time until an open
    #[arg(long, default_value_t = 5.0)]
    delay_median_hours: f64,
    /// Standard deviation of the logarithm of that time
    #[arg(long, default_value_t = 2.3)]
    delay_sigma: f64,
    /// No open comes later than this
    #[arg(long, default_value_t = 168.0)]
    attribution_hours: f64,
    /// Probability spread evenly over the variants
    #[arg(long, default_value_t = 0.02)]
    floor: f64,
    /// Campaigns in each cell of the table of intervals
    #[arg(long, default_value_t = 2_000)]
    coverage_rounds: u32,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Campaigns to play of each kind, each with its own seed
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
        delay_median_hours: args.delay_median_hours,
        delay_sigma: args.delay_sigma,
        attribution_hours: args.attribution_hours,
        floor: args.floor,
        coverage_rounds: args.coverage_rounds,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = delay::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Instant => "answers at once (yardstick)",
        Rule::Learned => "hermod, curve learned on the way",
        Rule::Known => "curve known",
        Rule::Published => "published curve, not learned",
        Rule::Naive => "naive: silence is refusal",
        Rule::Discard => "mails under 24 h do not count",
        Rule::TestThenWinner => "test a fifth, 4 h later the winner",
        Rule::Uniform => "uniform",
    }
}

fn policy_name(policy: &Policy) -> &'static str {
    match policy {
        Policy::HorizonThompson => "default",
        _ => "Thompson",
    }
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let losses = report.rows.iter().map(|row| {
        vec![
            row.case.to_owned(),
            policy_name(&row.policy).to_owned(),
            rule_name(row.rule).to_owned(),
            shown(&row.lost_opens, 0),
            shown(&row.times_instant, 2),
            shown(&row.times_naive, 2),
        ]
    });
    let losses = table(
        &[
            "campaign",
            "policy",
            "rule",
            "opens lost",
            "times at once",
            "times naive",
        ],
        losses.collect(),
    );
    let intervals = report.coverage.iter().map(|row| {
        vec![
            format!("{}", row.rate),
            format!("{} to {} h", row.youngest_hours, row.oldest_hours),
            format!("{:.1}", row.known_percent),
            format!("{:.1}", row.learned_percent),
            format!("{:.1}", row.naive_percent),
        ]
    });
    let intervals = table(
        &[
            "rate",
            "ages of 2,000 mails",
            "known curve, %",
            "learned, %",
            "naive, %",
        ],
        intervals.collect(),
    );
    format!(
        "delays lognormal (median {} h, sigma {}) within {} h, floor {}, {} seeds from {}\n{losses}\n95 % intervals that contain the truth, {} campaigns each\n{intervals}",
        options.delay_median_hours,
        options.delay_sigma,
        options.attribution_hours,
        options.floor,
        options.seeds,
        options.seed,
        options.coverage_rounds,
    )
}
