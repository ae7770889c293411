//! `cargo rehearse`.

fn main() {}
