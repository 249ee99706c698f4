//! CPU time of an answer, apart from what a server does beside answering.

use std::path::Path;

use super::BenchError;
use super::calls::{in_a_process, serving};
use super::drive::{Drive, Load};
use super::method::{Method, Population};
use super::process::{Process, Usage};

/// What is asked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The call.
    pub method: Method,
    /// About whom.
    pub population: Population,
    /// Length of the measurement, seconds.
    pub seconds: f64,
    /// Connections of the client.
    pub connections: usize,
    /// Fixes the requests.
    pub seed: u64,
}

/// hermod over a data directory.
///
/// # Errors
/// It does not start.
pub fn started(
    program: &Path,
    directory: &Path,
    settings: &[String],
) -> Result<Process, BenchError> {
    Process::start(program, "hermod", &serving(directory, settings))
}

/// CPU time per answer of the threads that answer, microseconds.
///
/// # Errors
/// The client fails, or calls do.
pub fn cost(program: &Path, server: &Process, asked: Asked) -> Result<f64, BenchError> {
    let drive = Drive {
        address: server.address.clone(),
        method: asked.method,
        load: Load::Closed { in_flight: 16 },
        connections: asked.connections,
        warm_up_seconds: asked.seconds / 4.0,
        seconds: asked.seconds,
        population: asked.population,
        seed: asked.seed,
        repeats: false,
    };
    let mut before = Usage::default();
    let driven = in_a_process(program, &drive, || {
        before = server.usage()?;
        Ok(())
    })?;
    let used = server.usage()?.answering_us - before.answering_us;
    Ok(used / driven.measured.all_items.max(1) as f64)
}
