//! Proves that the steward is no single point either: the task beside the Raft leader dies, and
//! the next one finds the timers running.

use super::healing::{begin, end, kill_and_heal, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "kill-leader",
    about: "the Raft leader and its steward die under load: another steward heals",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let leader = world.leader()?;
    kill_and_heal(world, &points, &leader, "the leader died").await?;
    end(world, points).await
}
