//! Proves that a live peer outranks an empty store: nobody founds when the records vanish under a
//! living cluster, and its members write them again.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "store-emptied",
    about: "all records vanish under a living cluster: nobody founds, they are written again",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.allowed.events = vec!["store.*", "generation.recreated"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let dead = ordinary(world)?;
    world.efs.wipe()?;
    world.fault(&[], "the store is emptied");
    world
        .kill(&dead, "its replacement finds an empty store")
        .await?;
    world.rest(world.size()).await?;
    let again = || world.efs.formed(1).then_some(());
    world
        .aim("the formed record again", timing::REST, again)
        .await?;
    nobody_founds(world, 1).await
}
