//! Proves that more tasks are used: when three are added to six, copies move to them, one at a
//! time and never fewer, until every task holds as many as the next one.

use super::healing::{Wanted, begin_with, end, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "scale-6-9",
    about: "half as many tasks again: copies spread over all of them",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    // One copy for every task of the larger cluster, so that each newcomer has to get one.
    let more = world.size() * 3 / 2;
    let wanted = Wanted {
        shards: more / 3,
        copies: 3,
    };
    let points = begin_with(world, wanted).await?;
    let since = world.timeline.now();
    world.ecs.scale(more);
    world.healed("more tasks were wanted", since, more).await?;
    end(world, points).await
}
