//! Proves the hand-over: a task that is asked to stop leaves the cluster before it ends. Its copies
//! are made elsewhere at once, nobody waits for the gone time-out, and no read fails.

use super::healing::{begin, end_unnoticed, setup};
use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "stop-one",
    about: "SIGTERM to one task under load: it leaves Raft before it ends",
    cases: &[
        Case {
            name: "follower",
            setup: calm,
            run: |world| Box::pin(run(world, ordinary)),
        },
        Case {
            name: "leader",
            setup: calm,
            run: |world| Box::pin(run(world, World::leader)),
        },
    ],
};

/// Nobody dies here, so nobody may be found dead.
fn calm(calm: &mut Setup) {
    setup(calm);
    calm.allowed.events.clear();
}

async fn run(
    world: &World,
    choose: fn(&World) -> Result<Arc<Task>, Failure>,
) -> Result<(), Failure> {
    let points = begin(world).await?;
    let task = choose(world)?;
    let since = world.timeline.now();
    world.stop(&task, "it has to leave first");
    let ended = || task.ended();
    let exit = world
        .aim("the end of the task", timing::STOP * 2, ended)
        .await?;
    if exit.code != Some(0) {
        return Err(Failure::new("a clean exit", exit.to_string()));
    }
    let log = std::fs::read_to_string(&task.log).unwrap_or_default();
    let Some(done) = log.lines().find(|line| line.contains("\"handover.done\"")) else {
        let last = log.lines().rev().find(|line| line.contains("handover"));
        let detail = last.unwrap_or("its log says nothing of it");
        return Err(Failure::new("the others take over", detail));
    };
    world.step(format!(
        "it ended {:.2} s after it was asked to: {done}",
        world.timeline.now() - since
    ));
    world
        .healed("a task was stopped", since, world.size())
        .await?;
    points.more(world, 30).await?;
    end_unnoticed(world, points).await
}
