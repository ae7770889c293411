//! Proves that nobody has to know about copies: a collection created without a number gets our
//! defaults, one created with too few copies gets the rest, and both outlive the death of a task
//! under load.

use super::healing::{COLLECTION, USUAL, Wanted, end, kill_and_heal, setup, writing};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "low-factor",
    about: "collections that ask for nothing, or for one copy, get three, and outlive a death",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let since = world.timeline.now();
    let through = world.leader()?;
    world.create_as(&through, COLLECTION, None, USUAL).await?;
    let single = Wanted { copies: 1, ..USUAL };
    world
        .create_as(&through, "single", Some(single), USUAL)
        .await?;
    let points = writing(world, "two collections were created", since).await?;
    let victim = ordinary(world)?;
    kill_and_heal(world, &points, &victim, "a task died").await?;
    end(world, points).await
}
