//! What answers cost on this machine: the real server as its own process, driven in turns with services that do nothing.
//!
//! Invariant: what is compared ran in the same run, in turns, under the same client; a failed call ends the measurement, so that refusals never
//! pass for speed. Prints nothing; how results are shown is left to the command line.

pub mod calls;
pub mod cost;
pub mod drive;
mod error;
pub mod growth;
pub mod method;
pub mod noop;
pub mod process;
mod raw;
mod spread;
pub mod start;
pub mod variants;
pub mod world;

pub use error::BenchError;
pub use spread::Spread;
