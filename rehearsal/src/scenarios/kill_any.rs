//! Proves that healing can be repeated: tasks chosen by the seed die one after the other
//! (`--times`), and each time everything comes back.

use super::healing::{begin, end, kill_and_heal, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-any",
    about: "any task dies, one after the other (--times): healed each time",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let times = world.times.unwrap_or(3);
    for time in 1..=times {
        let victim = world.any(&world.ecs.running())?;
        let why = format!("death {time} of {times}");
        kill_and_heal(world, &points, &victim, &why).await?;
    }
    end(world, points).await
}
