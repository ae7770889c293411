//! ECS in a box: real entrypoints and Qdrants on loopback addresses, with faults and verdicts.
//!
//! `ecs` starts and replaces tasks, `dns` and `efs` are what they find around them, `observe`
//! watches all of it, `scenarios` make it a bad day, `verdict` judges, `report` shows.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod bench;
pub mod cli;
pub mod direct;
pub mod dns;
pub mod ecs;
pub mod efs;
pub mod observe;
pub mod report;
pub mod run;
pub mod scenario;
pub mod scenarios;
pub mod standin;
pub mod timeline;
pub mod timing;
pub mod tools;
pub mod verdict;
pub mod world;

/// Locks, also after a panic elsewhere: what we guard is only bookkeeping.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
