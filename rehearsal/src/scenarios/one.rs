//! Proves that one node is a cluster by the same rules, and that it grows to three by two joins.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "one",
    about: "one task is a cluster of one; then two more join it",
    cases: &[Case {
        name: "",
        setup: |setup| setup.size = 1,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    world.ecs.change("ENTRYPOINT_CLUSTER_SIZE", "3");
    world.ecs.scale(3);
    world.rest(3).await.map(|_| ())
}
