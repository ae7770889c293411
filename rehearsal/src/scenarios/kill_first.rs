//! Proves that nothing hangs on the first task: the founder dies and is replaced, and all copies
//! come back.

use super::healing::{begin, end, kill_and_heal, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-first",
    about: "the founder dies under load: its peer leaves, its copies come back",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let founder = world.founder()?;
    kill_and_heal(world, &points, &founder, "the first task died").await?;
    end(world, points).await
}
