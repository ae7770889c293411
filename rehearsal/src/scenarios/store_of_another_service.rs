//! Proves that another service's store is refused: nobody founds on it, a living cluster goes on,
//! and the tasks say what they found.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "store-of-another-service",
    about: "another service's store is mounted: nobody founds, the living cluster goes on",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.allowed.events = vec!["store.*", "alarm"];
            setup.allowed.blocked = vec!["another service", "other service", "somebody-else"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let identity = world.efs.give_to("somebody-else")?;
    world.fault(&[], "the store belongs to somebody else");
    let dead = ordinary(world)?;
    world
        .kill(&dead, "its replacement finds another service's store")
        .await?;
    nobody_founds(world, 1).await?;
    let members = world
        .observer
        .latest()
        .running()
        .filter(|view| view.votes())
        .count();
    if members + 1 < world.size() {
        let seen = world.observer.latest().describe();
        return Err(Failure::new("a living cluster goes on", seen));
    }
    world.efs.give_back(&identity)?;
    world.fault(&[], "the own store is back");
    world.rest(world.size()).await.map(|_| ())
}
