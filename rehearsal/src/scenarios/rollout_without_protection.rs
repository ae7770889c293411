//! Proves that readiness alone paces a rollout: without task protection, and without the ECS API,
//! nothing is lost, and never is more than one copy of a shard missing.

use super::prelude::*;
use super::rolling::{begin, end, roll_out, setup_blind};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "rollout-without-protection",
    about: "the same paced by readiness alone: no agent endpoint, no ECS API",
    cases: &[
        Case {
            name: "100-117",
            setup: |world| setup_blind(world, 100, 117),
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "100-200",
            setup: |world| setup_blind(world, 100, 200),
            run: |world| Box::pin(run(world)),
        },
        Case {
            name: "83-100",
            setup: |world| setup_blind(world, 83, 100),
            run: |world| Box::pin(run(world)),
        },
    ],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    roll_out(world, &points).await?;
    end(world, points).await
}
