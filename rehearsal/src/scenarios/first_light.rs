//! Proves the main job: identical empty tasks order their own bootstrap and survive the loss of
//! the first one.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "first-light",
    about: "empty tasks form one cluster; its founder is killed; the replacement joins",
    cases: &[Case {
        name: "",
        setup: |setup| setup.at_least = 3,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.step(format!("{} empty tasks start at once", world.size()));
    form(world).await?;
    let founder = world.founder()?;
    world.step("the founder dies");
    world.kill(&founder, "the founder").await?;
    world.rest(world.size()).await.map(|_| ())
}
