//! `hermod simulate lai-robbins`: regret against the bound of Lai and Robbins, as a table, chart or JSON.
//!
//! Parses and prints; the worlds are the laboratory's.
use std::process::ExitCode;

use clap::ValueEnum;

use crate::cli::CliError;
use crate::cli::chart::{Axis, Chart, Series};
use crate::cli::study::{Bar, OutputArgs, cli_error, shown, table};
use crate::lab::simulate::lai_robbins::{self, Options, Report, Row, World};

/// Regret of Thompson sampling over the bound of Lai and Robbins (Chapelle and Li 2011, figure 1)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Worlds of the figure to play
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Figure::ALL)]
    worlds: Vec<Figure>,
    /// Runs in each world [default: 100, 20 and 16]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Trials in each world, a power of ten [default: 1,000,000 or 10,000,000]
    #[arg(long, value_name = "N")]
    trials: Option<u64>,
    /// Trials between two updates
    #[arg(long, default_value_t = 100)]
    update_every: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// 10 arms, the best better by 0.1
    K10Gap10,
    /// 10 arms, the best better by 0.02
    K10Gap02,
    /// 100 arms, the best better by 0.1
    K100Gap10,
}

// === impl Figure ===

impl Figure {
    const ALL: [Self; 3] = [Self::K10Gap10, Self::K10Gap02, Self::K100Gap10];

    /// Its world, as the laboratory plays it by default.
    fn world(self) -> Option<World> {
        let at = Self::ALL.iter().position(|figure| *figure == self)?;
        Options::default().worlds.get(at).copied()
    }
}

/// Plays and prints.
///
/// # Errors
/// The options make no world.
pub fn run(args: Args) -> Result<ExitCode, CliError> {
    let report = lai_robbins::run(&options(&args), &Bar::new()).map_err(cli_error)?;
    args.output.show_charted(
        &report,
        &text(&report),
        &report.rows.iter().map(chart).collect::<Vec<_>>(),
    )
}

fn options(args: &Args) -> Options {
    let worlds = args.worlds.iter().filter_map(|figure| figure.world());
    Options {
        worlds: worlds
            .map(|world| World {
                seeds: args.seeds.unwrap_or(world.seeds),
                trials: args.trials.unwrap_or(world.trials),
                ..world
            })
            .collect(),
        update_every: args.update_every,
        seed: args.seed,
    }
}

fn name(world: &World) -> String {
    format!("{} arms, gap {}", world.arms, world.gap)
}

fn text(report: &Report) -> String {
    let mut rows = Vec::new();
    for row in &report.rows {
        let last = row.regret.len().saturating_sub(1);
        for (at, (trials, regret)) in row.regret.iter().enumerate() {
            let is_last = at == last;
            rows.push(vec![
                if at == 0 {
                    name(&row.world)
                } else {
                    String::new()
                },
                trials.to_string(),
                shown(regret, 1),
                if is_last {
                    format!("{:.1}", row.constant)
                } else {
                    String::new()
                },
                if is_last {
                    shown(&row.slope_ratio, 3)
                } else {
                    String::new()
                },
                if is_last {
                    row.world.seeds.to_string()
                } else {
                    String::new()
                },
            ]);
        }
    }
    let headings = [
        "world",
        "trials",
        "regret",
        "constant",
        "slope of the last decade / constant",
        "runs",
    ];
    format!(
        "Thompson sampling under Beta(1, 1) without a floor, updated every {} trials, seeds from {}\n{}",
        report.options.update_every,
        report.options.seed,
        table(&headings, rows),
    )
}

fn chart(row: &Row) -> Chart {
    let points = row
        .regret
        .iter()
        .map(|(trials, regret)| (*trials as f64, *regret));
    // The bound's slope, through the last point.
    let bound = row.regret.last().map(|(last, regret)| {
        let least = |trials: f64| regret.mean - row.constant * (*last as f64 / trials).ln();
        let from = row
            .regret
            .iter()
            .map(|(trials, _)| *trials as f64)
            .find(|trials| least(*trials) > 0.0);
        let from = from.unwrap_or(*last as f64);
        [(from, least(from)), (*last as f64, regret.mean)]
    });
    Chart {
        name: match (row.world.arms, row.world.gap) {
            (10, 0.1) => "lai-robbins-k10-gap10",
            (10, _) => "lai-robbins-k10-gap02",
            _ => "lai-robbins-k100-gap10",
        },
        title: format!("Regret of Thompson sampling, {}", name(&row.world)),
        x: Axis::logarithmic("trials"),
        y: Axis::from_zero("regret"),
        series: vec![
            Series::line("Thompson sampling", points),
            Series::reference("slope of the bound", bound.into_iter().flatten()),
        ],
    }
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

    #[test]
    fn the_worlds_of_the_figure_are_the_default() {
        let line = Line::try_parse_from(["x"]).unwrap();
        assert_eq!(options(&line.args), Options::default());
        let line = Line::try_parse_from([
            "x",
            "--worlds",
            "k100-gap10",
            "--seeds",
            "2",
            "--trials",
            "1000",
        ])
        .unwrap();
        let options = options(&line.args);
        assert_eq!(options.worlds.len(), 1);
        assert_eq!(
            (
                options.worlds[0].arms,
                options.worlds[0].seeds,
                options.worlds[0].trials
            ),
            (100, 2, 1_000)
        );
    }
}
