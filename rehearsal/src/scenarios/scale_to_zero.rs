//! Proves that nothing wedges when no task is wanted any more: every task ends, in bounded time and
//! cleanly, whether or not it can be protected or ask what is wanted.

use super::prelude::*;
use super::rolling::{begin, setup};
use crate::ecs::{agent, api};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "scale-to-zero",
    about: "no task is wanted any more: all end cleanly",
    cases: &[
        Case {
            name: "",
            setup: |world| {
                setup(world, 100, 200);
                world.allowed.events.push(DATA_ENDS);
            },
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "without-api",
            setup: |world| {
                setup(world, 100, 200);
                world.policy.api = api::Mode::Denies;
            },
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "without-protection",
            setup: |world| {
                setup(world, 100, 200);
                world.policy.agent = agent::Mode::Absent;
                world.allowed.events.push(DATA_ENDS);
            },
            run: |world| Box::pin(run(world)),
        },
    ],
};

/// Who is told by ECS that no task is wanted says with an alarm that the data ends with the tasks.
const DATA_ENDS: &str = "alarm";

/// Protection that is not renewed lasts a minute, and every task may take its whole stop time-out.
const BOUND: Duration = timing::MINUTE
    .saturating_mul(2)
    .saturating_add(timing::STOP.saturating_mul(3));

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    drop(points);
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
    Ok(())
}
