//! Proves that a slow store only costs time: every file system operation takes 3 ms longer, and a
//! round makes some hundred of them, for nothing is cached here.

use super::prelude::*;
use crate::efs::Fault;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "store-slow",
    about: "every store operation takes 3 ms: start and replacement",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.breakable_store = true;
            setup.allowed.events = vec!["store.*", "action.failed"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.efs.set(Fault::Slow(Duration::from_millis(3)));
    world.fault(&[], "every store operation takes 3 ms");
    form(world).await?;
    let founder = world.founder()?;
    world.kill(&founder, "the founder").await?;
    world.rest(world.size()).await.map(|_| ())
}
