//! Proves that slow is not dead: a member that stands still for less than the gone time-out keeps
//! its place in Raft and is whole again by itself.

use super::healing::{begin, end, followers, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "slow-peer",
    about: "a member stands still for less than the gone time-out: it is not removed",
    cases: &[Case {
        name: "",
        setup: |slow| {
            setup(slow);
            // Nobody is gone here, so nobody may say so. A write to the store that was under way
            // takes as long as the task stands still.
            slow.allowed.events = vec!["store.lost"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let voters = |world: &World| {
        let look = world.watcher()?.latest();
        let raft = look.newest().and_then(|view| view.raft.as_ref());
        let peers = raft.map(|raft| raft.peers.clone());
        peers.ok_or_else(|| Failure::new("a member answers", "none does"))
    };
    let before = voters(world)?;
    let slow = world.any(&followers(world, &[])?)?;
    let since = world.timeline.now();
    world.freeze(&slow, timing::GONE * 2 / 3).await;
    let fault = "a member stood still";
    world.healed(fault, since, world.size()).await?;
    let after = voters(world)?;
    if before != after || !slow.running() {
        let detail = format!("before {before:?}, after {after:?}");
        return Err(Failure::new("a slow peer is not removed", detail));
    }
    end(world, points).await
}
