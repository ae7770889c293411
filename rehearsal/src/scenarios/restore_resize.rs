//! Proves that everything comes back into fewer tasks than it was lost from, and into more.

use super::healing::begin;
use super::lose_everything::{self, RESTORED, lose, newest, one_more, restored_within};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "restore-resize",
    about: "all tasks die at once, and another number of them is wanted: everything comes back",
    cases: &[
        Case {
            name: "fewer",
            setup: |fewer| {
                lose_everything::setup(fewer);
                // Some are one too many when everything is lost, and ECS says so to whoever works just then.
                fewer.allowed.events.push("protection.refused");
            },
            run: |world| Box::pin(resized(world, world.size() / 2)),
        },
        Case {
            name: "more",
            setup: |more| {
                lose_everything::setup(more);
                more.at_least = 3;
                more.size = 3;
            },
            run: |world| Box::pin(resized(world, world.size() * 2)),
        },
    ],
};

async fn resized(world: &World, tasks: usize) -> Result<(), Failure> {
    let (mut points, then) = one_more(world, begin(world).await?).await?;
    world.ecs.scale(tasks);
    world.step(format!("{tasks} tasks are wanted from now on"));
    let since = lose(world, &mut points, then).await?;
    let from = newest(world)?.id;
    restored_within(world, points, since, from, tasks, RESTORED).await
}
