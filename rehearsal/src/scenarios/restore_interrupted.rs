//! Proves that a restore of everything ends whoever dies at whatever step of it: the founder, stewards,
//! members. Each successor goes on with it, and nobody is served before it is finished.

use std::sync::Arc;

use super::healing::{USUAL, begin, followers};
use super::lose_everything::{self, RESTORED, lose, newest, one_more, restored_within};
use super::prelude::*;
use super::restore_beside::at_work;
use crate::observe::sample::View;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "restore-interrupted",
    about: "founder, stewards and members die at each step of a restore of everything: it ends all the same",
    cases: &[
        Case {
            name: "formed",
            setup: |alone| {
                lose_everything::setup(alone);
                // Nobody had joined it: the generation that it formed is lost as well, and whoever was
                // on the way begins anew.
                alone.generations = 3;
                alone.allowed.events.push("qdrant.killed");
            },
            run: |world| Box::pin(formed(world)),
        },
        Case {
            name: "made",
            setup,
            run: |world| Box::pin(interrupted(world, "is made")),
        },
        Case {
            name: "placed",
            setup,
            run: |world| Box::pin(interrupted(world, "are placed")),
        },
        Case {
            name: "filled",
            setup,
            run: |world| Box::pin(interrupted(world, "is filled")),
        },
        Case {
            name: "compared",
            setup,
            run: |world| Box::pin(interrupted(world, "are compared")),
        },
    ],
};

/// Beside the usual collection, so that a restore comes by each step often enough to be met there.
const MORE: usize = 7;
/// Three tasks are replaced meanwhile, one after the other.
const LONGEST: Duration = Duration::from_secs(240);

/// Who dies, one after the other: the founder, who is the first steward as well, while it is that; a member; and, when
/// the others are replaced before all is restored, the steward of then.
const VICTIMS: [Victim; 3] = [Victim::Founder, Victim::Member, Victim::Steward];
/// So many of them can die at once without a majority being lost.
const AT_ONCE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Founder,
    Steward,
    Member,
}

fn setup(setup: &mut Setup) {
    lose_everything::setup(setup);
    setup.longest = LONGEST * 2;
    // With fewer, three that die are half of the voters.
    setup.at_least = 6;
    // Sets are made all the time, also while collections come and copies move to their zones.
    setup.allowed.events.push("set.incomplete");
}

async fn formed(world: &World) -> Result<(), Failure> {
    let (mut points, then) = one_more(world, begin(world).await?).await?;
    let since = lose(world, &mut points, then).await?;
    let formed = || world.efs.formed(2).then(|| world.claimant(2)).flatten();
    let founder = world
        .aim("the generation that is restored into", RESTORED, formed)
        .await?;
    world.kill(&founder, "it has just formed").await?;
    let from = newest(world)?.id;
    let size = world.size();
    restored_within(world, points, since, from, size, RESTORED).await
}

/// At this step of whichever collection.
async fn interrupted(world: &World, step: &str) -> Result<(), Failure> {
    let points = begin(world).await?;
    let since = world.timeline.now();
    for number in 1..=MORE {
        let name = format!("more-{number}");
        world.create(&world.leader()?, &name, USUAL).await?;
    }
    let what = "more collections were created";
    world.healed(what, since, world.size()).await?;
    let (mut points, then) = one_more(world, points).await?;
    let since = lose(world, &mut points, then).await?;
    let from = newest(world)?.id;
    for (number, victim) in VICTIMS.into_iter().enumerate() {
        let steward = match number < AT_ONCE {
            true => at_work(world, &[step]).await?,
            false => {
                replaced(world).await?;
                match at_work_or_over(world, step).await? {
                    Some(steward) => steward,
                    None => {
                        world.step("all was restored before another one could die");
                        break;
                    }
                }
            }
        };
        let dies = match victim {
            Victim::Steward => steward,
            Victim::Founder => world.founder()?,
            Victim::Member => {
                let of = followers(world, &[&steward])?;
                world.any(&of)?
            }
        };
        world
            .kill(&dies, &format!("a restore is at: {step}"))
            .await?;
        gone(world, &dies).await?;
    }
    let size = world.size();
    restored_within(world, points, since, from, size, LONGEST).await
}

/// What is seen next is the restore after that.
async fn gone(world: &World, dead: &Arc<Task>) -> Result<(), Failure> {
    let seen = || {
        world
            .observer
            .latest()
            .running()
            .any(|view| view.id == dead.id)
    };
    let what = "the killed one is seen no more";
    world.aim(what, RESTORED, || (!seen()).then_some(())).await
}

/// The steward that is at this step; `None` once everybody is ready, because all is restored.
async fn at_work_or_over(world: &World, step: &str) -> Result<Option<Arc<Task>>, Failure> {
    let size = world.size();
    let there = || {
        let sample = world.observer.latest();
        let views: Vec<_> = sample.running().collect();
        let at_work = views.iter().find(|view| {
            let status = view.status.as_ref();
            status.is_some_and(|status| status.restore.contains(step))
        });
        if let Some(view) = at_work {
            return Some(world.ecs.task(&view.id));
        }
        let ready = views.iter().filter(|view| view.ready()).count();
        (ready == size).then_some(None)
    };
    world
        .aim("a restore that is under way, or over", RESTORED, there)
        .await
}

/// Waits until other tasks vote in the place of those that died: three dead ones would be half of all.
async fn replaced(world: &World) -> Result<(), Failure> {
    let size = world.size();
    world
        .until("the replacements of the dead", RESTORED, |sample| {
            let all: Vec<_> = sample.running().collect();
            let listed = |view: &&View| {
                view.raft
                    .as_ref()
                    .is_some_and(|raft| raft.peers.len() == size)
            };
            let in_it = all
                .iter()
                .filter(|view| view.votes() && listed(view))
                .count();
            match all.len() == size && in_it == size {
                true => Ok(()),
                false => Err(format!("{in_it} of {} tasks are in", all.len())),
            }
        })
        .await
        .map(drop)
}
