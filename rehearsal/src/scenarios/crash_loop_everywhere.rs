//! Proves that a common cause cannot throw disks away: when no Qdrant of the service starts any
//! more, every task keeps its data and tries again, for longer than the loss time-out, and all come
//! back as they were once the cause is gone.

use nix::sys::signal::Signal;

use super::healing::{begin, end};
use super::prelude::*;
use crate::world::qdrants::who;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "crash-loop-everywhere",
    about: "every Qdrant ends and none starts for a while: no disk is thrown away, all come back",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

/// Longer than the time after which a generation may be taken for lost.
const BROKEN: Duration = timing::LOSS.saturating_mul(2);

fn setup(setup: &mut Setup) {
    super::healing::setup(setup);
    setup.breakable_qdrant = true;
    // That nothing commits for so long is worth an alarm.
    setup.allowed.events = vec!["alarm", "qdrant.*", "action.failed"];
}

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let before = who(&world.observer.latest());
    let qdrant = world.breakable()?;
    qdrant.set(true)?;
    let tasks = world.ecs.running();
    world.signal_qdrants(
        &tasks,
        Signal::SIGKILL,
        "every Qdrant ends, and none starts",
    );
    world.nobody_is_replaced(BROKEN).await?;
    qdrant.set(false)?;
    let since = world.timeline.now();
    world.fault(&[], "Qdrant starts again");
    world
        .healed("no Qdrant started", since, world.size())
        .await?;
    world.same_as(&before)?;
    end(world, points).await
}
