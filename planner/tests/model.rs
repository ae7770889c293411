//! The founding rules under a model checker: the real planner in a small world of crashes, pauses,
//! lost answers, late writes, stale DNS and emptied stores.
//!
//! `MODEL_DEEP=1` searches further and runs ten times as many schedules.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a world of known size, in tests that may fail loudly"
)]

#[path = "model/acts.rs"]
mod acts;
#[path = "model/promises.rs"]
mod promises;
#[path = "model/schedules.rs"]
mod schedules;
#[path = "model/search.rs"]
mod search;
#[path = "model/sight.rs"]
mod sight;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/world.rs"]
mod world;

use search::{Bounds, search};
use world::Sabotage;

fn deep() -> bool {
    std::env::var_os("MODEL_DEEP").is_some()
}

#[track_caller]
fn holds(tasks: u8, formed: bool, faults: u8, ticks: u8, rest_every: u64) {
    let bounds = Bounds {
        tasks,
        faults,
        ticks,
        ordered: tasks > 2,
        formed,
        rest_every,
    };
    let began = std::time::Instant::now();
    match search(bounds) {
        Ok(states) => println!(
            "{tasks} tasks, {}, {faults} faults, {ticks} ticks: {states} states in {:.1?}",
            if formed { "formed" } else { "empty" },
            began.elapsed()
        ),
        Err(found) => panic!("{found}"),
    }
}

#[test]
fn one_task_and_two_faults() {
    holds(1, false, 2, 14, 16);
}

#[test]
fn two_tasks_and_one_fault() {
    holds(2, false, if deep() { 2 } else { 1 }, 12, 16);
}

#[test]
fn two_members_and_one_fault() {
    holds(2, true, if deep() { 2 } else { 1 }, 14, 16);
}

#[test]
fn three_tasks_and_one_fault() {
    holds(3, false, 1, if deep() { 11 } else { 8 }, 64);
}

/// Long enough for a lost generation to be followed by the next one.
#[test]
fn three_members_and_one_fault() {
    holds(3, true, 1, if deep() { 16 } else { 13 }, 64);
}

#[test]
fn seeded_schedules() {
    let count = if deep() { 1_000_000 } else { 100_000 };
    if let Err(found) = schedules::run(0..count, Sabotage::None) {
        panic!("{found}");
    }
}

/// A model that finds nothing proves nothing: rules broken on purpose are found out.
#[test]
fn broken_rules_are_found_out() {
    for sabotage in [
        Sabotage::Overwrite,
        Sabotage::NeverStuck,
        Sabotage::NoFence,
        Sabotage::NoBeats,
        Sabotage::Impatient,
    ] {
        let found = schedules::run(0..200_000, sabotage);
        let found = found.expect_err(&format!("{sabotage:?} was not found"));
        let first = found.lines().next().unwrap_or_default();
        println!("{sabotage:?}: {first}");
    }
}
