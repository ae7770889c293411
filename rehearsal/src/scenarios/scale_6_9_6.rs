//! Proves that the number of tasks can change: when three are added to six, copies move to them,
//! one at a time and never fewer; when three are taken away again, copies move off first, where ECS
//! lets them.

use super::healing::{Wanted, begin_with, end_unnoticed};
use super::prelude::*;
use super::rolling::{setup, setup_blind};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "scale-6-9-6",
    about: "half as many tasks again, and back: copies spread over all, and nothing is lost",
    cases: &[
        Case {
            name: "",
            setup: |world| setup(world, 100, 200),
            run: |world| Box::pin(there_and_back(world)),
        },
        Case {
            name: "only-up-without-protection",
            setup: |world| setup_blind(world, 100, 200),
            run: |world| Box::pin(up(world)),
        },
    ],
};

async fn there_and_back(world: &World) -> Result<(), Failure> {
    let points = grown(world).await?;
    let begun = world.rolls("fewer tasks were wanted")?;
    world.ecs.scale(world.size());
    world.rolled(begun, world.size()).await?;
    points.more(world, 30).await?;
    end_unnoticed(world, points).await
}

async fn up(world: &World) -> Result<(), Failure> {
    let points = grown(world).await?;
    end_unnoticed(world, points).await
}

async fn grown(world: &World) -> Result<super::healing::Points, Failure> {
    // One copy for every task of the larger cluster, so that each newcomer has to get one.
    let more = world.size() * 3 / 2;
    let wanted = Wanted {
        shards: more / 3,
        copies: 3,
    };
    let points = begin_with(world, wanted).await?;
    let begun = world.rolls("more tasks were wanted")?;
    world.ecs.scale(more);
    world.rolled(begun, more).await?;
    Ok(points)
}
