//! Proves that a slow store only costs time: every operation takes 20 ms longer.

use super::prelude::*;
use crate::efs::Fault;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "store-slow",
    about: "every store operation takes 20 ms: start and replacement",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.breakable_store = true;
            setup.allowed.events = vec!["store.*"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.efs.set(Fault::Slow(Duration::from_millis(20)));
    world.fault(&[], "every store operation takes 20 ms");
    form(world).await?;
    let founder = world.founder()?;
    world.kill(&founder, "the founder").await?;
    world.rest(world.size()).await.map(|_| ())
}
