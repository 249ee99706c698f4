//! `hermod simulate forecast`: a user's own list, and what to expect of it, as a table, chart or JSON.
//!
//! Parses and prints; the futures are the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::domain::planner::BlastPlan;
use crate::lab::simulate::forecast::{self, Options, Report, Row};

/// Your own list: what to expect after some weeks, and how sure that is
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recipients of each campaign
    #[arg(long, default_value_t = 50_000)]
    list_size: u64,
    /// Usual open rate, if opens are what you want
    #[arg(long, conflicts_with = "click_rate")]
    open_rate: Option<f64>,
    /// Usual click rate per mail, if clicks are what you want; without either, an open rate of 0.2 is taken
    #[arg(long)]
    click_rate: Option<f64>,
    /// Texts to choose among in each campaign
    #[arg(long, default_value_t = 4)]
    variants: usize,
    /// Campaigns in a week
    #[arg(long, default_value_t = 2.0)]
    campaigns_per_week: f64,
    /// Time that a campaign may take
    #[arg(long, default_value_t = 24.0)]
    window_hours: f64,
    /// How far texts differ, scale in log-odds; 0.15 in 32,487 published tests of headlines
    #[arg(long, default_value_t = 0.15)]
    effect_spread: f64,
    /// Share of the recipients held out
    #[arg(long, default_value_t = 0.05)]
    holdout_share: f64,
    /// After how many weeks to tell
    #[arg(long, value_delimiter = ',', default_value = "4,13")]
    weeks: Vec<u32>,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Possible futures to play
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the futures and prints what to expect.
///
/// # Errors
/// The options make no list.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let what = if args.click_rate.is_some() {
        "clicks"
    } else {
        "opens"
    };
    let options = Options {
        list_size: args.list_size,
        rate: args.click_rate.or(args.open_rate).unwrap_or(0.2),
        variants: args.variants,
        campaigns_per_week: args.campaigns_per_week,
        window_hours: args.window_hours,
        effect_spread: args.effect_spread,
        holdout_share: args.holdout_share,
        weeks: args.weeks,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = forecast::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output
        .show_charted(&report, &text(&report, what), &[chart(&report, what)])
}

fn chart(report: &Report, what: &str) -> Chart {
    let points = (1..).map(f64::from).zip(report.by_campaign.iter().copied());
    Chart {
        name: "forecast",
        title: format!("More {what} than with one text, 95 % of the futures"),
        x: Axis::from_zero("campaigns sent"),
        y: Axis::linear(format!("more {what}, in all")),
        series: vec![Series::line(format!("more {what}"), points)],
    }
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        format!("{} weeks", row.weeks),
        row.campaigns.to_string(),
        shown(&row.successes, 0),
        shown(&row.over_one_text, 0),
        shown(&row.over_one_text_percent, 1),
        shown(&row.over_test, 0),
        shown(&row.over_test_percent, 1),
        format!("{:.0}", row.better_percent),
        format!("{:.0}", row.proved_percent),
        row.detectable.map_or_else(String::new, |detectable| {
            format!("{:.1}", 100.0 * detectable.relative)
        }),
    ]
}

/// How each campaign is sent.
fn sending(plan: &BlastPlan) -> String {
    if !forecast::is_in_waves(plan) {
        return "all at once: waiting is not expected to gain anything".to_owned();
    }
    let waves: Vec<String> = plan
        .waves
        .iter()
        .map(|wave| format!("{} after {:.1} h", wave.mails, wave.at_hours))
        .collect();
    format!("in waves: {}", waves.join(", "))
}

/// What it is compared with.
fn test(plan: &BlastPlan) -> String {
    plan.test.map_or_else(
        || "one text, for want of time to test".to_owned(),
        |test| {
            format!(
                "a test of {:.0} % for {:.1} h with one winner for the rest",
                100.0 * test.test_share,
                test.wait_hours
            )
        },
    )
}

fn text(report: &Report, what: &str) -> String {
    let Options {
        list_size,
        rate,
        variants,
        campaigns_per_week,
        window_hours,
        effect_spread,
        holdout_share,
        seed,
        seeds,
        ..
    } = &report.options;
    let (sending, test) = (sending(&report.plan), test(&report.plan));
    let over_text = format!("more {what} than one text");
    let over_test = format!("more {what} than A/B");
    let headings = [
        "after",
        "campaigns",
        what,
        &over_text,
        "%",
        &over_test,
        "%",
        "better, % of futures",
        "proved, %",
        "holdout finds, %",
    ];
    format!(
        "{list_size} recipients, {what} {:.1} % of mails, {variants} texts, {campaigns_per_week} campaigns a week of {window_hours} h, spread {effect_spread}, holdout {:.0} %, {seeds} futures from {seed}\n\
         each campaign {sending}\n\
         A/B is {test}; ranges hold 95 % of the futures; personal send times are not in these numbers and add to them\n{}",
        100.0 * rate,
        100.0 * holdout_share,
        table(&headings, report.rows.iter().map(cells).collect()),
    )
}
