//! The PID-1 program: all I/O of the product.

pub mod child;
pub mod config;
pub mod discovery;
pub mod identity;
pub mod store;
