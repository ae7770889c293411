//! Proves that the claim of a claimant which stood still past the claim time-out is abandoned,
//! that nobody founds past a frozen task, and that on waking it gives its claim up: one cluster.

use super::prelude::*;
use crate::ecs::task::Pause;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "founder-sleeps",
    about: "the claimant freezes past the claim time-out, then goes on",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.allowed.events = vec!["alarm"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.ecs.scale(world.size());
    let claimant = world
        .aim("a claim", timing::REST, || world.claimant(1))
        .await?;
    claimant.pause(Pause::Whole);
    if world.efs.formed(1) {
        return Err(Failure::missed("the time between claim and formed"));
    }
    world.fault(&[&claimant], "the claimant freezes");
    world
        .aim("an abandoned claim", timing::REST, || {
            world.efs.abandoned(1).then_some(())
        })
        .await?;
    // A frozen task answers nothing and is listed in DNS: nobody founds past it.
    world
        .never(
            "nobody founds while somebody unreadable is there",
            timing::CLAIM,
            |_| {
                (2..9)
                    .find(|generation| world.efs.formed(*generation))
                    .map(|generation| format!("generation {generation} was formed"))
            },
        )
        .await?;
    world.fault(&[&claimant], "the claimant wakes");
    claimant.resume();
    world.rest(world.size()).await.map(|_| ())
}
