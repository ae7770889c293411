//! Proves that ECS may level its zones: after a zone was away for a while all tasks run in the
//! others; when it is back, ECS starts a task there and stops one elsewhere until all are even, and
//! copies follow.

use super::healing::end;
use super::prelude::*;
use super::rolling::{begin, setup};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "rebalance-zones",
    about: "a zone was away; ECS levels its tasks when it is back, and copies follow",
    cases: &[Case {
        name: "",
        setup: |world| {
            setup(world, 100, 117);
            world.policy.rebalancing = true;
            world.at_least = 6;
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let away = world.leader()?.zone.clone();
    world.ecs.shut_zone(&away, true);
    let mut tasks = world.ecs.running();
    tasks.retain(|task| task.zone == away);
    let since = world.timeline.now();
    world.kill_all(&tasks, "its zone is lost").await?;
    world.healed("a zone was lost", since, world.size()).await?;
    points.more(world, 100).await?;

    let begun = world.rolls("zones were levelled")?;
    world.ecs.shut_zone(&away, false);
    let bound = timing::ROLL * u32::try_from(tasks.len() + 1).unwrap_or(u32::MAX);
    world
        .until("as many tasks in the zone as before", bound, |_| {
            let mut running = world.ecs.running();
            running.retain(|task| task.zone == away && task.stopping().is_none());
            match running.len() >= tasks.len() {
                true => Ok(()),
                false => Err(format!("{} tasks in zone {away}", running.len())),
            }
        })
        .await?;
    world.rolled(begun, world.size()).await?;
    end(world, points).await
}
