//! What every scenario about healing begins and ends with.
//! Owns: the usual collection, load and audit. Must not: contain a scenario.

use super::prelude::*;
pub(super) use crate::verdict::healed::Wanted;
pub(super) use crate::world::points::Points;
use crate::world::points::{LIGHT, Load};

/// The usual collection.
pub(super) const COLLECTION: &str = "points";
/// Two shards in three copies: on six tasks in three zones, one copy for each task.
pub(super) const USUAL: Wanted = Wanted {
    shards: 2,
    copies: 3,
};
/// Writes between two faults, so that each one meets a cluster at work.
const BETWEEN: u64 = 30;

/// The usual world of such a scenario.
pub(super) fn setup(setup: &mut Setup) {
    setup.at_least = 4;
    setup.heals = true;
    // A death is what these scenarios are about.
    setup.allowed.events = vec!["peer.gone"];
}

/// The world of a scenario in which faults overlap. What the steward asks for then may be done
/// already, or be dropped by Qdrant without a word because another change of membership is under
/// way (facts: T2): it says so and tries again.
pub(super) fn setup_of_several(several: &mut Setup) {
    setup(several);
    // With fewer, two may be half of the voters.
    several.at_least = 5;
    several.allowed.events.push("heal.failed");
}

/// Forms a cluster with the usual collection, its copies in their zones, and starts the load.
pub(super) async fn begin(world: &World) -> Result<Points, Failure> {
    begin_with(world, USUAL).await
}

/// The same with another collection.
pub(super) async fn begin_with(world: &World, wanted: Wanted) -> Result<Points, Failure> {
    form(world).await?;
    let since = world.timeline.now();
    world.create(&world.leader()?, COLLECTION, wanted).await?;
    writing(world, "the collection was created", since).await
}

/// The same under another load.
pub(super) async fn begin_under(world: &World, load: Load) -> Result<Points, Failure> {
    form(world).await?;
    let since = world.timeline.now();
    world.create(&world.leader()?, COLLECTION, USUAL).await?;
    writing_under(world, "the collection was created", since, load).await
}

/// Starts the load on the collection that was just created, and waits until its copies are in
/// their zones.
pub(super) async fn writing(world: &World, fault: &str, since: f64) -> Result<Points, Failure> {
    writing_under(world, fault, since, LIGHT).await
}

async fn writing_under(
    world: &World,
    fault: &str,
    since: f64,
    load: Load,
) -> Result<Points, Failure> {
    let points = Points::start(world, COLLECTION, load).await?;
    world.healed(fault, since, world.size()).await?;
    points.more(world, BETWEEN).await?;
    Ok(points)
}

/// Kills one task and waits until that is healed.
pub(super) async fn kill_and_heal(
    world: &World,
    points: &Points,
    task: &Arc<Task>,
    why: &str,
) -> Result<(), Failure> {
    let since = world.timeline.now();
    world.kill(task, why).await?;
    world.healed(why, since, world.size()).await?;
    points.more(world, BETWEEN).await
}

/// Kills several at once and waits until that is healed.
pub(super) async fn kill_all_and_heal(
    world: &World,
    tasks: &[Arc<Task>],
    why: &str,
) -> Result<(), Failure> {
    let since = world.timeline.now();
    world.kill_all(tasks, why).await?;
    world.healed(why, since, world.size()).await
}

/// The running tasks that neither lead nor are one of these.
pub(super) fn followers(world: &World, but: &[&Arc<Task>]) -> Result<Vec<Arc<Task>>, Failure> {
    let leader = world.leader()?.number;
    let mut tasks = world.ecs.running();
    tasks.retain(|task| {
        task.number != leader && but.iter().all(|other| other.number != task.number)
    });
    Ok(tasks)
}

/// The end where no task dies unasked: nothing that was acknowledged is lost, and no read has failed.
pub(super) async fn end_unnoticed(world: &World, points: Points) -> Result<(), Failure> {
    let tally = points.audit(world).await?;
    match tally.failed_reads {
        0 => Ok(()),
        failed => Err(Failure::new(
            "no read fails",
            format!("{failed} failed: {:?}", tally.complaints),
        )),
    }
}

/// The end of every such scenario: nothing that was acknowledged is lost.
pub(super) async fn end(world: &World, points: Points) -> Result<(), Failure> {
    points.audit(world).await.map(drop)
}
