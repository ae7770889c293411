//! Proves what happens to a minority that is cut off: it is removed and its copies are made again,
//! and when it comes back it is fenced within a bound, keeps its data aside and joins anew. The tasks
//! vanish from the network and stand still, so that on waking they believe what they believed before.

use super::healing::{begin, end, followers, setup_of_several};
use super::prelude::*;
use crate::ecs::cut::Cut;
use crate::ecs::task::Pause;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "partition",
    about: "two members are cut off until they are removed: they come back as new peers",
    cases: &[
        Case {
            name: "followers",
            setup,
            run: |world| Box::pin(run(world, false)),
        },
        Case {
            name: "with-the-leader",
            setup,
            run: |world| Box::pin(run(world, true)),
        },
    ],
};

/// A removed member that wakes takes writes of the old cluster for no longer.
const FENCED: Duration = Duration::from_secs(2);

fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.breakable_network = true;
    // Those that wake are told by everybody that they are removed, and say so.
    let woken = [
        "alarm",
        "store.*",
        "qdrant.killed",
        "disk.set_aside",
        "peer.back",
    ];
    setup.allowed.events.extend(woken);
}

async fn run(world: &World, leader: bool) -> Result<(), Failure> {
    let points = begin(world).await?;
    let first = match leader {
        true => world.leader()?,
        false => world.any(&followers(world, &[])?)?,
    };
    let mut others = followers(world, &[&first])?;
    others.retain(|task| task.zone != first.zone);
    let cut = [first.clone(), world.any(&others)?];
    let since = world.timeline.now();
    let network = Cut::off(&cut.iter().map(|task| task.address).collect::<Vec<_>>())?;
    for task in &cut {
        world.healing.harm(task);
        task.pause(Pause::Whole);
    }
    world.fault(&cut.iter().collect::<Vec<_>>(), "cut off from all others");
    let left = world.size() - cut.len();
    world.healed("two were cut off", since, left).await?;
    points.more(world, 30).await?;
    let peers: Vec<_> = cut.iter().map(|task| peer_of(world, task)).collect();

    let since = world.timeline.now();
    world.fault(&cut.iter().collect::<Vec<_>>(), "back again");
    drop(network);
    for task in &cut {
        world.healing.harm(task);
        task.resume();
    }
    points.until_deaf(world, &cut, FENCED).await?;
    world.healed("they came back", since, world.size()).await?;
    for (task, before) in cut.iter().zip(peers) {
        let after = peer_of(world, task);
        if !task.running() || after.is_none() || after == before {
            let detail = format!("{}: before {before:?}, after {after:?}", task.name());
            return Err(Failure::new("a removed task joins as a new peer", detail));
        }
    }
    end(world, points).await
}

fn peer_of(world: &World, task: &Task) -> Option<u64> {
    let story = world.observer.story();
    story.tasks.get(&task.number).and_then(|task| task.peer_id)
}
