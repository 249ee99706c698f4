//! Why a measurement could not be made.
//!
//! Facts for people: which file, which line, what to do. Printed once, by the command line.
use std::path::PathBuf;

use crate::app::AppError;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A column is missing.
    #[error("{}: has no column {column}; its first line must name the columns {needed}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The missing column.
        column: &'static str,
        /// All that are needed.
        needed: String,
    },
    /// A line does not hold what it should.
    #[error("{}: line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing in the file can be used.
    #[error("{0}")]
    Nothing(String),
    /// A use case refused.
    #[error("hermod refused: {0}")]
    App(#[from] AppError),
    /// A use case wanted to wait, which the engine in memory never does.
    #[error("a use case waited for something in virtual time; this is a defect")]
    Waited,
    /// Something that cannot be, was.
    #[error("{0}; this is a defect")]
    Defect(&'static str),
}
