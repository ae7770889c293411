//! Proves that replacement is not a single stroke of luck: two tasks die one after the other.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "replace-two",
    about: "two tasks die, one after the other; both are replaced",
    cases: &[Case {
        name: "",
        setup: |setup| setup.at_least = 3,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let leader = world.leader()?;
    world.kill(&leader, "the leader").await?;
    world.rest(world.size()).await?;
    let next = ordinary(world)?;
    world.kill(&next, "an ordinary member").await?;
    world.rest(world.size()).await.map(|_| ())
}
