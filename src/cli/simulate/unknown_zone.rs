//! `hermod simulate unknown-zone`: how soon a time zone is found that nobody has said, and what that is worth, as tables or JSON.
//!
//! Parses and prints; the world is the laboratory's.
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::unknown_zone::{self, BANDS, Options, Report, Rule, Spread};

/// People of unknown time zone: how soon their zone is found, and what that is worth
#[derive(Debug, clap::Args)]
pub struct Args {
    /// People of unknown zone
    #[arg(long, default_value_t = 200)]
    recipients: u32,
    /// People of known zone, whom the tenant mailed twenty times before
    #[arg(long, default_value_t = 1_500)]
    acquainted: u32,
    /// Mails to each of unknown zone, one a day
    #[arg(long, default_value_t = 200)]
    mails: u32,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds to play, each with its own seed
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the worlds and prints who was found.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        recipients: args.recipients,
        acquainted: args.acquainted,
        mails: args.mails,
        seed: args.seed,
        seeds: args.seeds,
    };
    let report = unknown_zone::run(&options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn place(spread: Spread) -> &'static str {
    match spread {
        Spread::FiveZones => "five zones",
        Spread::Elsewhere => "all in Tokyo",
        Spread::Home => "all in the default zone",
    }
}

fn told(rule: Rule) -> &'static str {
    match rule {
        Rule::Inferred => "nothing: inferred",
        Rule::Default => "the default zone",
        Rule::Told => "the truth",
    }
}

fn text(report: &Report) -> String {
    let options = &report.options;
    format!(
        "{} people of unknown zone, {} of known zone mailed before, {} mails each, one a day, none from 22 to 7; {} seeds from {}\n\n{}\n{}",
        options.recipients,
        options.acquainted,
        options.mails,
        options.seeds,
        options.seed,
        found(report),
        rules(report),
    )
}

fn found(report: &Report) -> String {
    let headings = [
        "people live",
        "after opens",
        "people asked",
        "likeliest is right, %",
        "said to be sure, %",
        "of these right, %",
    ];
    let rows = report.found.iter().map(|found| {
        let right = found.sure_right_percent.as_ref();
        vec![
            place(found.spread).to_owned(),
            found.opens.to_string(),
            found.people.to_string(),
            shown(&found.right_percent, 1),
            shown(&found.sure_percent, 1),
            right.map_or_else(|| "-".to_owned(), |right| shown(right, 1)),
        ]
    });
    table(&headings, rows.collect())
}

fn rules(report: &Report) -> String {
    let bands = report.rows.first().map_or(0, |row| row.open_percent.len());
    let mut first = 1;
    let mut headings = vec!["people live".to_owned(), "hermod is told".to_owned()];
    for last in BANDS.into_iter().take(bands) {
        let last = last.min(report.options.mails as usize);
        headings.push(format!("mails {first} to {last}, % (over default)"));
        first = last + 1;
    }
    headings.push("mails at night, %".to_owned());
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows = report.rows.iter().map(|row| {
        let both = row.open_percent.iter().zip(&row.over_default_points);
        let mut line = vec![place(row.spread).to_owned(), told(row.rule).to_owned()];
        line.extend(both.map(|(open, over)| format!("{:.2} ({})", open.mean, shown(over, 2))));
        line.push(shown(&row.night_percent, 1));
        line
    });
    table(&headings, rows.collect())
}
