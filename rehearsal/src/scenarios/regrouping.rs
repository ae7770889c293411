//! What every scenario about a lost majority has in common: who is taken away so that a copy of every
//! shard is left, and what must be true of the generation that comes after.
//! Owns: those. Must not: contain a scenario.

use super::healing::{Points, end, setup_of_several};
use super::prelude::*;

/// The world of such a scenario: one generation more is formed, with alarms.
pub(super) fn setup(setup: &mut Setup) {
    setup_of_several(setup);
    setup.at_least = 6;
    setup.generations = 2;
    let more = [
        "alarm",
        "requorum.*",
        "qdrant.*",
        "action.failed",
        "heal.refused",
    ];
    setup.allowed.events.extend(more);
}

/// The tasks of so many zones, and so many of the next one: as copies are spread over the zones, one
/// copy of every shard is left with the others.
pub(super) fn of_zones(world: &World, zones: usize, more: usize) -> Vec<Arc<Task>> {
    let running = world.ecs.running();
    let mut letters: Vec<&str> = running.iter().map(|task| task.zone.as_str()).collect();
    letters.sort_unstable();
    letters.dedup();
    let within = |letters: &[&str]| {
        let there = running
            .iter()
            .filter(|task| letters.contains(&task.zone.as_str()));
        there.cloned().collect::<Vec<_>>()
    };
    let (whole, next) = letters.split_at(zones.min(letters.len()));
    let part = within(next.get(..1).unwrap_or_default());
    let mut chosen = within(whole);
    chosen.extend(part.into_iter().take(more));
    chosen
}

/// Whatever is done to the others, also the survivors' copies come and go until it is healed.
pub(super) fn harm_all(world: &World) {
    for task in world.ecs.running() {
        world.healing.harm(&task);
    }
}

/// No task is launched from now on, or again.
pub(super) fn no_replacements(world: &World, none: bool) {
    for task in world.ecs.tasks() {
        world.ecs.shut_zone(&task.zone, none);
    }
}

/// Nothing that was acknowledged is lost, and there is exactly one generation more than before.
pub(super) async fn one_more(world: &World, points: Points) -> Result<(), Failure> {
    let formed = world.efs.all_formed();
    if formed.len() != 2 {
        let detail = format!("{formed:?} are formed");
        return Err(Failure::new("one generation more", detail));
    }
    end(world, points).await
}
