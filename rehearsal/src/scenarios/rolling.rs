//! What every scenario about rollouts begins and ends with.
//! Owns: their worlds, their steps. Must not: contain a scenario.

use super::healing::begin_under;
pub(super) use super::healing::{Points, end_unnoticed as end};
use super::prelude::*;
use crate::ecs::Change;
use crate::ecs::deployment::Percent;
use crate::ecs::{agent, api};
use crate::world::points::HEAVY;

/// What sets a new revision apart; the entrypoint passes it on to Qdrant, which does not know it.
const MARK: &str = "REVISION_OF_THE_REHEARSAL";

/// The usual world of a rollout: with task protection and the ECS API.
pub(super) fn setup(setup: &mut Setup, minimum: usize, maximum: usize) {
    super::healing::setup(setup);
    setup.longest = Duration::from_secs(420);
    setup.policy.percent = Percent { minimum, maximum };
    // Tasks end and begin all the time: what was asked for may be done already. ECS refuses to
    // protect a newcomer while it has old tasks to stop. And a task that ECS stops may have to go
    // before its copies are elsewhere: how many may be missing then is judged by itself.
    setup
        .allowed
        .events
        .extend(["heal.failed", "handover.short", "protection.*"]);
}

/// The same where the agent endpoint does not exist and the ECS API cannot be called.
pub(super) fn setup_blind(blind: &mut Setup, minimum: usize, maximum: usize) {
    setup(blind, minimum, maximum);
    blind.policy.agent = agent::Mode::Absent;
    blind.policy.api = api::Mode::Absent;
}

/// Forms a cluster under five hundred writes a second.
pub(super) async fn begin(world: &World) -> Result<Points, Failure> {
    begin_under(world, HEAVY).await
}

/// A good new revision.
pub(super) fn good() -> Change {
    Change {
        env: [(MARK.to_owned(), "next".to_owned())].into(),
        ..Change::default()
    }
}

/// Rolls a good revision out and waits for its end.
pub(super) async fn roll_out(world: &World, points: &Points) -> Result<(), Failure> {
    let begun = world.rolls("a new revision was rolled out")?;
    let revision = world.ecs.deploy(good());
    world.rolled(begun, world.size()).await?;
    of_revision(world, revision)?;
    points.more(world, 100).await
}

/// Every running task is of this revision.
pub(super) fn of_revision(world: &World, revision: u32) -> Result<(), Failure> {
    match world
        .ecs
        .running()
        .iter()
        .find(|task| task.revision != revision)
    {
        Some(task) => {
            let detail = format!("{} is of revision {}", task.name(), task.revision);
            Err(Failure::new("the wanted revision runs", detail))
        }
        None => Ok(()),
    }
}

/// Waits until so many tasks of the first formation are over.
pub(super) async fn replaced(world: &World, count: usize) -> Result<(), Failure> {
    let bound = timing::ROLL * u32::try_from(count + 1).unwrap_or(u32::MAX);
    let what = format!("the end of {count} old tasks");
    world
        .until(&what, bound, |_| {
            let tasks = world.ecs.tasks();
            let old = tasks.iter().take(world.size());
            let ended = old.filter(|task| task.ended().is_some()).count();
            match ended >= count {
                true => Ok(()),
                false => Err(format!("{ended} have ended")),
            }
        })
        .await
        .map(drop)
}
