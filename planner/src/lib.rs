//! Every decision of the entrypoint, as functions from what was observed to what to do.
//!
//! No I/O, no clock, no async: [`decide`] takes one [`view::Observation`] and the time since the
//! last one, updates a [`memory::Memory`] and returns one [`decision::Decision`]. The same code
//! runs in PID 1 and under the model checker (`tests/model`).
//!
//! The rules R1 to R9 that the comments name are in `docs/architecture.md`.

pub mod decision;
pub mod destruction;
pub mod farewell;
pub mod forgetting;
pub mod handover;
pub mod heal;
pub mod ids;
pub mod keep;
pub mod memory;
pub mod observed;
pub mod protection;
pub mod records;
pub mod restart;
pub mod settings;
pub mod view;

mod aside;
mod claimant;
mod claims;
mod commits;
mod decide;
mod duties;
mod ended;
mod expulsion;
mod fencing;
mod joiner;
mod member;
mod newcomer;
mod regroup;
mod rejoin;
mod requorum;
mod standing;
mod standstill;
mod witness;

pub use decide::decide;
