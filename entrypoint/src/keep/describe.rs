//! What a collection is beside its points, as a set describes it: asked of our own Qdrant, and what it
//! cannot say now is not known.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use planner::heal::names::{CollectionName, ShardId};
use planner::heal::view::ClusterView;
use planner::keep::plan::Described;
use planner::keep::records::{Description, ShardKey, Sharding};
use planner::observed::Observed;
use qdrant_api::{Alias, Client};
use serde_json::Value;

use crate::log::chain;

/// So many collections are asked for at a time.
const AT_ONCE: usize = 8;

/// Asks for every collection that the view lists. `client` asks our own Qdrant.
pub async fn describe(client: &Client, view: &ClusterView) -> Described {
    let Observed::Known(all) = &view.collections else {
        return Described::new();
    };
    let aliases = client.aliases().await.map_err(|error| chain(&error));
    let names: Vec<CollectionName> = all.keys().cloned().collect();
    let asked = futures::stream::iter(names).map(|name| named(client, name, &aliases));
    asked.buffer_unordered(AT_ONCE).collect().await
}

async fn named(
    client: &Client,
    name: CollectionName,
    aliases: &Result<Vec<Alias>, String>,
) -> (CollectionName, Observed<Description>) {
    let description = match aliases {
        Ok(aliases) => one(client, &name, aliases).await,
        Err(why) => Err(why.clone()),
    };
    let seen = description.map_or_else(Observed::Unknown, Observed::Known);
    (name, seen)
}

async fn one(
    client: &Client,
    name: &CollectionName,
    aliases: &[Alias],
) -> Result<Description, String> {
    let (described, placed) = tokio::join!(
        client.describe_collection(&name.0),
        client.collection_cluster(&name.0)
    );
    let described = described.map_err(|error| chain(&error))?;
    let placed = placed.map_err(|error| chain(&error))?;
    let sharding = match described.config.pointer("/params/sharding_method") {
        None | Some(Value::Null) => Sharding::Auto,
        Some(Value::String(method)) if method == "auto" => Sharding::Auto,
        Some(Value::String(method)) if method == "custom" => Sharding::Custom,
        Some(other) => return Err(format!("it is sharded in a way that is not known: {other}")),
    };
    let mut keys = BTreeMap::new();
    if sharding == Sharding::Custom {
        for (shard, key) in placed.shard_keys() {
            let key = match key {
                qdrant_api::ShardKey::Number(number) => ShardKey::Number(number),
                qdrant_api::ShardKey::Keyword(word) => ShardKey::Word(word),
            };
            keys.insert(ShardId(shard), key);
        }
    }
    let mut indexes = BTreeMap::new();
    for (field, index) in described.indexes {
        let index = serde_json::to_value(index).map_err(|why| format!("index {field}: {why}"))?;
        indexes.insert(field, index);
    }
    let own = aliases
        .iter()
        .filter(|alias| alias.collection_name == name.0);
    let shards = match sharding {
        // With custom sharding the parameter says how many a new key gets.
        Sharding::Custom => u32::try_from(keys.len()).unwrap_or(u32::MAX),
        Sharding::Auto => described.params.shard_number,
    };
    Ok(Description {
        config: described.config,
        indexes,
        aliases: own
            .map(|alias| alias.alias_name.clone())
            .collect::<BTreeSet<_>>(),
        sharding,
        keys,
        shards,
        copies: described.params.replication_factor,
    })
}
