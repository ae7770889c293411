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

/// Who dies, one after the other.
const VICTIMS: [Victim; 3] = [Victim::Founder, Victim::Steward, Victim::Member];

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

/// At this step of whichever collection. The next one dies when the task of the one before is replaced.
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
    for victim in VICTIMS {
        let steward = at_work(world, &[step]).await?;
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
        replaced(world, &dies).await?;
    }
    let size = world.size();
    restored_within(world, points, since, from, size, LONGEST).await
}

/// Waits until another task votes in the place of the one that died: three dead ones would be half of all.
async fn replaced(world: &World, dead: &Arc<Task>) -> Result<(), Failure> {
    let size = world.size();
    let what = format!("the replacement of {}", dead.name());
    world
        .until(&what, RESTORED, |sample| {
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
