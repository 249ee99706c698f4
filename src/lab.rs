//! The laboratory: measures the use cases on real data and in simulated worlds, in virtual time.
//!
//! Invariant: it drives what a server runs (the use cases on the engine in memory, or the domain's own snapshots), and the same seed gives
//! the same numbers on any number of threads. Printing is left to the command line.
pub mod activity;
mod at_once;
mod campaign;
mod error;
pub mod estimate;
pub mod headlines;
pub mod log;
mod parallel;
mod reading;
mod rig;
pub mod simulate;
mod streams;

pub use error::LabError;
pub use estimate::Estimate;
pub use parallel::Progress;
pub use rig::Rig;
