//! Long random schedules with many faults: what exhaustive search cannot reach.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use planner::records::Stage;

use crate::steps::{Fault, Step};
use crate::world::{Group, Restore, Sabotage, World};

/// Steps before the weather turns fair.
const LENGTH: usize = 120;

/// Runs the schedules with these seeds on all cores; the first broken promise, by seed.
pub fn run(
    seeds: std::ops::Range<u64>,
    sabotage: Sabotage,
    schedule: fn(u64, Sabotage) -> Result<(), String>,
) -> Result<(), String> {
    let next = AtomicU64::new(seeds.start);
    let failed = std::sync::Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().is_ok_and(|f| f.is_none()) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if let Err(why) = schedule(seed, sabotage)
                        && let Ok(mut failed) = failed.lock()
                        && failed.as_ref().is_none_or(|(first, _)| seed < *first)
                    {
                        *failed = Some((seed, why));
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some((seed, why))) => Err(format!("seed {seed}: {why}")),
        Err(_) => Err("a schedule panicked".to_owned()),
    }
}

/// One schedule.
pub fn schedule(seed: u64, sabotage: Sabotage) -> Result<(), String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let tasks = rng.random_range(1..=4);
    let faults = rng.random_range(1..=6);
    let calm = rng.random_range(4..40);
    let world = World::new(tasks, faults, sabotage);
    go_on(world, rng, calm)
}

/// Schedules in which survivors went on as a new generation, and how many tasks went over with data.
pub static REGROUPED: AtomicU64 = AtomicU64::new(0);
pub static WENT_OVER: AtomicU64 = AtomicU64::new(0);

/// One that begins where at least half of a cluster was just lost, for good or asleep.
pub fn lost_schedule(seed: u64, sabotage: Sabotage) -> Result<(), String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let tasks: u8 = rng.random_range(2..=4);
    let survivors = rng.random_range(1..=tasks / 2);
    let asleep = rng.random_range(0..1 << tasks);
    let faults = rng.random_range(0..=4);
    let calm = rng.random_range(8..80);
    let world = World::half_lost(tasks, survivors, asleep, faults, sabotage);
    go_on(world, rng, calm)
}

/// Schedules in which a generation was formed for a restore, and in which one was finished.
pub static RESTORES: AtomicU64 = AtomicU64::new(0);
pub static RESTORED: AtomicU64 = AtomicU64::new(0);

/// One that begins where a whole cluster was just lost for good, and its sets are left. Where all of its
/// members only sleep and the store is emptied meanwhile, nothing is left that could know of them:
/// `docs/failures.md` names that.
pub fn gone_schedule(seed: u64, sabotage: Sabotage) -> Result<(), String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let tasks: u8 = rng.random_range(1..=4);
    if rng.random_ratio(1, 4) && rng.random_range(0..1_u64 << tasks) > 0 {
        return Ok(());
    }
    let faults = rng.random_range(0..=5);
    let calm = rng.random_range(8..80);
    let warm = rng.random_range(0..12);
    let mut world = World::gone(tasks, 0, 0, sabotage).fair(warm)?;
    world.budget = faults;
    go_on(world, rng, calm)
}

/// Schedules in which a generation has ended in order, and in which a restore followed one that had.
pub static ENDED: AtomicU64 = AtomicU64::new(0);
pub static FOLLOWED: AtomicU64 = AtomicU64::new(0);

/// One that begins with a cluster of one, which may say its last word, and with newcomers.
pub fn sole_schedule(seed: u64, sabotage: Sabotage) -> Result<(), String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let newcomers = rng.random_range(0..=2);
    let faults = rng.random_range(1..=5);
    let calm = rng.random_range(4..40);
    go_on(World::sole(newcomers, faults, sabotage), rng, calm)
}

fn go_on(mut world: World, mut rng: SmallRng, calm: u32) -> Result<(), String> {
    let mut path = Vec::new();
    for _ in 0..LENGTH {
        let step = pick(&world, &mut rng, calm);
        let Some(step) = step else {
            break;
        };
        path.push(step);
        world.take(step);
        world
            .is_sound()
            .map_err(|why| format!("{why}\nafter {path:?}{}", world.story()))?;
    }
    let by_survivors = world.history.iter().filter(|f| !f.survivors.is_empty());
    REGROUPED.fetch_add(u64::from(by_survivors.count() > 0), Ordering::Relaxed);
    let over = world.tasks.iter().filter(|task| {
        let stamp = task.disk.stamp.as_ref();
        stamp.is_some_and(|s| !s.survivors.is_empty() && s.stage == Stage::Member)
            && task.disk.collections
    });
    WENT_OVER.fetch_add(over.count() as u64, Ordering::Relaxed);
    let restores = world.history.iter().any(|formed| formed.restore);
    RESTORES.fetch_add(u64::from(restores), Ordering::Relaxed);
    ENDED.fetch_add(u64::from(!world.store.ends.is_empty()), Ordering::Relaxed);
    let followed = world.history.iter().any(|formed| {
        let previous = formed.previous.as_ref();
        let end = previous.and_then(|previous| world.store.ends.get(&previous.number));
        formed.restore && end.map(|end| &end.generation) == previous
    });
    FOLLOWED.fetch_add(u64::from(followed), Ordering::Relaxed);
    let finished = |group: &Group| matches!(group.restore, Restore::Finished(_));
    let restored = world.groups.iter().any(finished);
    RESTORED.fetch_add(u64::from(restored), Ordering::Relaxed);
    world
        .comes_to_rest()
        .map_err(|why| format!("{why}\nafter {path:?}{}", world.story()))
}

/// Mostly the ordinary course of things; about one step in `calm` is a fault.
fn pick(world: &World, rng: &mut SmallRng, calm: u32) -> Option<Step> {
    let mut steps = world.steps();
    if world.budget > 0 {
        let removed = (0..world.tasks.len()).filter(|i| world.possible(*i, Fault::Removed));
        steps.extend(removed.map(|i| Step::Hit(i, Fault::Removed)));
        for (back, late) in [(false, false), (false, true), (true, false), (true, true)] {
            let fault = Fault::Farewell { back, late };
            let last = (0..world.tasks.len()).filter(|i| world.possible(*i, fault));
            steps.extend(last.map(|i| Step::Hit(i, fault)));
        }
    }
    let (rare, usual): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(is_rare);
    let wanted = match rng.random_ratio(1, calm) {
        true if !rare.is_empty() => &rare,
        _ if usual.is_empty() => &rare,
        _ => &usual,
    };
    wanted.choose(rng).copied()
}

fn is_rare(step: &Step) -> bool {
    !matches!(
        step,
        Step::Round(_) | Step::Act(_, crate::steps::How::Answered) | Step::Tick | Step::Restore(_)
    )
}
