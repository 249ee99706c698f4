//! Whether a decision costs more where there are more variants to decide between.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cost::{Asked, cost, started};
use super::method::{Method, Population};
use super::world::World;
use super::{BenchError, Spread};
use crate::lab::Progress;

/// Experiments of each number of variants.
const EXPERIMENTS: u64 = 4;
/// People asked about: few, so that the store has no part in the differences.
const PEOPLE: u64 = 2_000;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program: `hermod` itself.
    pub program: PathBuf,
    /// Where the stores are made.
    pub directory: PathBuf,
    /// Numbers of variants.
    pub variants: Vec<u64>,
    /// Turns; each asks every server once, and the order alternates.
    pub turns: usize,
    /// Length of each measurement, seconds.
    pub seconds: f64,
    /// Connections of the client.
    pub connections: usize,
    /// Fixes stores and requests.
    pub seed: u64,
}

/// Costs at one number of variants.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Variants of each experiment.
    pub variants: u64,
    /// CPU time of a decision on the threads that answer, microseconds.
    pub decision_us: Spread,
    /// Of the same turn: over that with the first number of variants.
    pub ratio: Spread,
}

/// Measures every number of variants, in turns.
///
/// # Errors
/// A process, a call or a store fails.
pub fn measure(options: &Options, progress: &impl Progress) -> Result<Vec<Row>, BenchError> {
    let population = Population {
        people: PEOPLE,
        experiments: EXPERIMENTS,
    };
    let mut servers = Vec::new();
    for variants in &options.variants {
        let directory = options.directory.join(format!("variants-{variants}"));
        filled(&directory, population, *variants, options.seed, progress)?;
        let server = started(&options.program, &directory, &[])?;
        servers.push((*variants, server, Vec::new()));
    }
    progress.begin("decisions", (options.turns * servers.len()) as u64);
    for turn in 0..options.turns {
        let mut order: Vec<_> = servers.iter_mut().collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for (_, server, costs) in order {
            let asked = Asked {
                method: Method::Validate,
                population,
                seconds: options.seconds,
                connections: options.connections,
                seed: options.seed.wrapping_add(turn as u64),
            };
            costs.push(cost(&options.program, server, asked)?);
            progress.advance(1);
        }
    }
    let first: Vec<f64> = servers
        .first()
        .map(|(_, _, costs)| costs.clone())
        .unwrap_or_default();
    let row = |(variants, server, costs): (u64, super::process::Process, Vec<f64>)| {
        server.stop()?;
        Ok(Row {
            variants,
            ratio: Spread::of(costs.iter().zip(&first).map(|(own, first)| own / first)),
            decision_us: Spread::of(costs),
        })
    };
    servers.into_iter().map(row).collect()
}

fn filled(
    directory: &Path,
    population: Population,
    variants: u64,
    seed: u64,
    progress: &impl Progress,
) -> Result<(), BenchError> {
    let world = World {
        directory: directory.to_owned(),
        population,
        variants: (variants, variants),
        seed,
    };
    world.fill(progress)
}
