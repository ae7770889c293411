//! Proves that a 401 is someone alive: newcomers with another API key wait, say so, and never
//! found; with the right key they join.

use super::prelude::*;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "key-rotated",
    about: "newcomers have another API key: they wait and say so, and nobody founds",
    cases: &[Case {
        name: "",
        setup: |setup| {
            setup.at_least = 3;
            setup.allowed.events = vec!["peer.*", "discovery.*", "alarm*"];
            setup.allowed.blocked = vec!["key", "401", "403"];
        },
        run: |world| Box::pin(run(world)),
    }],
};

async fn run(world: &World) -> Result<(), Failure> {
    form(world).await?;
    let dead = ordinary(world)?;
    world.ecs.change("QDRANT__SERVICE__API_KEY", "rotated-key");
    world.fault(&[], "new tasks get another API key");
    world.kill(&dead, "its replacement has another key").await?;
    let newcomer = world
        .aim("the replacement", timing::REST, || {
            world.ecs.running().into_iter().last()
        })
        .await?;
    let key = newcomer.number;
    nobody_founds(world, 1).await?;
    let sample = world.observer.latest();
    let view = sample.running().last().filter(|view| view.task >= key);
    let words = view
        .and_then(|view| view.status.as_ref())
        .map(|status| format!("{} {}", status.reason, status.alarms.join(" ")).to_lowercase());
    let says = words.is_some_and(|words| ["key", "401", "403"].iter().any(|w| words.contains(w)));
    if !says {
        return Err(Failure::new("a wait names its cause", sample.describe()));
    }
    world
        .ecs
        .change("QDRANT__SERVICE__API_KEY", crate::world::API_KEY);
    world.fault(&[], "new tasks get the right key again");
    for task in world
        .ecs
        .running()
        .iter()
        .filter(|task| task.api_key != crate::world::API_KEY)
    {
        world.kill(task, "it has the wrong key").await?;
    }
    world.rest(world.size()).await.map(|_| ())
}
