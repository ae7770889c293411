//! Proves that a claimant which stood still past the claim time-out finds itself overtaken: it
//! never serves beside its successor, and joins it.

use super::prelude::*;
use crate::ecs::task::Pause;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "founder-sleeps",
    about: "the claimant freezes past the claim time-out, then goes on",
    cases: &[Case {
        name: "",
        setup: |setup| setup.at_least = 3,
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
    let overtaken = || {
        (2..9)
            .any(|generation| world.efs.formed(generation))
            .then_some(())
    };
    world
        .aim("a formed successor", timing::REST, overtaken)
        .await?;
    // Longer than anything it may still believe in.
    world
        .never("one generation serves", timing::CLAIM, |_| None)
        .await?;
    world.fault(&[&claimant], "the claimant wakes");
    claimant.resume();
    world.rest(world.size()).await.map(|_| ())
}
