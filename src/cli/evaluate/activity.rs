//! `hermod evaluate activity`: how well the hour of newcomers is known, as a table or JSON.
//!
//! Parses and prints; the protocol is the laboratory's.
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::activity::{self, Options, Report};

/// Activity of real newcomers met at the recommended hour (CSV: person, day, local_hour_of_week)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// When people were active, plain or gzip
    file: PathBuf,
    /// Fixes folds, shuffling and bootstrap
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Deal all hours to people at random first; then no gain may be claimed
    #[arg(long)]
    shuffle_hours: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Measures and prints.
///
/// # Errors
/// The file cannot be read or used.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let options = Options {
        seed: args.seed,
        shuffle_hours: args.shuffle_hours,
    };
    let report = activity::run(&args.file, &options, &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn text(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        vec![
            row.history.to_string(),
            row.people.to_string(),
            format!("{:.1}", row.random),
            format!("{:.1}", row.everybody),
            format!("{:.1}", row.own),
            format!("{:.1}", row.hermod),
            format!("{:.1}", row.hermod_next_day),
            format!("{:.1}", row.ceiling),
            shown(&row.lift, 1),
            row.share_of_room
                .map_or("-".to_owned(), |share| shown(&share, 0)),
        ]
    });
    let headings = [
        "events known",
        "people",
        "random",
        "everybody",
        "own",
        "hermod",
        "next day only",
        "ceiling",
        "hermod over everybody, points",
        "share of the room, %",
    ];
    format!(
        "{} people, {} events, seed {}{}; share (%) of later activity within an hour of the recommended hour\n{}",
        report.people,
        report.events,
        report.seed,
        if report.shuffled {
            ", hours dealt at random: no gain may be claimed"
        } else {
            ""
        },
        table(&headings, rows.collect()),
    )
}
