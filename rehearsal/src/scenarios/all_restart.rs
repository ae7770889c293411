//! Proves that a cluster whose processes all died comes back with its data: the same generation,
//! the same peers, and nobody founds.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "all-restart",
    about: "every process is killed, the disks stay: the same cluster comes back",
    cases: &[Case {
        name: "",
        setup: |_| (),
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    world.ecs.scale(world.size());
    let before = world.rest(world.size()).await?;
    let tasks = world.ecs.running();
    world.fault(&tasks.iter().collect::<Vec<_>>(), "every process is killed");
    for task in &tasks {
        world.ecs.take_down(task);
    }
    for task in &tasks {
        world.ecs.bring_up(task).await?;
    }
    let after = world.rest(world.size()).await?;
    let who = |sample: &crate::observe::sample::Sample| {
        let pairs = sample.running().map(|view| {
            (
                view.task,
                view.raft.as_ref().map(|raft| raft.peer_id),
                view.formed.clone(),
            )
        });
        pairs.collect::<Vec<_>>()
    };
    if who(&before) == who(&after) {
        return Ok(());
    }
    let detail = format!("before {:?}, after {:?}", who(&before), who(&after));
    Err(Failure::new("the same cluster comes back", detail))
}
