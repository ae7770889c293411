//! The stand-in for Qdrant as a program; see `rehearsal::standin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rehearsal::standin::main(std::env::args().skip(1), &std::env::vars().collect())
}
