//! Proves that a Qdrant in trouble is no reason to kill its task: all killed at once as by the
//! out-of-memory killer, or all too busy to answer for longer than the loss time-out, every
//! container health check stays green, and the same cluster comes back on its disks.

use nix::sys::signal::Signal;

use super::healing::{begin, end};
use super::prelude::*;
use crate::world::qdrants::who;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "busy-everywhere",
    about: "all Qdrants are killed at once, or stand still: ECS kills nobody, all come back",
    cases: &[
        Case {
            name: "killed",
            setup,
            run: |world| Box::pin(killed(world)),
        },
        Case {
            name: "busy",
            setup,
            run: |world| Box::pin(busy(world)),
        },
    ],
};

/// Longer than the time after which a generation may be taken for lost.
const BUSY: Duration = timing::LOSS.saturating_add(timing::GONE);

fn setup(setup: &mut Setup) {
    super::healing::setup(setup);
    // That nothing commits for so long is worth an alarm.
    setup.allowed.events = vec!["alarm", "qdrant.*", "action.failed"];
}

async fn killed(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let before = who(&world.observer.latest());
    for round in 1..=3 {
        let why = format!("every Qdrant is killed, time {round}");
        let since = world.timeline.now();
        world.signal_qdrants(&world.ecs.running(), Signal::SIGKILL, &why);
        world.nobody_is_replaced(timing::CLAIM).await?;
        world.healed(&why, since, world.size()).await?;
    }
    world.same_as(&before)?;
    end(world, points).await
}

async fn busy(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let before = who(&world.observer.latest());
    let tasks = world.ecs.running();
    world.signal_qdrants(&tasks, Signal::SIGSTOP, "every Qdrant stands still");
    world.nobody_is_replaced(BUSY).await?;
    let since = world.timeline.now();
    world.signal_qdrants(&tasks, Signal::SIGCONT, "every Qdrant goes on");
    world
        .healed("all Qdrants stood still", since, world.size())
        .await?;
    world.same_as(&before)?;
    end(world, points).await
}
