//! Why a measurement ended without a result.

use crate::app::AppError;
use crate::store::StoreError;

/// Why a measurement ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A process did not start, or ended too early.
    #[error("{process}: {what}")]
    Process {
        /// Which.
        process: String,
        /// What became of it.
        what: String,
    },
    /// Calls failed: what they cost says nothing.
    #[error("{failed} of {calls} calls failed, the first with: {first}")]
    Calls {
        /// How many failed.
        failed: u64,
        /// Of how many.
        calls: u64,
        /// What the first was told.
        first: String,
    },
    /// The transport.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The store to measure on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A use case while the store was filled.
    #[error(transparent)]
    App(#[from] AppError),
    /// Files or sockets.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What one process told another cannot be read, or there is nothing to measure.
    #[error("{0}")]
    Nonsense(String),
}
