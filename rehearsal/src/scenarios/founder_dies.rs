//! Proves that the founder may die at any moment of its work: before its claim, after it, with a
//! Qdrant up but nothing formed, just formed, and while others are joining.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "founder-dies",
    about: "kill -9 of the founder at each phase of founding",
    cases: &[
        Case {
            name: "before-claim",
            setup,
            run: |world| Box::pin(before_claim(world)),
        },
        Case {
            name: "after-claim",
            setup,
            run: |world| Box::pin(after_claim(world)),
        },
        Case {
            name: "qdrant-up",
            setup,
            run: |world| Box::pin(qdrant_up(world)),
        },
        Case {
            name: "just-formed",
            // Everything of generation 1 died with its founder, and no set was ever made: after
            // the loss time-out a second one may be founded.
            setup: |setup| {
                setup.at_least = 3;
                setup.generations = 2;
                // A cluster is given up, empty as it was: that is said aloud.
                setup.allowed.events = vec!["alarm"];
            },
            run: |world| Box::pin(just_formed(world)),
        },
        Case {
            name: "mid-join",
            // With two of three voters left there is a quorum; with one of two there is none.
            // Without one the rest waits for Qdrant's own time-outs and ours, and says so aloud. The
            // founder is a peer by then, and the steward says when it is gone.
            setup: |setup| {
                setup.at_least = 4;
                setup.allowed.events = vec!["alarm", "peer.gone"];
            },
            run: |world| Box::pin(mid_join(world)),
        },
    ],
};

fn setup(setup: &mut Setup) {
    setup.at_least = 3;
}

async fn before_claim(world: &World) -> Result<(), Failure> {
    world.ecs.scale(1);
    let sample = world
        .until("the first answer of a task", timing::REST, |sample| {
            let answers = sample.running().any(|view| view.status.is_some());
            answers.then_some(()).ok_or_else(|| sample.describe())
        })
        .await;
    sample?;
    let only = world.leader()?;
    // The claim may come at any moment now; what counts is that the task dies before *formed*.
    world.kill(&only, "the only candidate").await?;
    if world.efs.formed(1) {
        return Err(Failure::missed("the time before the claim"));
    }
    form(world).await
}

async fn after_claim(world: &World) -> Result<(), Failure> {
    let claimant = claimant(world).await?;
    world.kill(&claimant, "it has just claimed").await?;
    if world.efs.formed(1) {
        return Err(Failure::missed("the time between claim and formed"));
    }
    world.rest(world.size()).await.map(|_| ())
}

async fn qdrant_up(world: &World) -> Result<(), Failure> {
    let claimant = claimant(world).await?;
    let up = || (!claimant.below().is_empty()).then_some(());
    world.aim("the founder's Qdrant", timing::REST, up).await?;
    // Its entrypoint stands still, so that nothing is recorded while Qdrant elects itself.
    claimant.pause(crate::ecs::task::Pause::Entrypoint);
    if world.efs.formed(1) {
        return Err(Failure::missed("the time before formed"));
    }
    world.fault(
        &[&claimant],
        "its entrypoint is stopped; its Qdrant goes on",
    );
    let limit = std::time::Instant::now() + timing::REST;
    while !world.leads_itself(&claimant).await {
        if std::time::Instant::now() > limit {
            return Err(Failure::new(
                "a first peer leads itself",
                world.observer.latest().describe(),
            ));
        }
        tokio::time::sleep(timing::AIM).await;
    }
    world
        .kill(&claimant, "its Qdrant leads itself, nothing is formed")
        .await?;
    world.rest(world.size()).await.map(|_| ())
}

async fn just_formed(world: &World) -> Result<(), Failure> {
    let claimant = claimant(world).await?;
    let formed = || world.efs.formed(1).then_some(());
    world.aim("the formed record", timing::REST, formed).await?;
    world.kill(&claimant, "it has just formed").await?;
    world.rest(world.size()).await.map(|_| ())
}

async fn mid_join(world: &World) -> Result<(), Failure> {
    world.step("three tasks first, so that two of them are a quorum without the founder");
    world.ecs.scale(3);
    world
        .until("three voters", timing::REST, |sample| {
            let voters = sample.running().filter(|view| view.votes()).count();
            (voters == 3).then_some(()).ok_or_else(|| sample.describe())
        })
        .await?;
    let founder = world.founder()?;
    world.ecs.scale(world.size());
    let joining = || {
        let newcomers = world.ecs.running().into_iter().skip(3);
        newcomers.into_iter().find(|task| !task.below().is_empty())
    };
    world
        .aim("the Qdrant of a newcomer", timing::REST, joining)
        .await?;
    world.kill(&founder, "others are joining").await?;
    world.rest(world.size()).await.map(|_| ())
}

/// Starts all tasks and returns the one that claims the first generation, as soon as it does.
async fn claimant(world: &World) -> Result<Arc<Task>, Failure> {
    world.ecs.scale(world.size());
    world
        .aim("a claim", timing::REST, || world.claimant(1))
        .await
}
