//! Proves that two of three zones can be lost at once: the third goes on as the next generation with
//! the one copy of every shard that it holds, and the replacements get theirs from there.

use super::healing::begin;
use super::prelude::*;
use super::regrouping::{harm_all, of_zones, one_more, setup};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "two-zone-loss",
    about: "every task of two zones dies at once: the third goes on with its data",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    harm_all(world);
    let since = world.timeline.now();
    world
        .kill_all(&of_zones(world, 2, 0), "two zones are lost")
        .await?;
    world
        .healed("two zones were lost", since, world.size())
        .await?;
    points.more(world, 30).await?;
    one_more(world, points).await
}
