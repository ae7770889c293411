//! Proves that it does not matter when a collection was created: while the cluster forms, while a
//! dead peer is still listed (Qdrant places copies on it), while a task is missing. At rest every
//! copy is there and in its zone.

use super::healing::{Wanted, begin, end, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "collections-uneven",
    about: "collections created at odd moments: all copies in their zones at rest",
    cases: &[Case {
        name: "",
        setup: |uneven| {
            setup(uneven);
            // Four tasks join at once a cluster that creates collections. Of two changes of
            // membership at a time Qdrant drops one without a word, which costs ten seconds each
            // (facts: T2); three short loss time-outs are soon over.
            // Collections with fewer copies are part of it, and stay as they were created.
            uneven.env.push(("ENTRYPOINT_COPIES", "off".into()));
            uneven.allowed.events.extend(["alarm", "heal.failed"]);
        },
        run: |world| Box::pin(run(world)),
    }],
};

const fn wanted(shards: usize, copies: usize) -> Wanted {
    Wanted { shards, copies }
}

async fn run(world: &World) -> Result<(), Failure> {
    world.step("two tasks first, and a collection that wants three copies");
    world.ecs.scale(2);
    world
        .until("two voters", timing::REST, |sample| {
            let voters = sample.running().filter(|view| view.votes()).count();
            (voters == 2).then_some(()).ok_or_else(|| sample.describe())
        })
        .await?;
    world
        .create(&world.leader()?, "early", wanted(1, 3))
        .await?;
    let points = begin(world).await?;

    let victim = world.any(&world.ecs.running())?;
    let since = world.timeline.now();
    world
        .kill(&victim, "and a collection is created at once")
        .await?;
    let mut living = world.ecs.running();
    living.retain(|task| task.number != victim.number);
    // Two copies, of which the dead get one at most: an only copy placed there never was anywhere.
    let through = world.any(&living)?;
    world
        .create(&through, "with-the-dead", wanted(3, 2))
        .await?;
    let fault = "a collection was created beside a dead peer";
    world.healed(fault, since, world.size()).await?;

    let since = world.timeline.now();
    world.create(&world.leader()?, "late", wanted(3, 3)).await?;
    world
        .create(&world.leader()?, "one-copy", wanted(1, 1))
        .await?;
    world
        .healed("two more collection", since, world.size())
        .await?;
    end(world, points).await
}
