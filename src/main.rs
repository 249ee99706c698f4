//! The `hermod` binary: hands the command line to [`hermod::cli`] and exits with its code.

use std::process::ExitCode;

/// A call allocates some dozens of times; the system's allocator takes about a sixth of the answering threads' time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hermod::cli::main(std::env::args_os())
}
