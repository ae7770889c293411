//! The PID-1 program.

fn main() {}
