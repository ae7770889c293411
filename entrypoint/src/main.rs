//! PID 1 of the image. What it does is in the library; this reads the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(entrypoint::cli::main(std::env::args_os().skip(1).collect()))
}
