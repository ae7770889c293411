//! Proves that nothing wedges and nothing is lost when no task is wanted any more: under writes, every task
//! ends, in bounded time and cleanly, whether or not it can be protected or ask what is wanted; and when
//! tasks are wanted again, all that was ever acknowledged is there.

use planner::keep::records::Origin;

use super::lose_everything::{newest, nobody_served_less};
use super::prelude::*;
use super::rolling::{begin, setup};
use crate::ecs::{agent, api};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "scale-to-zero",
    about: "no task is wanted any more, and later they are: all end cleanly, nothing is lost",
    cases: &[
        Case {
            name: "",
            setup: setup_back,
            run: |world| Box::pin(run(world, AT_ONCE)),
        },
        Case {
            name: "without-api",
            setup: |world| {
                setup_back(world);
                world.policy.api = api::Mode::Denies;
            },
            run: |world| Box::pin(run(world, AT_ONCE)),
        },
        Case {
            name: "without-protection",
            setup: |world| {
                setup_back(world);
                world.policy.agent = agent::Mode::Absent;
            },
            run: |world| Box::pin(run(world, AT_ONCE)),
        },
        Case {
            name: "staggered",
            setup: |world| {
                setup_back(world);
                world.policy.agent = agent::Mode::Absent;
            },
            run: |world| Box::pin(run(world, STAGGER)),
        },
    ],
};

/// From one task's SIGTERM to the next one's.
const AT_ONCE: Duration = Duration::ZERO;
/// Some hand over, and while one does the next is told.
const STAGGER: Duration = Duration::from_millis(700);

/// Protection that is not renewed lasts a minute, and every task may take its whole stop time-out.
const BOUND: Duration = timing::MINUTE
    .saturating_mul(2)
    .saturating_add(STOP.saturating_mul(2));
/// What ECS gives by default. Two votes may be needed, one after the other: a steward that was on its way out
/// wins the first and leaves.
const STOP: Duration = Duration::from_secs(30);
/// Silence is counted first, then a cluster is formed, and only then is anything restored.
const BACK: Duration = Duration::from_secs(90);

fn setup_back(back: &mut Setup) {
    setup(back, 100, 200);
    back.generations = 2;
    back.policy.stop = STOP;
    back.env.extend([
        ("ENTRYPOINT_STOP_TIMEOUT", format!("{}s", STOP.as_secs())),
        // No slot begins meanwhile: what is back is of the final set.
        ("ENTRYPOINT_SETS", "24h".to_owned()),
        ("ENTRYPOINT_RESTORE", "auto".to_owned()),
    ]);
    back.allowed.events.extend([
        // That no task is wanted, or that all is lost, a person must know.
        "alarm",
        "set.missed",
        // One that had handed over just before may still be listed.
        "set.last_absent",
        // Whole files are synced: a small record that comes just then may wait for its answer.
        "store.lost",
        "restore.*",
    ]);
}

async fn run(world: &World, apart: Duration) -> Result<(), Failure> {
    let points = begin(world).await?;
    world.watcher()?.lost();
    for task in world.ecs.running() {
        world.healing.harm(&task);
    }
    if !apart.is_zero() {
        for left in (1..world.size()).rev() {
            world.ecs.scale(left);
            tokio::time::sleep(apart).await;
        }
    }
    world.ecs.scale(0);
    let took = world.all_end(BOUND).await?;
    for task in world.ecs.tasks() {
        let exit = task.ended();
        if exit.and_then(|exit| exit.code) != Some(0) {
            let how = exit.map_or("has not ended".into(), |exit| exit.to_string());
            let detail = format!("{}: {how}", task.name());
            return Err(Failure::new("every task ends cleanly", detail));
        }
    }
    world.step(format!("all ended with 0 within {took:.1} s"));
    let set = newest(world)?;
    let origin = set.manifest.as_ref().map(|manifest| manifest.origin);
    if origin != Some(Origin::Stop) {
        let detail = format!("the newest, {}, is of {origin:?}", set.id);
        return Err(Failure::new("there is a final set", detail));
    }
    let held = set.prove()?;
    world.step(format!("final set {} of {held} points", set.id));
    let since = world.timeline.now();
    world.ecs.scale(world.size());
    let what = "tasks were wanted again";
    world.healed_within(what, since, world.size(), BACK).await?;
    let took = world.timeline.now() - since;
    world.step(format!("all is back after {took:.1} s"));
    points.more(world, 30).await?;
    // A read may come to a task whose copies are elsewhere since a moment ago; none may find less.
    nobody_served_less(world, points).await
}
