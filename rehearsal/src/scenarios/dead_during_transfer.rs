//! Proves that a transfer whose target dies does not stand in the way: it is aborted, and the copy
//! is made elsewhere.

use super::healing::{begin, end, followers, setup_of_several};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "dead-during-transfer",
    about: "a member dies, and then the task that its copy is on the way to",
    cases: &[Case {
        name: "",
        setup: setup_of_several,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let member = world.any(&followers(world, &[])?)?;
    let since = world.timeline.now();
    world.kill(&member, "an ordinary member").await?;
    let watcher = world.watcher()?;
    let target = || {
        let look = watcher.latest();
        let (_, transfer) = look.transfers().into_iter().next()?;
        world.ecs.task(&format!("t{}", look.task_of(transfer.to)?))
    };
    let target = world.aim("a transfer", timing::HEALED, target).await?;
    world.kill(&target, "a copy is on its way to it").await?;
    let fault = "a member and then the target of its copy died";
    world.healed(fault, since, world.size()).await?;
    end(world, points).await
}
