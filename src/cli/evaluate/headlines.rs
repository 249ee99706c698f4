//! `hermod evaluate headlines`: lost clicks on real headline tests, as a table or JSON.
//!
//! Parses and prints; the protocol is the laboratory's.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::cli::CliError;
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::headlines::truth::Truth;
use crate::lab::headlines::{self, CrossCheck, Method, Options, Player, Report, shares};

/// Lost clicks on real headline tests (CSV: experiment_id, impressions, clicks, randomization_risk, kind)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The tests, plain or gzip
    file: PathBuf,
    /// Draw from the snapshots that answer, in place of deciding and reporting every mail
    #[arg(long)]
    fast: bool,
    /// Tests to play, drawn by the seed, or all [default: 200; all with --fast]
    #[arg(long, value_name = "N|all", value_parser = parse_tests)]
    experiments: Option<Tests>,
    /// Seeds to play every test with [default: 3; 20 with --fast]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Equal batches in which feedback is looked at
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batches: u64,
    /// What is taken for the true rates
    #[arg(long, value_enum, default_value_t = TruthArg::Shrunken)]
    truth: TruthArg,
    /// Also use tests from weeks in which the archive's own randomisation was faulty
    #[arg(long)]
    with_randomization_risk: bool,
    /// Play nothing: print what share of the flagged tests and of the others fail a test of fair shares
    #[arg(long, conflicts_with_all = ["fast", "experiments", "seeds", "with_randomization_risk"])]
    sample_ratio: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy)]
enum Tests {
    All,
    Some(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TruthArg {
    /// Shrunk towards the test's level as far as the archive says
    Shrunken,
    /// Clicks over impressions as they are
    Empirical,
}

fn parse_tests(text: &str) -> Result<Tests, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Tests::All),
        (_, Ok(tests)) if tests > 0 => Ok(Tests::Some(tests)),
        _ => Err("write a number of at least 1, or all".to_owned()),
    }
}

/// Plays the tests and prints what was lost.
///
/// # Errors
/// The file cannot be read or used.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    if args.sample_ratio {
        let report = shares::run(&args.file, args.seed).map_err(cli_error)?;
        return args.output.show(&report, &shares_text(&report));
    }
    let report = headlines::run(&args.file, &options(&args), &Bar::new()).map_err(cli_error)?;
    args.output.show(&report, &text(&report))
}

fn shares_text(report: &shares::Report) -> String {
    let name = |level: Option<f64>| {
        level.map_or_else(
            || "hermod's alarm (e-value of 1,000)".to_owned(),
            |level| format!("chi-square, p < {level}"),
        )
    };
    let rows = report.failed.iter().map(|row| {
        vec![
            name(row.level),
            shown(&row.flagged.times(100.0), 1),
            shown(&row.others.times(100.0), 1),
        ]
    });
    format!(
        "{} tests flagged for their randomisation, {} others; shares of impressions against even ones\n{}",
        report.flagged,
        report.others,
        table(&["fails", "flagged, %", "others, %"], rows.collect()),
    )
}

fn options(args: &Args) -> Options {
    let (method, tests, seeds) = if args.fast {
        (Method::Snapshots, Tests::All, 20)
    } else {
        (Method::UseCases, Tests::Some(200), 3)
    };
    Options {
        seed: args.seed,
        seeds: args.seeds.unwrap_or(seeds),
        tests: match args.experiments.unwrap_or(tests) {
            Tests::All => None,
            Tests::Some(tests) => Some(tests),
        },
        batches: args.batches,
        method,
        truth: match args.truth {
            TruthArg::Shrunken => Truth::Shrunken,
            TruthArg::Empirical => Truth::Empirical,
        },
        with_risky: args.with_randomization_risk,
    }
}

fn name(player: Player) -> &'static str {
    match player {
        Player::HermodPlanned => "hermod, planned sends known",
        Player::HermodUnknown => "hermod, planned sends unknown",
        Player::ThompsonAtOnce => "Thompson Beta(1,1), after each mail",
        Player::ThompsonBatches => "Thompson Beta(1,1), in batches",
        Player::Uniform => "uniform",
        Player::ExploreTenth => "explore 10 %, then commit",
        Player::ExploreFifth => "explore 20 %, then commit",
    }
}

fn text(report: &Report) -> String {
    let truth = match report.truth {
        Truth::Shrunken => "rates shrunk towards their test's level",
        Truth::Empirical => "raw rates, which flatter every learner",
    };
    let method = match report.method {
        Method::UseCases => "every mail decided, every click reported",
        Method::Snapshots => "drawn from the snapshots that answer",
    };
    let left_out = report.left_out;
    let rows = report.rows.iter().map(|row| {
        vec![
            name(row.player).to_owned(),
            shown(&row.lost_percent, 2),
            shown(&row.ratio_over_seeds, 3),
            shown(&row.ratio_over_tests, 3),
        ]
    });
    let headings = [
        "policy",
        "lost clicks, %",
        "of Thompson's (over seeds)",
        "of Thompson's (over tests)",
    ];
    let mut text = format!(
        "{} of {} tests, {} mails, {} seeds from {}, {} batches; hermod: {method}\n\
         truth: {truth}; kappa fitted to the file: {:.0}\n\
         left out: {} tests of another kind, {} with doubtful randomisation, {} with fewer than two headlines\n{}",
        report.tests,
        report.tests_available,
        report.sends,
        report.seeds,
        report.seed,
        report.batches,
        report.kappa,
        left_out.of_another_kind,
        left_out.at_risk,
        left_out.too_few_headlines,
        table(&headings, rows.collect()),
    );
    if let Some(check) = &report.cross_check {
        text.push_str(&checked(check));
    }
    text
}

fn checked(check: &CrossCheck) -> String {
    let difference = check.difference_percent;
    let within = difference.low.is_none_or(|low| low <= 0.0)
        && difference.high.is_none_or(|high| high >= 0.0);
    format!(
        "check: {} games mail by mail through the use cases lose {:.2} %, from the snapshots {:.2} %; difference {} points, {}\n",
        check.games,
        check.use_cases_percent,
        check.snapshots_percent,
        shown(&difference, 2),
        if within {
            "within noise"
        } else {
            "MORE THAN NOISE"
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Option<Options> {
        let words = std::iter::once("x").chain(line.split(' '));
        Some(options(&Line::try_parse_from(words).ok()?.args))
    }

    #[test]
    fn fast_plays_everything_and_the_use_cases_a_sample() {
        let fast = parsed("f --fast").unwrap();
        assert_eq!(
            (fast.tests, fast.seeds, fast.method),
            (None, 20, Method::Snapshots)
        );
        let full = parsed("f --experiments all").unwrap();
        assert_eq!(
            (full.tests, full.seeds, full.method),
            (None, 3, Method::UseCases)
        );
        assert!(parsed("f --experiments 0").is_none());
        assert!(parsed("f --seeds 0").is_none());
    }
}
