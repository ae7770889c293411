//! Proves that a plan survives its steward: a member dies, and as soon as its removal or a transfer
//! has begun, so does the leader. The next steward ends what was begun.

use super::healing::{begin, end, followers, setup_of_several};
use super::prelude::*;
use crate::observe::copies::Look;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "steward-dies-mid-plan",
    about: "a member dies, and the steward in the middle of healing that",
    cases: &[
        Case {
            name: "at-removal",
            setup: setup_of_several,
            run: |world| Box::pin(run(world, removing)),
        },
        Case {
            name: "at-transfer",
            setup: setup_of_several,
            run: |world| Box::pin(run(world, transferring)),
        },
    ],
};

/// Whether healing has begun, given the dead peer.
type Begun = fn(&Look, u64) -> bool;

/// A copy of the dead peer was dropped, or it is out already.
fn removing(look: &Look, dead: u64) -> bool {
    let Some(view) = look.newest() else {
        return false;
    };
    let collections = view.collections.iter().flatten();
    let mut shards = collections.flat_map(|(_, there)| there.shards.values());
    let out = view
        .raft
        .as_ref()
        .is_some_and(|raft| !raft.peers.contains_key(&dead));
    out || !shards.any(|copies| copies.contains_key(&dead))
}

/// A copy is on its way.
fn transferring(look: &Look, _: u64) -> bool {
    !look.transfers().is_empty()
}

async fn run(world: &World, begun: Begun) -> Result<(), Failure> {
    let points = begin(world).await?;
    let member = world.any(&followers(world, &[])?)?;
    let dead = peer_of(world, &member)?;
    let since = world.timeline.now();
    world.kill(&member, "an ordinary member").await?;
    let watcher = world.watcher()?;
    let seen = || begun(&watcher.latest(), dead).then_some(());
    world
        .aim("the first step of healing", timing::HEALED, seen)
        .await?;
    world
        .kill(&world.leader()?, "its steward is healing")
        .await?;
    let fault = "a member and then the steward died";
    world.healed(fault, since, world.size()).await?;
    end(world, points).await
}

fn peer_of(world: &World, task: &Task) -> Result<u64, Failure> {
    let look = world.watcher()?.latest();
    let holder = look
        .holders
        .iter()
        .find(|holder| holder.task == task.number);
    let peer = holder.and_then(|holder| holder.peer());
    peer.ok_or_else(|| Failure::new("a member answers", task.name()))
}
