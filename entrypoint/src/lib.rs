//! The PID-1 program: all I/O of the product.
//!
//! One direction: [`observe`] sees, `planner` decides, [`act`] acts, [`record`] tells. [`round`]
//! holds them together; everything else is a sense or a hand of its own.

pub mod act;
pub mod archive;
pub mod child;
pub mod cli;
pub mod config;
pub mod control;
pub mod discovery;
pub mod disk;
pub mod ecs;
pub mod events;
pub mod identity;
pub mod keep;
pub mod knocks;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod observe;
pub mod priority;
pub mod qdrant;
pub mod query;
pub mod record;
pub mod regroup;
pub mod round;
pub mod serve;
pub mod standstill;
pub mod status;
pub mod steward;
pub mod store;
pub mod wakefulness;
