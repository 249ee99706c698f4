//! How long an empty server takes until it serves.

use std::path::Path;

use super::calls::serving;
use super::process::Process;
use super::{BenchError, Spread};

/// Milliseconds from the start of the program until it serves: the first on no store at all, the others on the empty one.
///
/// # Errors
/// It does not start, or does not stop.
pub fn measure(
    program: &Path,
    directory: &Path,
    turns: usize,
) -> Result<(f64, Spread), BenchError> {
    let start = || -> Result<f64, BenchError> {
        let server = Process::start(program, "hermod", &serving(directory, &[]))?;
        let taken = server.started_in.as_secs_f64() * 1e3;
        server.stop()?;
        Ok(taken)
    };
    let first = start()?;
    let again = (0..turns).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    Ok((first, Spread::of(again)))
}
