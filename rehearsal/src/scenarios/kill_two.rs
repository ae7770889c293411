//! Proves that two tasks of different zones can die at once: four of six voters are a quorum, and
//! each shard has a copy left.

use super::healing::{begin, end, kill_all_and_heal, setup_of_several};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-two",
    about: "two tasks in different zones die at once under load",
    cases: &[Case {
        name: "",
        setup: setup_of_several,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = world.any(&world.ecs.running())?;
    let mut others = world.ecs.running();
    others.retain(|task| task.zone != first.zone);
    let second = world.any(&others)?;
    kill_all_and_heal(world, &[first, second], "two tasks died at once").await?;
    end(world, points).await
}
