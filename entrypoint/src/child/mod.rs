//! The Qdrant process under PID 1: starting it, hearing of its end, stopping it.
//!
//! Owns process control and nothing else: no decision to restart is made here (that is
//! `planner::restart`), nothing is known of clusters, and no file is changed.
//!
//! How it fits together:
//! - [`spawn`] gives every child a thread of its own that forks it, waits for it and ends after it.
//!   `PR_SET_PDEATHSIG` follows the parent *thread*, so the kernel's promise "the child dies with its
//!   parent" holds for exactly as long as the child lives, whatever the async runtime does.
//! - That thread is the only one that reaps the child, so [`Reaper`] (orphans, when we are PID 1)
//!   leaves its status alone.
//! - Signals are sent under a lock which the reaping also takes: none can hit a recycled pid.

mod budget;
mod cgroup;
mod error;
mod exit;
mod fork;
mod orphans;
pub mod passthrough;
mod process;
pub mod recovery;
mod spec;

pub use budget::{BadStopBudget, StopBudget};
pub use cgroup::{CgroupPaths, Oom};
pub use error::SpawnError;
pub use exit::{Exit, Stopped};
pub use orphans::Reaper;
pub use process::{Child, spawn};
pub use spec::{Environment, Output, Spec, Stdin};
