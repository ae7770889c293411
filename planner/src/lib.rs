//! Every decision of the entrypoint, as pure functions. No I/O, no clock, no tokio.

pub mod restart;
