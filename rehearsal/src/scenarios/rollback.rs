//! Proves that the way back is just another rollout: in the middle of one the earlier revision is
//! wanted again, a smaller number than the newest.

use super::prelude::*;
use super::rolling::{begin, end, good, of_revision, replaced, setup, setup_blind};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "rollback",
    about: "in the middle of a rollout the earlier revision is wanted again",
    cases: &[
        Case {
            name: "100-117",
            setup: |world| setup(world, 100, 117),
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "83-100",
            setup: |world| setup(world, 83, 100),
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "without-protection",
            setup: |world| setup_blind(world, 100, 117),
            run: |world| Box::pin(run(world)),
        },
    ],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let begun = world.rolls("half a rollout and its rollback")?;
    world.ecs.deploy(good());
    replaced(world, world.size() / 2).await?;
    world.ecs.roll_out(1);
    world.rolled(begun, world.size()).await?;
    of_revision(world, 1)?;
    points.more(world, 100).await?;
    end(world, points).await
}
