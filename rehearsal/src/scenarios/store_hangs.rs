//! Proves that a store that does not answer is Unknown: nobody founds without it, and a living
//! cluster serves and takes in a replacement without it.

use super::prelude::*;
use crate::efs::Fault;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "store-hangs",
    about: "the store hangs like an unreachable EFS: at the start and under a living cluster",
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
}

async fn start(world: &World) -> Result<(), Failure> {
    world.efs.set(Fault::Hang);
    world.fault(&[], "the store hangs");
    world.ecs.scale(world.size());
    nobody_founds(world, 0).await?;
    world.efs.set(Fault::None);
    world.fault(&[], "the store answers again");
    world.rest(world.size()).await.map(|_| ())
}

async fn living(world: &World) -> Result<(), Failure> {
    form(world).await?;
    world.efs.set(Fault::Hang);
    world.fault(&[], "the store hangs");
    let dead = ordinary(world)?;
    world.kill(&dead, "its replacement has no store").await?;
    world.rest(world.size()).await?;
    world.efs.set(Fault::None);
    world.fault(&[], "the store answers again");
    world.rest(world.size()).await.map(|_| ())
}
