//! Proves that a replacement may get the very address of the dead task: the entry with our own
//! address is a dead peer, and no reason to wait or to believe in it.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "address-reuse",
    about: "the replacement gets the dead task's address",
    cases: &[Case {
        name: "",
        setup: |setup| setup.at_least = 3,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.ecs.reuse_addresses();
    form(world).await?;
    let dead = ordinary(world)?;
    world.kill(&dead, "its address will be used again").await?;
    let sample = world.rest(world.size()).await?;
    let heirs = sample
        .running()
        .filter(|view| view.address == dead.address.to_string())
        .count();
    match heirs {
        1 => Ok(()),
        _ => Err(Failure::new("the address is used again", sample.describe())),
    }
}
