//! Proves that a whole zone can be lost: every task of one zone dies at once, no shard loses more
//! than one copy, and the replacements get them back.

use super::healing::{begin, end, kill_all_and_heal, setup_of_several};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "zone-loss",
    about: "every task of one zone dies at once under load",
    cases: &[Case {
        name: "",
        setup: setup_of_several,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let zone = world.any(&world.ecs.running())?.zone.clone();
    let mut tasks = world.ecs.running();
    tasks.retain(|task| task.zone == zone);
    kill_all_and_heal(world, &tasks, "a zone was lost").await?;
    end(world, points).await
}
