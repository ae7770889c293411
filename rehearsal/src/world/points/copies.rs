//! Waits until every copy of every shard holds the same points; with a shard key, of its shards.
//! Owns: the questions to each copy. Must not: judge.

use std::collections::BTreeMap;
use std::time::Instant;

use super::SETTLE;
use super::workers::Shared;
use crate::observe::copies::Look;
use crate::verdict::Failure;
use crate::verdict::contents::{Content, same};
use crate::world::World;

/// # Errors
/// The points that differ when [`SETTLE`] is over.
pub(super) async fn equal(world: &World, shared: &Shared) -> Result<(), Failure> {
    let limit = Instant::now() + SETTLE;
    let mut looks = world.watcher()?.looks();
    let mut last = "no copy was seen".to_owned();
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left, looks.changed()).await.is_err() {
            return Err(Failure::new("equal copies at rest", last));
        }
        let look = looks.borrow_and_update().clone();
        match compare(world, shared, &look).await {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
        world.check()?;
    }
}

async fn compare(world: &World, shared: &Shared, look: &Look) -> Result<(), String> {
    let mut shards: BTreeMap<u32, BTreeMap<u64, Content>> = BTreeMap::new();
    let (collection, key) = (&shared.target.collection, shared.target.key.as_ref());
    for task in world.ecs.running().iter().filter(|task| !task.paused()) {
        let name = task.name();
        let holder = look.holders.iter().find(|h| h.task == task.number);
        let (Some(peer), Some(there)) = (
            holder.and_then(|holder| holder.peer()),
            holder.and_then(|holder| holder.collections.as_ref()?.get(collection)),
        ) else {
            return Err(format!("{name} does not say what it holds"));
        };
        let of_key = |shard: &u32| key.is_none() || there.keys.get(shard) == key;
        for (shard, holders) in &there.shards {
            if !holders.contains_key(&peer) || !of_key(shard) {
                continue;
            }
            let content = shared.rest.copy(task, collection, *shard).await;
            let content =
                content.map_err(|error| format!("{name}: {:#}", anyhow::Error::from(error)))?;
            shards.entry(*shard).or_default().insert(peer, content);
        }
    }
    if shards.is_empty() {
        return Err("no copy was seen".to_owned());
    }
    let name = |shard| format!("{collection}/{shard}");
    shards
        .iter()
        .try_for_each(|(shard, copies)| same(&name(shard), copies))
}
