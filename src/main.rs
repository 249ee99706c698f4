//! The `hermod` binary: hands the command line to [`hermod::cli`] and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    hermod::cli::main(std::env::args_os())
}
