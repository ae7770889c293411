//! Proves that half of the voters can die at once: the other half goes on as the next generation with
//! its data, whether replacements come at once or only later, and no empty one founds.

use super::healing::begin;
use super::prelude::*;
use super::regrouping::{harm_all, no_replacements, of_zones, one_more, setup};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "half-lost",
    about: "three of six die at once: the survivors go on with their data, exactly one generation on",
    cases: &[
        Case {
            name: "replaced",
            setup,
            run: |world| Box::pin(run(world, true)),
        },
        Case {
            name: "unreplaced",
            setup,
            run: |world| Box::pin(run(world, false)),
        },
    ],
};

async fn run(world: &World, replaced: bool) -> Result<(), Failure> {
    let points = begin(world).await?;
    harm_all(world);
    let lost = of_zones(world, 1, 1);
    let since = world.timeline.now();
    if !replaced {
        no_replacements(world, true);
    }
    world.kill_all(&lost, "half of the voters die").await?;
    if !replaced {
        let left = world.size() - lost.len();
        world
            .healed("half died and nobody came", since, left)
            .await?;
        no_replacements(world, false);
    }
    world
        .healed("half of the voters died", since, world.size())
        .await?;
    points.more(world, 30).await?;
    one_more(world, points).await
}
