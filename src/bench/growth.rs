//! How costs grow with the number of people: disk, starts, memory, and CPU time of a decision.
//!
//! A store a size, filled anew. Warm asks about few people again and again, cold about anybody; what the system's own cache of files holds is left as it is.

use std::path::PathBuf;

use serde::Serialize;

use super::BenchError;
use super::cost::{Asked, cost, started};
use super::method::{Method, Population};
use super::world::{World, bytes_of};
use crate::lab::Progress;

/// People of whom few are asked again and again.
const WARM_PEOPLE: u64 = 1_000;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program: `hermod` itself.
    pub program: PathBuf,
    /// Where the stores are made and removed again.
    pub directory: PathBuf,
    /// Sizes, in people.
    pub people: Vec<u64>,
    /// Running experiments in each.
    pub experiments: u64,
    /// Length of each measurement, seconds.
    pub seconds: f64,
    /// Connections of the client.
    pub connections: usize,
    /// Further `KEY=VALUE` settings of the server.
    pub settings: Vec<String>,
    /// Leave the stores where they are.
    pub keep: bool,
    /// Fixes stores and requests.
    pub seed: u64,
}

/// Costs at one size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Size {
    /// People in the store.
    pub people: u64,
    /// Bytes of disk per person after filling and a clean stop.
    pub disk_bytes_per_person: f64,
    /// Until it serves, after a clean stop, milliseconds.
    pub start_clean_ms: f64,
    /// Until it serves, after a kill under load, milliseconds.
    pub start_killed_ms: f64,
    /// Memory once started, bytes.
    pub resident_started_bytes: u64,
    /// Memory after all calls, bytes.
    pub resident_bytes: u64,
    /// CPU time of the threads that answer, by call.
    pub costs: Vec<Cost>,
}

/// What a call costs the threads that answer, microseconds of CPU time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// The call.
    pub method: Method,
    /// About few people.
    pub warm_us: f64,
    /// About anybody.
    pub cold_us: f64,
}

/// The calls.
const METHODS: [Method; 2] = [Method::Validate, Method::Decide];

/// Measures every size.
///
/// # Errors
/// A process, a call or a store fails.
pub fn measure(options: &Options, progress: &impl Progress) -> Result<Vec<Size>, BenchError> {
    let sizes = options.people.iter();
    sizes
        .map(|people| at_size(options, *people, progress))
        .collect()
}

fn at_size(options: &Options, people: u64, progress: &impl Progress) -> Result<Size, BenchError> {
    let population = Population {
        people,
        experiments: options.experiments,
    };
    let world = World {
        directory: options.directory.join(format!("people-{people}")),
        population,
        variants: (5, 50),
        seed: options.seed,
    };
    if !world.exists() {
        world.fill(progress)?;
    }
    let bytes = bytes_of(&world.directory)?;
    progress.begin("starts and calls", 2 * METHODS.len() as u64 + 1);
    let server = started(&options.program, &world.directory, &options.settings)?;
    let mut size = Size {
        people,
        disk_bytes_per_person: bytes as f64 / people.max(1) as f64,
        start_clean_ms: server.started_in.as_secs_f64() * 1e3,
        resident_started_bytes: server.usage()?.resident_bytes,
        ..Size::default()
    };
    for method in METHODS {
        let few = Population {
            people: people.min(WARM_PEOPLE),
            ..population
        };
        let asked = |population| Asked {
            method,
            population,
            seconds: options.seconds,
            connections: options.connections,
            seed: options.seed,
        };
        let warm_us = cost(&options.program, &server, asked(few))?;
        progress.advance(1);
        let cold_us = cost(&options.program, &server, asked(population))?;
        progress.advance(1);
        size.costs.push(Cost {
            method,
            warm_us,
            cold_us,
        });
    }
    size.resident_bytes = server.usage()?.resident_bytes;
    server.kill()?;
    let again = started(&options.program, &world.directory, &options.settings)?;
    size.start_killed_ms = again.started_in.as_secs_f64() * 1e3;
    again.stop()?;
    progress.advance(1);
    if !options.keep {
        std::fs::remove_dir_all(&world.directory)?;
    }
    Ok(size)
}
