//! Proves that a rollout loses nothing: under load every task is replaced by one of a new revision,
//! with task protection, and never is more than one copy of a shard missing.

use super::prelude::*;
use super::rolling::{begin, end, roll_out, setup};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "rollout",
    about: "a new revision under 500 writes a second, with task protection",
    cases: &[
        Case {
            name: "100-117",
            setup: |world| setup(world, 100, 117),
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "100-200",
            setup: |world| setup(world, 100, 200),
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "83-100",
            setup: |world| setup(world, 83, 100),
            run: |world| Box::pin(run(world)),
        },
    ],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    roll_out(world, &points).await?;
    end(world, points).await
}
