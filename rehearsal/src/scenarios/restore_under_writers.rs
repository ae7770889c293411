//! Proves that readers and writers are led from a collection to what was restored of it while they go on:
//! by an alias, or under the collection's own name, in whose place it is put at the end.

use serde_json::json;

use super::healing::COLLECTION;
use super::prelude::*;
use super::restore_beside::{
    BESIDE, Begun, asked, at_work, finished, get, restored, setup, under, untouched, with_a_set,
};
use entrypoint::keep::restore_request::Ask;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "restore-under-writers",
    about: "a collection is replaced by what is restored of it, by alias or by name, under writes",
    cases: &[
        Case {
            name: "switch",
            setup,
            run: |world| Box::pin(switch(world)),
        },
        Case {
            name: "replace",
            setup,
            run: |world| Box::pin(replace(world, false)),
        },
        Case {
            name: "replace-steward-dies",
            setup,
            run: |world| Box::pin(replace(world, true)),
        },
    ],
};

/// A name that leads to the collection.
const ALIAS: &str = "live";

async fn switch(world: &World) -> Result<(), Failure> {
    let Begun { points, then, set } = with_a_set(world).await?;
    world.alias(COLLECTION, ALIAS).await?;
    let more = Ask {
        switch: true,
        ..under(BESIDE)
    };
    let job = asked(world, &set, more).await?;
    finished(world, &job).await?;
    leads_to(world, ALIAS, BESIDE).await?;
    restored(world, &points, BESIDE, then).await?;
    untouched(world, points).await
}

/// With `dies` its steward does, just before readers are led to what was made.
async fn replace(world: &World, dies: bool) -> Result<(), Failure> {
    let Begun {
        mut points,
        then,
        set,
    } = with_a_set(world).await?;
    world.alias(COLLECTION, ALIAS).await?;
    let more = Ask {
        replace: true,
        ..Ask::default()
    };
    // The writers go on; from the swap on they write to the restored one, under the old name.
    let job = asked(world, &set, more).await?;
    if dies {
        let steward = at_work(world, &["is filled", "are compared"]).await?;
        world.kill(&steward, "its steward replaces").await?;
    }
    finished(world, &job).await?;
    let name = format!("{COLLECTION}-{}", set.id);
    for old in [COLLECTION, ALIAS] {
        leads_to(world, old, &name).await?;
    }
    points.halt().await?;
    points.fall_back(then);
    points.resume();
    points.more(world, 30).await?;
    points.halt().await?;
    let now = points.acknowledged();
    let copied = points.copied(world, name.as_str(), now)?;
    copied.audit(world).await.map(drop)
}

async fn leads_to(world: &World, alias: &str, collection: &str) -> Result<(), Failure> {
    let there = get(world, "/aliases").await?;
    let wanted = json!({"alias_name": alias, "collection_name": collection});
    let all = there.get("aliases").and_then(|all| all.as_array());
    match all.is_some_and(|all| all.contains(&wanted)) {
        true => Ok(()),
        false => Err(Failure::new(
            "aliases lead to the restored collection",
            format!("{alias} to {collection}: {there}"),
        )),
    }
}
