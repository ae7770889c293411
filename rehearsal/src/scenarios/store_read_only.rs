//! Proves that a store that refuses writes is named, that nobody founds with it, and that a living
//! cluster goes on.

use super::prelude::*;
use crate::efs::Fault;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "store-read-only",
    about: "the store refuses writes: at the start and under a living cluster",
    cases: &[
        Case {
            name: "from-the-start",
            setup,
            run: |world| Box::pin(start(world)),
        },
        Case {
            name: "living",
            setup,
            run: |world| Box::pin(living(world)),
        },
    ],
};

fn setup(setup: &mut Setup) {
    setup.at_least = 3;
    setup.breakable_store = true;
    setup.allowed.events = vec!["store.*"];
    setup.allowed.blocked = vec!["store", "read-only", "Read-only"];
}

async fn start(world: &World) -> Result<(), Failure> {
    world.efs.set(Fault::ReadOnly);
    world.fault(&[], "the store is read-only");
    world.ecs.scale(world.size());
    nobody_founds(world, 0).await?;
    let sample = world.observer.latest();
    let says_so = |reason: &str| reason.to_lowercase().contains("read-only");
    let named = sample
        .running()
        .filter_map(|view| view.status.as_ref())
        .any(|status| says_so(&status.reason) || status.alarms.iter().any(|alarm| says_so(alarm)));
    if !named {
        return Err(Failure::new("a wait names its cause", sample.describe()));
    }
    world.efs.set(Fault::None);
    world.fault(&[], "the store takes writes again");
    world.rest(world.size()).await.map(|_| ())
}

async fn living(world: &World) -> Result<(), Failure> {
    form(world).await?;
    world.efs.set(Fault::ReadOnly);
    world.fault(&[], "the store is read-only");
    let dead = ordinary(world)?;
    world
        .kill(&dead, "its replacement cannot write records")
        .await?;
    world.rest(world.size()).await?;
    world.efs.set(Fault::None);
    world.rest(world.size()).await.map(|_| ())
}
