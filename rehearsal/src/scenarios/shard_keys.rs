//! Proves that a user's own shards are cared for like any other: of a collection with custom sharding
//! one key was created before and one while a dead task is listed, one asked for a single copy, and
//! whatever is created, deleted or killed, at rest every shard of every key has its copies, one in each
//! zone, and every point of every key is there.

use super::healing::{end, kill_and_heal, setup};
use super::prelude::*;
use crate::world::points::rest::Target;
use crate::world::points::{LIGHT, Points};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "shard-keys",
    about: "custom sharding: keys created at any time get their copies, one in each zone",
    cases: &[Case {
        name: "",
        setup: |keys| {
            setup(keys);
            // With fewer, the keys have no three zones.
            keys.at_least = 6;
        },
        run: |world| Box::pin(run(world)),
    }],
};

const COLLECTION: &str = "tenants";
/// Copies that the collection wants.
const COPIES: usize = 3;
/// Writes between two faults.
const BETWEEN: u64 = 30;

fn key(name: &str) -> Target {
    Target {
        collection: COLLECTION.into(),
        key: Some(name.into()),
    }
}

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let since = world.timeline.now();
    let through = world.leader()?;
    world.create_custom(&through, COLLECTION, COPIES).await?;
    world.create_key(&through, &key("early"), 2, None).await?;
    let early = Points::start(world, key("early"), LIGHT).await?;
    world
        .healed("a first key was created", since, world.size())
        .await?;
    early.more(world, BETWEEN).await?;

    let since = world.timeline.now();
    let victim = world.any(&world.ecs.running())?;
    world.kill(&victim, "and a key is created at once").await?;
    let mut living = world.ecs.running();
    living.retain(|task| task.number != victim.number);
    let through = world.any(&living)?;
    world.create_key(&through, &key("late"), 2, None).await?;
    let late = Points::start(world, key("late"), LIGHT).await?;
    let fault = "a key was created beside a dead peer";
    world.healed(fault, since, world.size()).await?;

    let since = world.timeline.now();
    let single = key("single");
    world
        .create_key(&world.leader()?, &single, 1, Some(1))
        .await?;
    let single = Points::start(world, single, LIGHT).await?;
    world
        .healed("a key asked for one copy", since, world.size())
        .await?;

    let victim = world.any(&world.ecs.running())?;
    kill_and_heal(world, &early, &victim, "a task died under all keys").await?;
    for points in [early, late, single] {
        end(world, points).await?;
    }
    Ok(())
}
