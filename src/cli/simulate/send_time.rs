//! `hermod simulate send-time`: which share of the best possible lift the send time reaches, as tables or JSON.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::send_time::{self, BANDS, Options, Report, Row, Rule, Strength};

/// People with hours of their own, some mails a week: which share of the best possible lift is reached
#[derive(Debug, clap::Args)]
pub struct Args {
    /// People, each with a chronotype and noise of their own
    #[arg(long, default_value_t = 2_000)]
    recipients: u32,
    /// Others, whom the tenant mailed twenty times before, at hours of its own choice
    #[arg(long, default_value_t = 2_000)]
    acquainted: u32,
    /// Mails to each
    #[arg(long, default_value_t = 100)]
    mails: u32,
    /// Mails a week, at most 7
    #[arg(long, default_value_t = 7.0)]
    per_week: f64,
    /// Share of mails at random hours in the row that explores
    #[arg(long, default_value_t = 0.05)]
    exploration_share: f64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds to play, each with its own seed
    #[arg(long, default_value_t = 4)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the worlds and prints the shares.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        recipients: args.recipients,
        acquainted: args.acquainted,
        mails: args.mails,
        per_week: args.per_week,
        exploration_share: args.exploration_share,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = send_time::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn name(rule: Rule) -> &'static str {
    match rule {
        Rule::Hermod => "hermod, exploring nothing",
        Rule::HermodExploring => "hermod, exploring",
        Rule::Everybody => "everybody's best hour (known)",
        Rule::OwnHour => "own most frequent hour",
        Rule::Random => "random hour",
        Rule::Oracle => "oracle: own best hour (known)",
    }
}

fn text(report: &Report) -> String {
    let options = &report.options;
    let mut text = format!(
        "{} people, {} others mailed before, {} mails each, {} a week, {:.0} % explored where it explores, {} seeds from {}\n",
        options.recipients,
        options.acquainted,
        options.mails,
        options.per_week,
        100.0 * options.exploration_share,
        options.seeds,
        options.seed,
    );
    for strength in Strength::ALL {
        let of_world = |row: &&Row| row.strength == strength;
        let rows: Vec<&Row> = report.rows.iter().filter(of_world).collect();
        text.push_str(&format!(
            "\n{} world: lift over a random hour, % / share of the oracle's lift, %\n",
            strength.word()
        ));
        text.push_str(&banded(&rows, |cell| {
            format!(
                "{:.1} / {}",
                cell.lift_percent.mean,
                shown(&cell.share_percent, 0)
            )
        }));
        text.push_str(&format!(
            "{} world: open rate over everybody's hour, points / within an hour of the person's best\n",
            strength.word()
        ));
        text.push_str(&banded(&rows, |cell| {
            format!(
                "{} / {:.2}",
                shown(&cell.over_everybody_points, 2),
                cell.hits.mean
            )
        }));
    }
    text.push_str("\nafter 40 mails that all left at ten in the morning, then asked\n");
    text.push_str(&at_ten(report));
    text
}

fn banded(rows: &[&Row], show: impl Fn(&send_time::Cell) -> String) -> String {
    let bands: Vec<String> = BANDS
        .iter()
        .take(rows.first().map_or(0, |row| row.bands.len()))
        .map(|band| format!("mails {} to {}", band.first, band.last))
        .collect();
    let headings: Vec<&str> = std::iter::once("rule")
        .chain(bands.iter().map(String::as_str))
        .collect();
    let line = |row: &&Row| {
        std::iter::once(name(row.rule).to_owned())
            .chain(row.bands.iter().map(&show))
            .collect()
    };
    table(&headings, rows.iter().map(line).collect())
}

fn at_ten(report: &Report) -> String {
    let headings = [
        "world",
        "told nine to eleven, %",
        "truly best there, %",
        "share of the oracle's lift, %",
        "staying at ten, %",
    ];
    let line = |row: &send_time::AllAtTen| {
        vec![
            row.strength.word().to_owned(),
            shown(&row.recommended_percent, 1),
            shown(&row.best_percent, 1),
            shown(&row.share_percent, 0),
            shown(&row.ten_percent, 0),
        ]
    };
    table(&headings, report.all_at_ten.iter().map(line).collect())
}
