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

use search::{Bounds, Start, search};
use world::Sabotage;

fn deep() -> bool {
    std::env::var_os("MODEL_DEEP").is_some()
}

#[track_caller]
fn holds(tasks: u8, start: Start, faults: u8, ticks: u8, rest_every: u64) {
    let bounds = Bounds {
        tasks,
        faults,
        ticks,
        ordered: tasks > 2 || matches!(start, Start::Gone { .. }),
        start,
        rest_every,
    };
    let began = std::time::Instant::now();
    match search(bounds) {
        Ok(states) => println!(
            "{tasks} tasks, {start:?}, {faults} faults, {ticks} ticks: {states} states in {:.1?}",
            began.elapsed()
        ),
        Err(found) => panic!("{found}"),
    }
}

#[test]
fn one_task_and_two_faults() {
    holds(1, Start::Empty, 2, 14, 16);
}

#[test]
fn two_tasks_and_one_fault() {
    holds(2, Start::Empty, if deep() { 2 } else { 1 }, 12, 16);
}

#[test]
fn two_members_and_one_fault() {
    holds(2, Start::Formed, if deep() { 2 } else { 1 }, 14, 16);
}

#[test]
fn three_tasks_and_one_fault() {
    holds(3, Start::Empty, 1, if deep() { 11 } else { 8 }, 64);
}

/// Long enough for a lost generation to be followed by the next one.
#[test]
fn three_members_and_one_fault() {
    holds(3, Start::Formed, 1, if deep() { 16 } else { 13 }, 64);
}

/// One of two is left: from just before it may claim until everybody is in the next generation.
#[test]
fn one_of_two_survives() {
    // Gone for good; or asleep, and it may wake at any moment.
    for (asleep, ticks) in [(0, 9), (1, 6)] {
        let start = Start::Lost {
            survivors: 1,
            asleep,
            warm: 7,
        };
        holds(2, start, 1, ticks + 3 * u8::from(deep()), 16);
    }
}

/// Two of four are left, one of which knows more; the others are gone, or may wake.
#[test]
fn two_of_four_survive() {
    for (asleep, faults, ticks) in [(0, 1, 8), (1, 0, 9)] {
        let start = Start::Lost {
            survivors: 2,
            asleep,
            warm: 7,
        };
        holds(4, start, faults, ticks + u8::from(deep()), 64);
    }
}

/// All are lost and their sets are left: from just before it may be claimed until the restore into the next
/// generation is finished.
#[test]
fn a_lost_cluster_is_restored() {
    for (tasks, faults, ticks) in [(1, 1, 9), (2, 1, 5)] {
        let start = Start::Gone { asleep: 0, warm: 5 };
        holds(tasks, start, faults, ticks + 2 * u8::from(deep()), 64);
    }
}

#[test]
fn seeded_schedules() {
    let count = if deep() { 1_000_000 } else { 100_000 };
    if let Err(found) = schedules::run(0..count, Sabotage::None, schedules::schedule) {
        panic!("{found}");
    }
}

#[test]
fn schedules_that_begin_with_a_lost_majority() {
    use std::sync::atomic::Ordering::Relaxed;
    let count = if deep() { 300_000 } else { 30_000 };
    if let Err(found) = schedules::run(0..count, Sabotage::None, schedules::lost_schedule) {
        panic!("{found}");
    }
    let regrouped = schedules::REGROUPED.load(Relaxed);
    let over = schedules::WENT_OVER.load(Relaxed);
    println!("{regrouped} of {count} schedules regrouped; {over} tasks with data belong to that");
    assert!(regrouped * 4 > count, "the rule was hardly used");
}

#[test]
fn schedules_that_begin_with_a_total_loss() {
    use std::sync::atomic::Ordering::Relaxed;
    let count = if deep() { 200_000 } else { 2_000 };
    if let Err(found) = schedules::run(0..count, Sabotage::None, schedules::gone_schedule) {
        panic!("{found}");
    }
    let restores = schedules::RESTORES.load(Relaxed);
    let restored = schedules::RESTORED.load(Relaxed);
    println!("{restores} of {count} schedules began a restore; {restored} finished one in time");
    assert!(restored > 0, "the rule was not used");
}

#[test]
fn schedules_that_begin_with_a_cluster_of_one() {
    use std::sync::atomic::Ordering::Relaxed;
    let count = if deep() { 100_000 } else { 2_000 };
    if let Err(found) = schedules::run(0..count, Sabotage::None, schedules::sole_schedule) {
        panic!("{found}");
    }
    let ended = schedules::ENDED.load(Relaxed);
    let followed = schedules::FOLLOWED.load(Relaxed);
    println!("{ended} of {count} schedules ended in order; after {followed} the set was restored");
    assert!(followed > 0, "the rule was not used");
}

/// A model that finds nothing proves nothing: rules broken on purpose are found out.
#[test]
fn broken_rules_are_found_out() {
    for (sabotage, schedule) in [
        (Sabotage::Overwrite, schedules::schedule as fn(_, _) -> _),
        (Sabotage::NeverStuck, schedules::schedule),
        (Sabotage::NoFence, schedules::schedule),
        (Sabotage::NoBeats, schedules::schedule),
        (Sabotage::Impatient, schedules::schedule),
        (Sabotage::NoRank, schedules::lost_schedule),
        (Sabotage::StartsAgain, schedules::lost_schedule),
        (Sabotage::Unmarked, schedules::lost_schedule),
        (Sabotage::Blind, schedules::gone_schedule),
        (Sabotage::Hasty, schedules::gone_schedule),
    ] {
        let found = schedules::run(0..200_000, sabotage, schedule);
        let found = found.expect_err(&format!("{sabotage:?} was not found"));
        let first = found.lines().next().unwrap_or_default();
        println!("{sabotage:?}: {first}");
    }
}
