//! Proves that healing needs one witness and never goes on without any: without the store DNS says
//! who is gone; without both nobody is removed, however long that takes, and it goes on when one of
//! them is back.

use super::healing::{begin, end, followers, kill_and_heal, setup_of_several};
use super::prelude::*;
use crate::dns::Mode;
use crate::efs::Fault;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "dns-and-store-out",
    about: "healing without the store; without store and DNS nobody is removed, until one is back",
    cases: &[
        Case {
            name: "dns-back",
            setup,
            run: |world| Box::pin(run(world, Back::Dns)),
        },
        Case {
            name: "store-back",
            setup,
            run: |world| Box::pin(run(world, Back::Store)),
        },
    ],
};

/// What comes back first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    Dns,
    Store,
}

fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.breakable_store = true;
    setup.allowed.events.extend(["store.*", "dns.*", "alarm"]);
}

async fn run(world: &World, back: Back) -> Result<(), Failure> {
    let points = begin(world).await?;
    world.efs.set(Fault::Hang);
    world.fault(&[], "the store hangs");
    let first = ordinary(world)?;
    kill_and_heal(world, &points, &first, "a task died without a store").await?;

    world
        .dns
        .change(|behaviour| behaviour.mode = Mode::ServFail);
    world.fault(&[], "DNS fails as well");
    // One that the store knows: a task that began while it hung has no record there.
    let mut known = followers(world, &[])?;
    known.retain(|task| task.number <= world.size());
    let second = world.any(&known)?;
    let peer = world.observer.latest();
    let raft = |view: &&crate::observe::sample::View| view.task == second.number;
    let peer = peer
        .running()
        .find(raft)
        .and_then(|view| view.raft.as_ref());
    let peer = peer.map(|raft| raft.peer_id);
    let peer = peer.ok_or_else(|| Failure::new("a member answers", second.name()))?;
    let since = world.timeline.now();
    world.kill(&second, "nobody can witness it").await?;
    world
        .never("no removal without a witness", timing::GONE * 3, |sample| {
            let listed = |view: &&crate::observe::sample::View| {
                let raft = view.raft.as_ref().filter(|raft| raft.is_voter);
                raft.is_some_and(|raft| !raft.peers.contains_key(&peer))
            };
            let without = sample.running().filter(|view| view.votes()).find(listed);
            without.map(|view| format!("t{} does not list {peer} any more", view.task))
        })
        .await?;
    points.more(world, 30).await?;
    match back {
        Back::Dns => world.dns.change(|behaviour| behaviour.mode = Mode::Normal),
        Back::Store => world.efs.set(Fault::None),
    }
    world.fault(&[], "one of the two is back");
    world
        .healed("a task died unseen", since, world.size())
        .await?;
    world.dns.change(|behaviour| behaviour.mode = Mode::Normal);
    world.efs.set(Fault::None);
    end(world, points).await
}
