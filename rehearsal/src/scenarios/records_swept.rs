//! Proves that the record of a killed task leaves the store by itself, and those of the living stay,
//! also of one that stands still for a while.

use std::collections::BTreeSet;

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "records-swept",
    about: "the records of killed tasks leave the store, those of the living stay",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.heals = true;
            setup.allowed.events = vec!["peer.gone", "heal.failed"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

/// A record goes after four loss time-outs of silence, counted in steps of half of one.
const SWEPT: Duration = timing::LOSS.saturating_mul(7);

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let dead = ordinary(world)?;
    world.kill(&dead, "its record stays behind").await?;
    world.rest(world.size()).await?;
    let kept = || world.efs.members().contains(&dead.id);
    if !kept() {
        let detail = format!("{} has none", dead.name());
        return Err(Failure::new("a record outlives its task for long", detail));
    }
    let slow = ordinary(world)?;
    world.freeze(&slow, timing::CLAIM).await;
    let swept = || (!kept()).then_some(());
    world.aim("the record to be swept", SWEPT, swept).await?;
    let living: BTreeSet<String> = (world.ecs.running().iter())
        .map(|task| task.id.clone())
        .collect();
    let there = || (world.efs.members() == living).then_some(());
    world
        .aim("a record of every living task", timing::REST, there)
        .await?;
    world.rest(world.size()).await.map(drop)
}
